//! One run: events at a rate through one system, to the last delivery.

use std::time::Duration;

use super::system::{Running, System};
use crate::shared::event::host;
use crate::shared::figures::Times;
use crate::shared::sink::{Offered, Sink};

/// Of a mixed LiveKit's rooms, one in so many sees SIP; the others' events are held, then unrouted.
const ONE_IN: usize = 20;

/// Connections, caches and memory warm up with so many events that are not counted, offered at
/// [`WARM_UP_RATE`] a second.
const WARM_UP: usize = 400;
const WARM_UP_RATE: u64 = 2000;

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

impl Run {
    /// Offers `rate` events a second for some seconds to a system that was just started.
    pub async fn through(system: &System, running: &Running, sink: &Sink, rate: u64, seconds: u64) -> Self {
        let offer = async |rate, count| -> Offered {
            let prepared =
                sink.prepare(count, |room| (host(0), system.mixed && !room.is_multiple_of(ONE_IN)));
            sink.offer(running.address(), rate, prepared).await
        };
        offer(WARM_UP_RATE, WARM_UP).await;
        let before = running.process().cpu();
        let count = usize::try_from(rate * seconds).expect("a count");
        let offered = offer(rate, count).await;
        let cpu = running.process().cpu().since(&before) / count as f64;
        Self {
            astray: offered.astray(),
            rate: offered.rate(),
            cpu,
            acknowledged: Latency::of(offered.acknowledged()),
            delivered: Latency::of(offered.delivered()),
        }
    }
}
