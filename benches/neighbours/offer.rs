//! Posts events as LiveKit does, at a rate or as fast as answers come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::shared::event::{Event, Template, host, signed_request};

/// Faster than any router takes them.
pub const FULL_SPEED: u64 = 1_000_000_000;

/// A refused event is followed by the next after this time, as LiveKit waits, too.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// An event that was posted.
pub struct Posted {
    pub event: usize,
    pub sent: Instant,
    pub took: Duration,
    pub is_acknowledged: bool,
}

/// Events that are offered.
#[derive(Clone)]
pub struct Offer {
    pub connections: usize,
    /// Events a second.
    pub rate: u64,
    /// The number of the first.
    pub first: usize,
    /// At most so many.
    pub count: usize,
    /// No longer than this.
    pub lasting: Duration,
    /// Which tenant gets which event.
    pub tenant: Arc<dyn Fn(usize) -> usize + Send + Sync>,
    /// Which call an event is of.
    pub call: fn(usize) -> usize,
}

/// Events being posted.
pub struct Offering(JoinSet<Vec<Posted>>);

impl Offer {
    /// Begins to post.
    pub fn begin(&self, address: &str, bodies: &Arc<Bodies>) -> Offering {
        let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let mut connections = JoinSet::new();
        for _ in 0..self.connections {
            let (offer, bodies, next) = (self.clone(), Arc::clone(bodies), Arc::clone(&next));
            connections.spawn(offer.post(address.to_owned(), bodies, next, start));
        }
        Offering(connections)
    }

    /// One connection: takes the next event until none is left.
    async fn post(
        self,
        address: String,
        bodies: Arc<Bodies>,
        next: Arc<AtomicUsize>,
        start: Instant,
    ) -> Vec<Posted> {
        let (mut stream, mut buffer, mut posted) = (None, vec![0; 4096], Vec::new());
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= self.count || start.elapsed() >= self.lasting {
                return posted;
            }
            let due = start + Duration::from_secs_f64(n as f64 / self.rate as f64);
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            let event = self.first + n;
            let request = bodies.request(event, (self.tenant)(event), (self.call)(event));
            let sent = Instant::now();
            let is_acknowledged = exchange(&mut stream, &address, &request, &mut buffer).await.is_ok();
            posted.push(Posted { event, sent, took: sent.elapsed(), is_acknowledged });
            if !is_acknowledged {
                stream = None;
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }
}

/// Posts over a kept connection. An error if the answer is not 200.
async fn exchange(
    kept: &mut Option<TcpStream>,
    address: &str,
    request: &[u8],
    buffer: &mut [u8],
) -> std::io::Result<()> {
    let stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            kept.insert(stream)
        }
    };
    stream.write_all(request).await?;
    let read = stream.read(buffer).await?;
    if buffer[..read].starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
}

impl Offering {
    /// Waits until all are answered.
    pub async fn answered(mut self) -> Vec<Posted> {
        let mut posted = Vec::new();
        while let Some(done) = self.0.join_next().await {
            posted.extend(done.expect("a connection"));
        }
        posted
    }
}

/// A recorded event for each tenant; the numbers of event and call are stamped into its text.
pub struct Bodies(Vec<Stamped>);

struct Stamped {
    text: String,
    event: usize,
    call: usize,
}

/// Digits of a number in a text.
const DIGITS: usize = 12;

impl Bodies {
    pub fn new(tenants: usize) -> Self {
        let template = Template::new();
        let stamped = |tenant: usize| {
            let (room, host) = (format!("RM_{:0DIGITS$}", 0), host(tenant));
            let text = template.body(&Event { number: 0, room, host, web: false });
            let digits_of =
                |name: &str| text.find(&format!("\"{name}{:0DIGITS$}\"", 0)).expect(name) + 1 + name.len();
            Stamped { event: digits_of("EV_"), call: digits_of("RM_"), text }
        };
        Self((0..tenants).map(stamped).collect())
    }

    /// A whole signed request.
    fn request(&self, event: usize, tenant: usize, call: usize) -> Vec<u8> {
        let stamped = &self.0[tenant];
        let mut body = stamped.text.clone();
        for (at, number) in [(stamped.event, event), (stamped.call, call)] {
            body.replace_range(at..at + DIGITS, &format!("{number:0DIGITS$}"));
        }
        signed_request(&body)
    }
}
