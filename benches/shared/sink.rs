//! Events offered to a system, and their deliveries as they come: how long each took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::arrivals::Arrivals;
use super::event::{Event, Template};
use super::load::{Ack, Load};
use super::receiver;

pub const CONNECTIONS: usize = 64;

/// A router may put work off for a second, and holds events of rooms without SIP for as long: what
/// is done in this time after the last delivery is counted, too.
const PUT_OFF: Duration = Duration::from_millis(1500);

/// Where deliveries end: when each came.
#[derive(Clone)]
pub struct Sink {
    arrivals: Arc<Arrivals<Instant>>,
    template: Arc<Template>,
}

/// Events that are ready to be posted.
pub struct Prepared {
    events: Vec<Event>,
    requests: Vec<Vec<u8>>,
}

/// What came of some events.
pub struct Offered {
    events: Vec<Event>,
    /// When the first was due.
    start: Instant,
    acks: Vec<Ack>,
    /// When each came to the receiver.
    arrivals: Vec<Vec<Instant>>,
}

impl Sink {
    pub fn new() -> Self {
        Self { arrivals: Arc::new(Arrivals::new()), template: Arc::new(Template::new()) }
    }

    pub async fn receive(self, listener: TcpListener) {
        let note = move |received: receiver::Received| self.arrivals.arrive(received.event, Instant::now());
        receiver::receive(listener, note).await;
    }

    /// Prepares `count` events of ten a room, as an answered call has. `of_room`: the host that a room's caller dialled,
    /// and whether the room is without SIP.
    pub fn prepare(&self, count: usize, of_room: impl Fn(usize) -> (String, bool)) -> Prepared {
        let first = self.arrivals.expect(count);
        let rooms = count.div_ceil(10);
        let event = |n: usize| {
            let (host, web) = of_room(n % rooms);
            Event { number: first + n, room: format!("RM_{first}_{}", n % rooms), host, web }
        };
        let events: Vec<_> = (0..count).map(event).collect();
        let requests = events.iter().map(|event| self.template.request(event)).collect();
        Prepared { events, requests }
    }

    /// Posts them, `rate` a second, and waits for the last delivery.
    pub async fn offer(&self, address: &str, rate: u64, Prepared { events, requests }: Prepared) -> Offered {
        let start = Instant::now() + Duration::from_millis(50);
        let load = Load { connections: CONNECTIONS, rate, start };
        let acks = load.offer(address, requests).answered().await;
        let due = events.iter().filter(|event| !event.web).count();
        Offered { arrivals: self.arrivals.all(due, PUT_OFF).await, events, start, acks }
    }
}

impl Prepared {
    /// The room of the first event.
    pub fn room(&self) -> &str {
        self.events.first().map_or("", |event| &event.room)
    }
}

impl Offered {
    /// Events that did not reach the receiver, or reached it although they belong to no tenant.
    pub fn astray(&self) -> usize {
        let is_astray = |(event, came): &(&Event, &Vec<Instant>)| event.web != came.is_empty();
        self.events.iter().zip(&self.arrivals).filter(is_astray).count()
    }

    /// Events a second: less than asked for if the machine could not keep up.
    pub fn rate(&self) -> f64 {
        let until = self.acks.iter().map(|ack| ack.sent).max().expect("an event");
        self.events.len() as f64 / until.duration_since(self.start).as_secs_f64()
    }

    /// From each post to its answer.
    pub fn acknowledged(&self) -> impl Iterator<Item = Duration> {
        self.acks.iter().map(|ack| ack.took)
    }

    /// From each post to its delivery.
    pub fn delivered(&self) -> impl Iterator<Item = Duration> {
        self.acks.iter().filter_map(|ack| Some(self.arrivals[ack.n].first()?.duration_since(ack.sent)))
    }
}
