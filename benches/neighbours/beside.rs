//! Healthy tenants beside sick ones, and beside the same ones when they are well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::latency::Latency;
use super::offer::{Bodies, Offer, Posted};
use super::router::start;
use super::scenario::Scenario;
use super::tenants::Tenants;
use crate::Plan;
use crate::shared::figures::{mb, median};

/// Deliveries to healthy tenants that have not come by then, after the last post, are missing.
const LATE: Duration = Duration::from_secs(5);

const CONNECTIONS: usize = 64;

impl Scenario {
    async fn run(&self, plan: &Plan, is_sick: bool) -> Run {
        let at_once = is_sick && self.onset == 0.0;
        let tenants = Tenants::open(self.illnesses.clone(), at_once, self.with_names).await;
        let router = start(&plan.program, &tenants, &tenants.hooks(|_| String::new())).await;
        let (before, began) = (router.process.cpu(), Instant::now());
        let lasting = Duration::from_secs(plan.seconds);
        let turns = self.turns.clone();
        let offer = Offer {
            connections: CONNECTIONS,
            rate: self.rate,
            first: 0,
            count: usize::MAX,
            lasting,
            tenant: Arc::new(move |event| turns[event % turns.len()]),
            call: self.call,
        };
        let offering = offer.begin(&router.address, &Arc::new(Bodies::new(self.illnesses.len())));
        let onset = began + lasting.mul_f64(self.onset);
        tokio::time::sleep_until(onset.into()).await;
        if is_sick && !at_once {
            tenants.fall_ill();
        }
        let posted = offering.answered().await;
        let cpu = router.process.cpu().since(&before) / 1e6 / began.elapsed().as_secs_f64();
        let counted = |posted: &&Posted| posted.sent >= onset && (self.counts)(&tenants, self, posted.event);
        let delivered = settled(|| Latency::of(posted.iter().filter(counted), tenants.deliveries())).await;
        let held = posted.iter().filter(|posted| (self.call)(posted.event) != posted.event);
        Run {
            delivered,
            answers: Latency::of_answers(&posted),
            refused: posted.iter().filter(|posted| !posted.is_acknowledged).count(),
            behind: Latency::of(held, tenants.deliveries()),
            cpu,
            memory: mb(router.process.resident()),
        }
    }
}

/// What is measured once nothing is missing any more, or after [`LATE`].
async fn settled(measure: impl Fn() -> Latency) -> Latency {
    let began = Instant::now();
    loop {
        let latency = measure();
        if latency.missing == 0 || began.elapsed() > LATE {
            return latency;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What came of a run.
struct Run {
    /// Of the events that count.
    delivered: Latency,
    answers: Latency,
    /// Events that were not answered 200.
    refused: usize,
    /// Events behind a poisoned one in its call.
    behind: Latency,
    /// Of one core.
    cpu: f64,
    memory: f64,
}

/// Alternates runs without and with the illness, and prints each and their medians.
pub async fn compare(name: &str, plan: &Plan) {
    let scenario = Scenario::named(name, plan);
    let (tenants, sick) = (scenario.illnesses.len(), scenario.illnesses.iter().flatten().count());
    println!(
        "\n{name}: {sick} of {tenants} tenants sick, {} events/s, {} s a run",
        scenario.rate, plan.seconds
    );
    println!(
        "  {:<12} {:>9} {:>9} {:>9} {:>7} {:>8} {:>8} {:>8} {:>7} {:>7}",
        "ms to tenant", "p50", "p99", "longest", "events", "missing", "ack p99", "refused", "CPU %", "RSS MB"
    );
    let mut pairs = Vec::new();
    for round in 0..plan.rounds {
        // Every second round runs backwards: drift favours neither.
        let is_first_sick = round % 2 == 1;
        let first = scenario.run(plan, is_first_sick).await;
        let second = scenario.run(plan, !is_first_sick).await;
        let (well, sick) = if is_first_sick { (second, first) } else { (first, second) };
        tell("well", &well);
        tell("sick", &sick);
        pairs.push((well, sick));
    }
    let median_of = |measure: fn(&Latency) -> f64| {
        let of =
            |which: fn(&(Run, Run)) -> &Run| median(pairs.iter().map(|pair| measure(&which(pair).delivered)));
        let ratio =
            median(pairs.iter().map(|(well, sick)| measure(&sick.delivered) / measure(&well.delivered)));
        format!("{:.2} → {:.2} ms, × {ratio:.2}", of(|pair| &pair.0), of(|pair| &pair.1))
    };
    println!("  medians: p50 {}; p99 {}", median_of(|latency| latency.p50), median_of(|latency| latency.p99));
}

fn tell(name: &str, run: &Run) {
    let Run { delivered, answers, refused, behind, cpu, memory } = run;
    println!(
        "  {name:<12} {:>9.2} {:>9.2} {:>9.2} {:>7} {:>8} {:>8.2} {refused:>8} {:>7.1} {memory:>7.1}",
        delivered.p50,
        delivered.p99,
        delivered.longest,
        delivered.count,
        delivered.missing,
        answers.p99,
        cpu * 100.0,
    );
    if behind.count > 0 {
        println!(
            "    behind the poisoned event in its call: {} delivered, {} not",
            behind.count - behind.missing,
            behind.missing
        );
    }
}
