//! How long `switchhook check --against` takes over a million events, and what it costs the router beside it.
//!
//! `cargo bench --bench preview [-- --events 1000000 --hooks 213 --seconds 6 --pairs 5 --rate 500]`
//!
//! The store is filled with calls of ten events, two of them of a caller, all with hooks of the table. In one run of each
//! pair a table in which every tenth host is missing is tried on them again and again, on the router's own core (the hard
//! case); in the other nothing is. Compared is how long events waited for their 200.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use shared::args::Args;
use shared::event::{Event, Template, hooks_file, host};
use shared::figures::{Times, median};
use shared::load::Load;
use shared::process;
use shared::receiver;
use shared::router::{BUILT, Router};

mod shared;

const CONNECTIONS: usize = 16;

struct Plan {
    events: usize,
    hooks: usize,
    seconds: usize,
    pairs: usize,
    rate: usize,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    process::step_aside();
    let args = Args::of_this_process();
    let plan = Plan {
        events: args.number("--events", 1_000_000),
        hooks: args.number("--hooks", 213),
        seconds: args.number("--seconds", 6),
        pairs: args.number("--pairs", 5),
        rate: args.number("--rate", 500),
    };
    runtime.block_on(compare(&plan));
}

async fn compare(plan: &Plan) {
    let (listener, url) = receiver::listen().await;
    tokio::spawn(receiver::receive(listener, |_| ()));
    let table = hooks_file(0..plan.hooks, |_| format!("{url}/"));
    let mut router = Router::start(Path::new(BUILT), &table, &[]).await;
    router.process.kill();
    fill(&router, plan);
    router.restart().await;
    let next = hooks_file(plan.hooks / 10..plan.hooks, |_| format!("{url}/"));
    std::fs::write(router.path("logs/hooks.new.yaml"), next).expect("hooks");
    println!("{} events, {} hooks; {} events/s meanwhile\n", plan.events, plan.hooks, plan.rate);
    println!(
        "{:>4}  {:>20} {:>20} {:>12} {:>8}",
        "pair", "alone p50/p99 ms", "beside p50/p99 ms", "ratio p50/p99", "check"
    );
    let (mut first, mut medians) = (0, [Vec::new(), Vec::new(), Vec::new()]);
    run(&router, plan, &mut first, false).await;
    for pair in 1..=plan.pairs {
        let is_beside_first = pair % 2 == 0;
        let one = run(&router, plan, &mut first, is_beside_first).await;
        let other = run(&router, plan, &mut first, !is_beside_first).await;
        let (beside, alone) = if is_beside_first { (one, other) } else { (other, one) };
        let ratios = [50, 99].map(|part| beside.0.percentile(part) / alone.0.percentile(part));
        let shown = |times: &Times| format!("{:.2} / {:.2}", times.percentile(50), times.percentile(99));
        let check = median(beside.1.iter().map(Duration::as_secs_f64));
        println!(
            "{pair:>4}  {:>20} {:>20} {:>5.2} / {:<5.2} {check:>7.2} s",
            shown(&alone.0),
            shown(&beside.0),
            ratios[0],
            ratios[1]
        );
        medians[0].push(ratios[0]);
        medians[1].push(ratios[1]);
        medians[2].push(check);
    }
    let [p50, p99, check] = medians.map(median);
    println!(
        "\nacknowledged beside a check, × alone: p50 {p50:.2}, p99 {p99:.2}; a check takes {check:.2} s (medians)"
    );
}

/// Fills the store of a router that is not running.
fn fill(router: &Router, plan: &Plan) {
    let store = rusqlite::Connection::open(router.path("data/switchhook.db")).expect("the store");
    let now = switchhook::Clock::system().unix().0;
    let (hooks, events) = (plan.hooks, plan.events);
    let columns =
        "seq, call, outcome, hook, received_at, tenant, participant, sip, x_to_ip, to_header, number, trunk";
    store
        .execute_batch(&format!(
            "BEGIN; WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {events}) \
             INSERT INTO events (id, event, created_at, issuer, size, state, {columns}) \
             SELECT 'EV_past' || i, 'participant_joined', 1, 'k', 900, 1, i, \
             printf('RM_%08x%06d', (i / 10 * 2654435761) & 0xffffffff, i / 10), 'domain', 1 + (i / 10) % {hooks}, \
             {now} - ({events} - i) / 10, printf('calls.tenant%07d.example', (i / 10) % {hooks}), 'PA_' || i / 5, \
             iif(i % 5, NULL, 1), iif(i % 5, NULL, printf('calls.tenant%07d.example', (i / 10) % {hooks})), \
             iif(i % 5, NULL, printf('<sip:+1555%07d@edge.example>', i)), iif(i % 5, NULL, printf('+1555%07d', i % 9999)), \
             iif(i % 5, NULL, 'ST_trunk') FROM n; \
             INSERT INTO facts ({columns}) SELECT {columns} FROM events WHERE sip IS NOT NULL ORDER BY seq; \
             UPDATE progress SET seq = {events}, numbered = {events}, digested = {events}; COMMIT; \
             PRAGMA wal_checkpoint(TRUNCATE)"
        ))
        .expect("rows");
}

/// Offers events for some seconds, and tries the table meanwhile if it is to be tried: how long events waited, and
/// checks took.
async fn run(router: &Router, plan: &Plan, first: &mut usize, is_tried: bool) -> (Times, Vec<Duration>) {
    let (template, offered) = (Template::new(), plan.rate * plan.seconds);
    let request = |number: usize| {
        let (room, host) = (format!("RM_now{number}"), host(number % plan.hooks));
        template.request(&Event { number, room, host, web: false })
    };
    let requests = (*first..*first + offered).map(request).collect();
    *first += offered;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now() + Duration::from_millis(50);
    let load = Load { connections: CONNECTIONS, rate: plan.rate as u64, start };
    let offering = load.offer(&router.address, requests);
    let end = start + Duration::from_secs(plan.seconds as u64);
    let mut checks = Vec::new();
    while is_tried && (checks.is_empty() || Instant::now() < end) {
        checks.push(check(router).await);
    }
    let acks = offering.answered().await;
    (Times::of(acks.iter().map(|ack| ack.took)), checks)
}

async fn check(router: &Router) -> Duration {
    let began = Instant::now();
    let mut command = process::on_its_core(Path::new(BUILT));
    command.arg("check").arg(router.path("logs/hooks.new.yaml")).arg("--against").arg(router.path("data"));
    command.args(["--allow-http", "--allow-network", "127.0.0.0/8"]).stdout(Stdio::null());
    let status = tokio::process::Command::from(command).status().await.expect("switchhook");
    assert!(status.success(), "the table has no fault");
    began.elapsed()
}
