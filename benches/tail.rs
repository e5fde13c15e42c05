//! Whether what runs in the background makes requests wait: the longest waits with it and without it.
//!
//! `cargo bench --bench tail [-- --seconds 300 --rate 2000 --slice 30 --hooks 10000 --work sweeps,reloads,lists --sqlite true]`
//!
//! Two routers take the same events, in turns of `--slice` seconds, until each has had `--seconds`; while one has its
//! turn, the other is stopped (SIGSTOP), so that the machine's noise meets both. Both have stored as many older events.
//! Only for one of them is there work in the background (`--work` leaves some of it out):
//!
//! - `sweeps`: as many of its older events, calls and facts get past their time as new events come;
//! - `reloads`: every ten seconds a tenth of its hooks get another URL;
//! - `lists`: five times a second it is asked for a list, a timeline, the usage, or its metrics.
//!
//! With `--sqlite true`, a third in turn is the prototype that `--bench path` has, too: a plain group commit.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

mod shared;

mod tail {
    pub mod figures;
    pub mod past;
    pub mod system;
    pub mod work;
}

use std::path::Path;

use shared::args::Args;
use shared::forward::sqlite;
use shared::sink::{CONNECTIONS, Sink};
use shared::{process, receiver};
use tail::figures::Figures;
use tail::system::System;

/// The command line.
pub struct Plan {
    seconds: usize,
    rate: usize,
    slice: usize,
    hooks: usize,
    work: String,
    has_prototype: bool,
}

impl Plan {
    fn of(args: &Args) -> Self {
        Self {
            seconds: args.number("--seconds", 300),
            rate: args.number("--rate", 2000),
            slice: args.number("--slice", 30),
            hooks: args.number("--hooks", 10_000),
            work: args.text("--work").unwrap_or("sweeps,reloads,lists").to_owned(),
            has_prototype: args.text("--sqlite") == Some("true"),
        }
    }

    /// Turns of each system.
    fn turns(&self) -> usize {
        self.seconds.div_ceil(self.slice)
    }

    fn systems(&self) -> usize {
        if self.has_prototype { 3 } else { 2 }
    }

    fn works_on(&self, work: &str) -> bool {
        self.work.split(',').any(|one| one == work)
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match process::role().split_once(' ') {
        Some(("sqlite", folder)) => runtime.block_on(sqlite::serve(Path::new(folder))),
        _ => {
            process::step_aside();
            runtime.block_on(compare(&Plan::of(&Args::of_this_process())));
        }
    }
}

async fn compare(plan: &Plan) {
    let (listener, url) = receiver::listen().await;
    let sink = Sink::new();
    let receiving = tokio::spawn(sink.clone().receive(listener));
    let mut systems = System::start_all(plan, &url).await;
    println!(
        "{} events/s over {CONNECTIONS} connections, {} hooks, {} turns of {} s each; work: {}\n",
        plan.rate,
        plan.hooks,
        plan.turns(),
        plan.slice,
        plan.work
    );
    for system in &mut systems {
        system.warm_up(plan, &sink).await;
    }
    Figures::head();
    for turn in 0..plan.turns() {
        // Every second round runs backwards: drift favours no system.
        for place in 0..systems.len() {
            let which = if turn % 2 == 0 { place } else { systems.len() - 1 - place };
            systems[which].turn(plan, &sink).await;
        }
    }
    let (alone, beside, prototype) = (&systems[0], &systems[1], systems.get(2));
    for system in &systems {
        system.figures.show(system.name);
    }
    beside.figures.against(&alone.figures, "beside work / alone");
    if let Some(prototype) = prototype {
        beside.figures.against(&prototype.figures, "beside work / sqlite");
        alone.figures.against(&prototype.figures, "alone / sqlite");
    }
    beside.tell_work().await;
    receiving.abort();
}
