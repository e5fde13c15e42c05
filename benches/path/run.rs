//! One run: events at a rate through one system, to the last delivery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::system::{Running, System};
use crate::shared::arrivals::Arrivals;
use crate::shared::event::{Event, Template, host};
use crate::shared::figures::Times;
use crate::shared::load::{Ack, Load};
use crate::shared::receiver;

pub const CONNECTIONS: usize = 64;

/// Of a mixed LiveKit's rooms, one in so many sees SIP; the others' events are held, then unrouted.
const ONE_IN: usize = 20;

/// Connections, caches and memory warm up with so many events that are not counted, offered at
/// [`WARM_UP_RATE`] a second.
const WARM_UP: usize = 400;
const WARM_UP_RATE: u64 = 2000;

/// A router may put work off for a second, and holds events of rooms without SIP for as long: what
/// is done in this time after the last delivery is counted, too.
const PUT_OFF: Duration = Duration::from_millis(1500);

/// What came of a run.
pub struct Run {
    /// Events that did not reach the receiver, or reached it although they belong to no tenant.
    pub astray: usize,
    /// Events a second: less than asked for if the machine could not keep up.
    pub rate: f64,
    /// CPU time per offered event, in µs.
    pub cpu: f64,
    pub acknowledged: Latency,
    pub delivered: Latency,
}

/// In milliseconds.
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
}

impl Latency {
    fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let times = Times::of(times);
        Self { p50: times.percentile(50), p99: times.percentile(99) }
    }
}

/// Where deliveries end: when each came.
#[derive(Clone)]
pub struct Sink {
    arrivals: Arc<Arrivals<Instant>>,
    template: Arc<Template>,
}

impl Sink {
    pub fn new() -> Self {
        Self { arrivals: Arc::new(Arrivals::new()), template: Arc::new(Template::new()) }
    }

    pub async fn receive(self, listener: TcpListener) {
        let note = move |received: receiver::Received| self.arrivals.arrive(received.event, Instant::now());
        receiver::receive(listener, note).await;
    }

    /// Offers `rate` events a second for some seconds to a system that is started for it.
    pub async fn run(&self, system: &System, target: &str, rate: u64, seconds: u64) -> Run {
        let running = system.start(target).await;
        self.offer(&running, WARM_UP_RATE, WARM_UP, system.mixed).await;
        let before = running.process().cpu();
        let offered = usize::try_from(rate * seconds).expect("a count");
        let Offered { events, start, acks, arrivals } =
            self.offer(&running, rate, offered, system.mixed).await;
        let cpu = running.process().cpu().since(&before) / offered as f64;
        let is_astray = |(event, came): &(&Event, &Vec<Instant>)| event.web != came.is_empty();
        let until = acks.iter().map(|ack| ack.sent).max().expect("an event");
        let to_receiver = |ack: &Ack| Some(arrivals[ack.n].first()?.duration_since(ack.sent));
        Run {
            astray: events.iter().zip(&arrivals).filter(is_astray).count(),
            rate: offered as f64 / until.duration_since(start).as_secs_f64(),
            cpu,
            delivered: Latency::of(acks.iter().filter_map(to_receiver)),
            acknowledged: Latency::of(acks.iter().map(|ack| ack.took)),
        }
    }

    async fn offer(&self, running: &Running, rate: u64, offered: usize, mixed: bool) -> Offered {
        let first = self.arrivals.expect(offered);
        // Ten events a room, as an answered call has.
        let rooms = offered.div_ceil(10);
        let event = |n: usize| Event {
            number: first + n,
            room: format!("RM_{first}_{}", n % rooms),
            host: host(0),
            web: mixed && !(n % rooms).is_multiple_of(ONE_IN),
        };
        let events: Vec<_> = (0..offered).map(event).collect();
        let requests = events.iter().map(|event| self.template.request(event)).collect();
        let start = Instant::now() + Duration::from_millis(50);
        let load = Load { connections: CONNECTIONS, rate, start };
        let acks = load.offer(running.address(), requests).answered().await;
        let due = events.iter().filter(|event| !event.web).count();
        Offered { arrivals: self.arrivals.all(due, PUT_OFF).await, events, start, acks }
    }
}

/// What came of some events.
struct Offered {
    events: Vec<Event>,
    /// When the first was due.
    start: Instant,
    acks: Vec<Ack>,
    /// When each came to the receiver.
    arrivals: Vec<Vec<Instant>>,
}
