//! The whole path through real sockets, beside two forwarders at the same rates in the same run.
//!
//! `cargo bench --bench path [-- --seconds 5 --rounds 3 --rates 200,2000,7500 --against OTHER --mixed false]`
//!
//! - `bare`: an axum handler that reads the body and posts it on with reqwest; no check, no store.
//! - `floor`: also verifies, parses, looks the hook up in memory and signs, and posts with
//!   hyper-util: the least any router must do; no store, no log, no retry.
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
    pub mod serving;
    pub mod system;
    pub mod table;
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use path::run::{CONNECTIONS, Run, Sink};
use path::system::{line_up, one_hook};
use path::table::Table;
use path::{bare, floor};
use shared::args::Args;
use shared::figures::mb;
use shared::router::Router;
use shared::{process, receiver};

struct Plan {
    rates: Vec<u64>,
    seconds: u64,
    rounds: usize,
    /// The other router.
    against: Option<PathBuf>,
    /// Also with a LiveKit of which most rooms are without SIP.
    mixed: bool,
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
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let role = process::role();
    match role.split_once(' ') {
        Some(("bare", target)) => runtime.block_on(bare::serve(target.to_owned())),
        Some(("floor", target)) => runtime.block_on(floor::serve(target)),
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
    let systems = line_up(plan.against.as_deref(), plan.mixed);
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
                runs[which].push(sink.run(&systems[which], &target, rate, plan.seconds).await);
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

async fn idle(name: &str, program: &Path, target: &str) {
    let router = Router::start(program, &one_hook(target), &[]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ready = router.ready_after.as_secs_f64() * 1e3;
    let memory = mb(router.process.resident());
    println!("{name} idle: ready {ready:.0} ms after its start, {memory:.1} MB RSS");
}
