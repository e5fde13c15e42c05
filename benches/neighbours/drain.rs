//! What waited for a dead tenant is delivered after its return, beside a neighbour's fresh events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::NEIGHBOUR;
use super::deliveries::UNCOUNTED;
use super::latency::Latency;
use super::offer::{Bodies, Offer};
use super::tenants::Tenants;
use crate::shared::figures::mb;
use crate::shared::router::Router;

/// The neighbour's fresh events, a second.
const FRESH: u64 = 50;

/// Posts new events of the healthy tenant for some time. The result formats their latency as text.
pub async fn fresh(
    router: &Router,
    bodies: &Arc<Bodies>,
    first: usize,
    lasting: Duration,
) -> impl Fn(&Tenants) -> String {
    let offer = Offer {
        connections: 8,
        rate: FRESH,
        first,
        count: usize::MAX,
        lasting,
        tenant: Arc::new(|_| NEIGHBOUR),
        call: |event| event,
    };
    let posted = offer.begin(&router.address, bodies).answered().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    move |tenants| {
        let Latency { p50, p99, longest, count, missing } = Latency::of(&posted, tenants.deliveries());
        let ack = Latency::of_answers(&posted).p99;
        format!(
            "p50 {p50:.2}, p99 {p99:.2}, longest {longest:.2} ms, {count} events, {missing} missing, ack p99 {ack:.2} ms"
        )
    }
}

/// The tenant answers again: everything that waits is delivered, beside the neighbour's fresh events.
pub async fn returns(
    tenants: &mut Tenants,
    router: &Router,
    bodies: &Arc<Bodies>,
    pending: usize,
    most: Duration,
) {
    let (before, cpu) = (tenants.deliveries().count(), router.process.cpu());
    tenants.recover();
    let began = Instant::now();
    let mut reached = Reached::default();
    let mut from = UNCOUNTED * 2;
    while began.elapsed() < most && reached.all.is_none() {
        // In slices, so that the end is noticed.
        let told =
            watch(&mut reached, tenants, pending, began, fresh(router, bodies, from, Duration::from_secs(5)));
        let told = told.await;
        println!(
            "    {:>4.0} s: {} drained; neighbour {}",
            began.elapsed().as_secs_f64(),
            tenants.deliveries().count(),
            told(tenants)
        );
        from += 10_000;
    }
    let share = router.process.cpu().since(&cpu) / 1e4 / began.elapsed().as_secs_f64();
    let drained = tenants.deliveries().count() - before;
    let seconds = |at: Option<Duration>| {
        at.map_or_else(|| "never".to_owned(), |at| format!("{:.1} s", at.as_secs_f64()))
    };
    let span = reached.all.or(reached.most).unwrap_or_default() - reached.first.unwrap_or_default();
    println!(
        "  returned: first after {}, 99 % after {}, all after {}; {drained} drained, {:.0}/s from the first; CPU {share:.0} %, RSS {:.1} MB",
        seconds(reached.first),
        seconds(reached.most),
        seconds(reached.all),
        drained as f64 / span.as_secs_f64().max(0.001),
        mb(router.process.resident())
    );
}

/// When a drain had come how far, from the return.
#[derive(Default)]
struct Reached {
    first: Option<Duration>,
    /// 99 %.
    most: Option<Duration>,
    all: Option<Duration>,
}

/// Notes how far the drain comes while `load` runs.
async fn watch<T>(
    reached: &mut Reached,
    tenants: &Tenants,
    pending: usize,
    began: Instant,
    load: impl Future<Output = T>,
) -> T {
    let mut load = std::pin::pin!(load);
    loop {
        let drained = tenants.deliveries().count();
        let now = began.elapsed();
        let marks = [
            (&mut reached.first, 1),
            (&mut reached.most, pending - pending / 100),
            (&mut reached.all, pending),
        ];
        for (mark, count) in marks {
            if drained >= count {
                mark.get_or_insert(now);
            }
        }
        tokio::select! {
            done = &mut load => return done,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}
