//! A flood: what acknowledging and delivering keep of what each does alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::latency::Latency;
use super::offer::{Bodies, FULL_SPEED, Offer, Posted};
use super::router::{reload, start};
use super::tenants::Tenants;
use crate::Plan;
use crate::shared::figures::{mb, median};
use crate::shared::router::Router;

/// Enough lanes for as many attempts at once as there are in all.
const TENANTS: usize = 16;

/// The load under which answers are measured against, events a second.
const UNLOADED: u64 = 50;

struct Bench {
    router: Router,
    tenants: Tenants,
    bodies: Arc<Bodies>,
    lasting: Duration,
    /// The number of the next event.
    next: usize,
}

/// What came of a round; rates a second.
struct Round {
    acknowledged_alone: f64,
    delivered_alone: f64,
    acknowledged: f64,
    delivered: f64,
    unloaded_p99: f64,
    loaded_p99: f64,
}

/// Runs the rounds and prints each and the medians.
pub async fn fair(plan: &Plan) {
    println!("\nfair: {TENANTS} tenants, a flood over 64 connections, {} s each part", plan.seconds);
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        rounds.push(round(plan).await);
    }
    let of = |measure: fn(&Round) -> f64| median(rounds.iter().map(measure));
    println!(
        "  medians: acknowledging keeps {:.0} %, delivering keeps {:.0} %, answers' p99 at 80 % × {:.1}",
        of(|round| round.acknowledged / round.acknowledged_alone) * 100.0,
        of(|round| round.delivered / round.delivered_alone) * 100.0,
        of(|round| round.loaded_p99 / round.unloaded_p99)
    );
}

async fn round(plan: &Plan) -> Round {
    let tenants = Tenants::open(vec![None; TENANTS], false, false).await;
    let paused = tenants.hooks(|_| "    paused: true\n".to_owned());
    let open = tenants.hooks(|_| String::new());
    let router = start(&plan.program, &tenants, &paused).await;
    let bodies = Arc::new(Bodies::new(TENANTS));
    let mut bench = Bench { router, tenants, bodies, lasting: Duration::from_secs(plan.seconds), next: 0 };
    let acknowledged_alone = bench.acknowledging("alone (paused)").await.0;
    // The backlog of that drains.
    let waiting = bench.next;
    reload(&bench.router, &open).await;
    let delivered_alone = bench.draining(waiting).await;
    bench.drained().await;
    let (acknowledged, delivered) = bench.acknowledging("both").await;
    bench.drained().await;
    let unloaded_p99 = bench.answers(UNLOADED).await;
    let loaded_p99 = bench.answers((acknowledged * 0.8) as u64).await;
    bench.drained().await;
    println!(
        "  kept: acknowledging {:.0} %, delivering {:.0} %; p99 at 80 % of the maximum × {:.1}",
        acknowledged / acknowledged_alone * 100.0,
        delivered / delivered_alone * 100.0,
        loaded_p99 / unloaded_p99
    );
    Round { acknowledged_alone, delivered_alone, acknowledged, delivered, unloaded_p99, loaded_p99 }
}

impl Bench {
    async fn offer(&mut self, rate: u64) -> Vec<Posted> {
        let offer = Offer {
            connections: 64,
            rate,
            first: self.next,
            count: usize::MAX,
            lasting: self.lasting,
            tenant: Arc::new(|event| event % TENANTS),
            call: |event| event,
        };
        let posted = offer.begin(&self.router.address, &self.bodies).answered().await;
        self.next = posted.iter().map(|posted| posted.event + 1).max().unwrap_or(self.next);
        posted
    }

    /// Floods; acknowledged and delivered a second.
    async fn acknowledging(&mut self, what: &str) -> (f64, f64) {
        let (began, before, cpu) =
            (Instant::now(), self.tenants.deliveries().count(), self.router.process.cpu());
        let posted = self.offer(FULL_SPEED).await;
        let seconds = began.elapsed().as_secs_f64();
        let acknowledged = posted.iter().filter(|posted| posted.is_acknowledged).count();
        let delivered = self.tenants.deliveries().count() - before;
        println!(
            "  acknowledging, {what}: {:.0}/s ({} refused, p99 {:.1} ms), delivered {:.0}/s; CPU {:.0} %, RSS {:.1} MB",
            acknowledged as f64 / seconds,
            posted.len() - acknowledged,
            Latency::of_answers(&posted).p99,
            delivered as f64 / seconds,
            self.router.process.cpu().since(&cpu) / 1e4 / seconds,
            mb(self.router.process.resident())
        );
        (acknowledged as f64 / seconds, delivered as f64 / seconds)
    }

    /// Delivers what waits, without anything new; deliveries a second.
    async fn draining(&self, waiting: usize) -> f64 {
        let (began, before) = (Instant::now(), self.tenants.deliveries().count());
        while began.elapsed() < self.lasting && self.tenants.deliveries().count() - before < waiting {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (drained, seconds) = (self.tenants.deliveries().count() - before, began.elapsed().as_secs_f64());
        let rate = drained as f64 / seconds;
        println!(
            "  delivering, alone: {rate:.0}/s ({drained} of {waiting} in {seconds:.1} s); RSS {:.1} MB",
            mb(self.router.process.resident())
        );
        rate
    }

    /// Waits until no more comes, two minutes at most.
    async fn drained(&self) {
        let (began, mut before) = (Instant::now(), usize::MAX);
        while began.elapsed() < Duration::from_secs(120) && before != self.tenants.deliveries().count() {
            before = self.tenants.deliveries().count();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// The answers' p99 at a rate, in ms.
    async fn answers(&mut self, rate: u64) -> f64 {
        let posted = self.offer(rate).await;
        let Latency { p50, p99, longest, count, .. } = Latency::of_answers(&posted);
        println!("  answers at {rate}/s: p50 {p50:.2}, p99 {p99:.2}, longest {longest:.1} ms ({count})");
        p99
    }
}
