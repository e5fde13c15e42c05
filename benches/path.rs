//! The whole path through real sockets, beside three forwarders at the same rates in the same run.
//!
//! `cargo bench --bench path [-- --seconds 5 --rounds 3 --rates 200,2000,7500 --against OTHER --mixed false]`
//!
//! `cargo bench --bench path -- --only SYSTEM --rates 2000 --seconds 60`: one system alone, for profilers, which attach
//! to the process that is printed: see docs/profiling.md.
//!
//! - `bare`: an axum handler that reads the body and posts it on with reqwest; no check, no store.
//! - `floor`: also verifies, parses, looks the hook up in memory and signs, and posts with
//!   hyper-util: the least any router must do; no store, no log, no retry.
//! - `sqlite`: `floor`, but durable: a plain group commit with a large log, as a prototype.
//! - `switchhook`: verified, durable (SQLite, one fsync per group), signed, logged, measured.
//! - `… 95 % web`: the same with a mixed LiveKit in front: 95 % of the rooms are without SIP.
//! - `old`, with `--against`: another build of the router, in the same rounds.
//!
//! Each is a process of its own on one core; load and receiver share the other. CPU time is the
//! scheduler's, per offered event. Every second round goes through the systems backwards. A factor
//! is the median of the rounds' own ratios, since the machine is not as quick in one round as in the
//! next.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

mod shared;

mod path {
    pub mod bare;
    pub mod floor;
    pub mod run;
    pub mod system;
    pub mod table;
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use path::run::Run;
use path::system::{System, line_up, one_hook};
use path::table::Table;
use path::{bare, floor};
use shared::args::Args;
use shared::figures::mb;
use shared::forward::sqlite;
use shared::router::Router;
use shared::sink::{CONNECTIONS, Sink};
use shared::{process, receiver};

struct Plan {
    rates: Vec<u64>,
    seconds: u64,
    rounds: usize,
    /// The other router.
    against: Option<PathBuf>,
    /// Also with a LiveKit of which most rooms are without SIP.
    mixed: bool,
    /// The one system that runs.
    only: Option<String>,
}

impl Plan {
    fn of(args: &Args) -> Self {
        let rates = args.text("--rates").unwrap_or("200,2000,7500");
        // The router runs in a folder of its own: the path is to be whole.
        let whole = |path| std::fs::canonicalize(path).expect("--against names a router");
        Self {
            rates: rates.split(',').map(|rate| rate.parse().expect("a rate")).collect(),
            seconds: args.number("--seconds", 5) as u64,
            rounds: args.number("--rounds", 3).max(1),
            against: args.text("--against").map(whole),
            mixed: args.text("--mixed") != Some("false"),
            only: args.text("--only").map(str::to_owned),
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let role = process::role();
    match role.split_once(' ') {
        Some(("bare", target)) => runtime.block_on(bare::serve(target.to_owned())),
        Some(("floor", target)) => runtime.block_on(floor::serve(target)),
        Some(("sqlite", folder)) => runtime.block_on(sqlite::serve(Path::new(folder))),
        _ => {
            process::step_aside();
            runtime.block_on(compare(&Plan::of(&Args::of_this_process())));
        }
    }
}

async fn compare(plan: &Plan) {
    let (listener, url) = receiver::listen().await;
    let (sink, target) = (Sink::new(), format!("{url}/hook"));
    let receiving = tokio::spawn(sink.clone().receive(listener));
    let mut systems = line_up(plan.against.as_deref(), plan.mixed);
    if let Some(only) = &plan.only {
        systems.retain(|system| system.name == only);
        return alone(systems.first().expect("a system of this name"), plan, &sink, &target).await;
    }
    println!(
        "{CONNECTIONS} connections, {} s a run, median of {} alternated runs\n",
        plan.seconds, plan.rounds
    );
    let table = Table::begin(&systems);
    for &rate in &plan.rates {
        let mut runs: Vec<Vec<Run>> = systems.iter().map(|_| Vec::new()).collect();
        for round in 0..plan.rounds {
            for place in 0..systems.len() {
                // Every second round runs backwards: drift favours no system.
                let which = if round % 2 == 0 { place } else { systems.len() - 1 - place };
                let running = systems[which].start(&target).await;
                let run = Run::through(&systems[which], &running, &sink, rate, plan.seconds).await;
                runs[which].push(run);
            }
        }
        table.show(rate, &runs);
    }
    for system in &systems {
        if let Some(program) = system.router() {
            idle(system.name, program, &target).await;
        }
    }
    receiving.abort();
}

/// Runs one system at each rate and prints its process, to which tools may attach.
async fn alone(system: &System, plan: &Plan, sink: &Sink, target: &str) {
    for &rate in &plan.rates {
        let running = system.start(target).await;
        println!("{} at {rate}/s for {} s: process {}", system.name, plan.seconds, running.process().id());
        let run = Run::through(system, &running, sink, rate, plan.seconds).await;
        println!("{:.0} events/s, {:.1} µs of CPU each", run.rate, run.cpu);
    }
}

async fn idle(name: &str, program: &Path, target: &str) {
    let router = Router::start(program, &one_hook(target), &[]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ready = router.ready_after.as_secs_f64() * 1e3;
    let memory = mb(router.process.resident());
    println!("{name} idle: ready {ready:.0} ms after its start, {memory:.1} MB RSS");
}
