//! What a reload of a large hook table costs the events that come meanwhile.
//!
//! `cargo bench --bench reload [-- --hooks 100000 --seconds 12 --pairs 5 --share 100]`
//!
//! A router with many hooks, each with a host of its own, takes signed events at a steady rate. In
//! one run of each pair `hooks.yaml` is replaced after a second by one in which `--share` percent of
//! the hooks have another URL (100: all of them, the hard case); in the other it is left alone.
//! Compared is the longest time any event waited for its 200. Each event is followed to the receiver,
//! which must be its own hook's, of the old table or the new one, and of the new one for whatever is
//! sent after the new one's first event has come. That the router counts one reload is asked before
//! and after a run, not during it: to answer, it walks over all hooks that ever had an event. A run
//! is to be long enough for one of the store's checkpoints (about every 7 s at this rate): they are
//! the longest waits without a reload, and runs with none cannot be compared to runs with one. The
//! router has one core; load and receivers share the other.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::args::Args;
use shared::arrivals::Arrivals;
use shared::event::{Event, Template, hooks_file, host};
use shared::figures::{Times, median};
use shared::load::{Ack, Load};
use shared::process;
use shared::receiver::{self, Received};
use shared::router::{BUILT, Router};

mod shared;

const CONNECTIONS: usize = 16;
const RATE: usize = 500;

/// When the table is replaced, after the run's start.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// What comes twice comes within this time.
const AGAIN_WITHIN: Duration = Duration::from_millis(200);

struct Plan {
    hooks: usize,
    seconds: usize,
    pairs: usize,
    share: usize,
}

impl Plan {
    fn of(args: &Args) -> Self {
        Self {
            hooks: args.number("--hooks", 100_000),
            seconds: args.number("--seconds", 12),
            pairs: args.number("--pairs", 5),
            share: args.number("--share", 100),
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    process::step_aside();
    runtime.block_on(compare(&Plan::of(&Args::of_this_process())));
}

async fn compare(plan: &Plan) {
    let mut bench = Bench::start(plan).await;
    println!(
        "{} hooks, {} % of them with another URL after a reload; {RATE} events/s over {CONNECTIONS} \
         connections, {} s a run\n",
        plan.hooks, plan.share, plan.seconds
    );
    // What is slow only once (connections, caches) is slow here.
    bench.run(2, false).await;
    println!(
        "{:>4}  {:>26} {:>26} {:>7}  {:>10} {:>7} {:>7}",
        "pair", "alone longest/p99 ms", "reload longest/p99 ms", "ratio", "in force", "old", "new"
    );
    let mut ratios = Vec::new();
    for pair in 1..=plan.pairs {
        // What wears off or builds up favours neither.
        let first = pair % 2 == 0;
        let one = bench.run(plan.seconds, first).await;
        let other = bench.run(plan.seconds, !first).await;
        let (with, alone) = if first { (one, other) } else { (other, one) };
        let ratio = with.longest / alone.longest;
        let shown = |run: &Run| format!("{:.2} / {:.2}", run.longest, run.p99);
        println!(
            "{pair:>4}  {:>26} {:>26} {ratio:>7.2}  {:>7.2} s {:>8} {:>7}",
            shown(&alone),
            shown(&with),
            with.in_force.expect("a reload").as_secs_f64(),
            with.arrived[0],
            with.arrived[1]
        );
        ratios.push(ratio);
    }
    println!("\nlongest acknowledgement with a reload, × without: {:.2} (median)", median(ratios));
    println!("of all events: 0 unacknowledged, 0 lost, 0 misrouted, 0 doubled");
}

/// The hook table of now, and how the next one looks.
struct Tables {
    hooks: usize,
    share: usize,
    /// The two receivers; changed hooks go from one to the other.
    targets: Vec<String>,
    generation: usize,
}

impl Tables {
    /// The receiver of a hook in a generation.
    fn receiver(&self, hook: usize, generation: usize) -> usize {
        if hook % 100 < self.share { generation } else { 0 }
    }

    fn text(&self, generation: usize) -> String {
        let target = |hook| &self.targets[self.receiver(hook, generation)];
        hooks_file(0..self.hooks, |hook| format!("{}/{hook:07}", target(hook)))
    }

    /// The hook of an event: far from that of the event before.
    fn hook_of(&self, event: usize) -> usize {
        event.wrapping_mul(7_368_787) % self.hooks
    }
}

/// Where an event came out.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    receiver: usize,
    /// By the URL's path.
    hook: usize,
    at: Instant,
}

/// The figures of a run.
struct Run {
    /// Milliseconds until the 200.
    longest: f64,
    p99: f64,
    /// From the file's replacement until the first event came by the new table.
    in_force: Option<Duration>,
    /// How many events came to the receiver of the old table and of the new one.
    arrived: [usize; 2],
}

/// The router with its receivers.
struct Bench {
    router: Router,
    tables: Tables,
    template: Template,
    arrivals: Arc<Arrivals<Arrival>>,
}

impl Bench {
    async fn start(plan: &Plan) -> Self {
        let arrivals = Arc::new(Arrivals::new());
        let mut targets = Vec::new();
        for receiver in 0..2 {
            let (listener, url) = receiver::listen().await;
            targets.push(url);
            let arrivals = Arc::clone(&arrivals);
            let note = move |received: Received| {
                let hook = received.path[1..].parse().expect("digits");
                arrivals.arrive(received.event, Arrival { receiver, hook, at: Instant::now() });
            };
            tokio::spawn(receiver::receive(listener, note));
        }
        let tables = Tables { hooks: plan.hooks, share: plan.share, targets, generation: 0 };
        let router = Router::start(Path::new(BUILT), &tables.text(0), &["--metrics-open"]).await;
        std::fs::create_dir(router.path("next")).expect("a folder");
        Self { router, tables, template: Template::new(), arrivals }
    }

    /// Offers events at the steady rate for some seconds, with or without a reload in between.
    async fn run(&mut self, seconds: usize, reload: bool) -> Run {
        let (offered, known) = (RATE * seconds, self.reloads().await);
        let first = self.arrivals.expect(offered);
        let requests = (first..first + offered).map(|number| self.request(number)).collect();
        if reload {
            self.prepare();
        }
        // What the run before left behind is over.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let start = Instant::now() + Duration::from_millis(50);
        let load = Load { connections: CONNECTIONS, rate: RATE as u64, start };
        let offering = load.offer(&self.router.address, requests);
        tokio::time::sleep_until((start + RELOAD_AFTER).into()).await;
        let replaced = Instant::now();
        if reload {
            std::fs::rename(self.next(), self.router.path("hooks.yaml")).expect("renamed");
        }
        let acks = offering.answered().await;
        assert_eq!(acks.len(), offered, "every event is acknowledged");
        let reloads = self.reloads().await - known;
        assert_eq!(reloads, u64::from(reload), "it came into force during the run");
        let (in_force, arrived) = self.check(first, &acks, reload).await;
        let times = Times::of(acks.iter().map(|ack| ack.took));
        let in_force = in_force.map(|since| since - replaced);
        Run { longest: times.longest(), p99: times.percentile(99), in_force, arrived }
    }

    /// An event with a room and a hook of its own.
    fn request(&self, number: usize) -> Vec<u8> {
        let (room, host) = (format!("RM_{number}"), host(self.tables.hook_of(number)));
        self.template.request(&Event { number, room, host, web: false })
    }

    /// The next table, not yet in force: apart from the files the router watches.
    fn next(&self) -> PathBuf {
        self.router.path("next").join("hooks.yaml")
    }

    fn prepare(&self) {
        std::fs::write(self.next(), self.tables.text(1 - self.tables.generation)).expect("hooks");
        // The system writes the file out now, not during the run.
        std::fs::File::open(self.next()).and_then(|file| file.sync_all()).expect("synced");
    }

    /// Checks that each event came once, to its own hook at the right receiver. Gives when the first
    /// came by the new table, and how many came by the old and by the new one.
    async fn check(&mut self, first: usize, acks: &[Ack], reload: bool) -> (Option<Instant>, [usize; 2]) {
        let arrived = self.arrivals.all(acks.len(), AGAIN_WITHIN).await;
        assert_eq!(self.arrivals.late(), 0, "no event of an earlier run comes again");
        let old = self.tables.generation;
        if reload {
            self.tables.generation = 1 - old;
        }
        let tables = &self.tables;
        let of_new = |arrival: &&Arrival| arrival.receiver != tables.receiver(arrival.hook, old);
        let in_force = arrived.iter().flatten().filter(of_new).map(|arrival| arrival.at).min();
        let mut counts = [0, 0];
        for Ack { n, sent, .. } in acks {
            let [Arrival { receiver, hook: came_to, .. }] = arrived[*n][..] else {
                panic!("event {n} came not once: {:?}", arrived[*n]);
            };
            let hook = tables.hook_of(first + n);
            let may_be_old = in_force.is_none_or(|since| *sent <= since);
            let is_at = |generation| tables.receiver(hook, generation) == receiver;
            let right = in_force.is_some() && is_at(tables.generation) || may_be_old && is_at(old);
            assert!(came_to == hook && right, "event {n} for hook {hook} came to {came_to} at {receiver}");
            counts[usize::from(!is_at(old))] += 1;
        }
        (in_force, counts)
    }

    /// How many hook tables have come into force since the router's start.
    async fn reloads(&self) -> u64 {
        let text = self.router.metrics().await;
        let count = |result: &str| {
            let name = format!("switchhook_reloads_total{{result=\"{result}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.and_then(|count| count.parse().ok()).expect("a count")
        };
        assert_eq!(count("failed"), 0, "a reload failed");
        count("ok")
    }
}
