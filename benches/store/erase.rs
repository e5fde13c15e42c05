//! How long an erasure takes, and how long answers take meanwhile.
//!
//! `cargo bench --bench erase [-- --rows 1000000 --share 10 --rate 200 --program OTHER]`
//!
//! The store has `--rows` delivered events with their calls, one of `--share` of them of the tenant that is erased.
//! Events come at `--rate` a second, first for a while without an erasure, then until it is done. The router has one
//! core; this program has the other.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::Value;
use shared::args::Args;
use shared::event::{Event, Template, hooks_file, host};
use shared::figures::Times;
use shared::load::Load;
use shared::process;
use shared::router::{BUILT, Router};

#[path = "../shared/mod.rs"]
mod shared;

const CONNECTIONS: usize = 8;

/// Events of a call in the store.
const CALL: usize = 10;

/// How long one round of load lasts.
const ROUND: Duration = Duration::from_secs(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    process::step_aside();
    let args = Args::of_this_process();
    let (rows, share) = (args.number("--rows", 1_000_000), args.number("--share", 10));
    let rate = args.number("--rate", 200);
    let program = Path::new(args.text("--program").unwrap_or(BUILT));
    runtime.block_on(measure(program, rows, share, rate));
}

async fn measure(program: &Path, rows: usize, share: usize, rate: usize) {
    let (listener, url) = shared::receiver::listen().await;
    let receiving = tokio::spawn(shared::receiver::receive(listener, |_| {}));
    let mut router = Router::start(program, &hooks_file(0..2, |_| url.clone()), &["--data", "data"]).await;
    router.process.kill();
    fill(&router.path("data/switchhook.db"), rows, share);
    let megabytes = std::fs::metadata(router.path("data/switchhook.db")).expect("a file").len() >> 20;
    router.restart().await;
    println!(
        "{rows} events in {megabytes} MB, one of {share} of the erased tenant; {rate} events/s come meanwhile"
    );
    let mut offered = Offered { template: Template::new(), next: 1, rate };
    show("before", &offered.round(&router).await);
    let path = format!("/v1/tenants/{}/data", host(0));
    let began = Instant::now();
    router.ask(Method::DELETE, &path).await;
    let mut acks = Vec::new();
    let report = loop {
        acks.extend(offered.round(&router).await);
        let report: Value = serde_json::from_str(&router.ask(Method::GET, &path).await).expect("JSON");
        println!("{:>6.0} s: {} %, {}", began.elapsed().as_secs_f64(), report["percent"], report["step"]);
        if !report["done_at"].is_null() {
            break report;
        }
    };
    show("meanwhile", &acks);
    println!("{}", report["erased"]);
    receiving.abort();
}

/// Events that are posted, one after the other, round by round.
struct Offered {
    template: Template,
    next: usize,
    rate: usize,
}

impl Offered {
    async fn round(&mut self, router: &Router) -> Vec<Duration> {
        let count = self.rate * usize::try_from(ROUND.as_secs()).expect("few");
        let requests = (self.next..self.next + count).map(|number| {
            let room = format!("RM_new{}", number / CALL);
            self.template.request(&Event { number, room, host: host(number / CALL % 2), web: false })
        });
        let requests = requests.collect();
        self.next += count;
        let load = Load { connections: CONNECTIONS, rate: self.rate as u64, start: Instant::now() };
        load.offer(&router.address, requests).answered().await.into_iter().map(|ack| ack.took).collect()
    }
}

fn show(what: &str, acks: &[Duration]) {
    let times = Times::of(acks.iter().copied());
    let [p50, p99] = [50, 99].map(|percent| times.percentile(percent));
    println!(
        "{what:<10} p50 {p50:.2} ms, p99 {p99:.2} ms, longest {:.0} ms ({} answers)",
        times.longest(),
        acks.len()
    );
}

/// Fills the store of a router that does not run.
fn fill(path: &Path, rows: usize, share: usize) {
    let store = Connection::open(path).expect("the store");
    let (own, other) = (host(0), host(1));
    let count = |limit: usize| {
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {limit}) ")
    };
    let whose = |row: &str| format!("iif(({row}) / {CALL} % {share} = 0, '{own}', '{other}')");
    let (events, calls) = (count(rows), count(rows / CALL));
    let (tenant, of_call) = (whose("i"), whose(&format!("i * {CALL}")));
    let now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
    let sql = format!(
        "PRAGMA synchronous = OFF; BEGIN; \
         {events} INSERT INTO events (seq, id, event, call, room, who, received_at, domain, outcome, issuer, size, \
         state, hook, bound_url, bound_format, chain, sequence, attempts, attempted_at, status, latency_us, \
         settled_at, tenant, participant) \
         SELECT i, 'EV_' || hex(randomblob(6)), 'participant_joined', 'RM_' || (i / {CALL}), \
         'call-_+1555' || (i / {CALL}) || '_' || hex(randomblob(4)), 'sip_+1555' || i, {now}, {tenant}, 'domain', \
         'APIbench', 1500, 1, 1, 'http://127.0.0.1:9/webhooks', 'raw', i, 1, 1, {now}, 200, 900, {now}, {tenant}, \
         'PA_' || hex(randomblob(6)) FROM n; \
         {calls} INSERT INTO calls (call, room, hook, url, format, began_at, seen_at, finished_at, tenant) \
         SELECT 'RM_' || i, 'call-_+1555' || i, 1, 'http://127.0.0.1:9/webhooks', 'raw', {now}, {now}, {now}, \
         {of_call} FROM n; \
         UPDATE progress SET seq = {rows}, numbered = {rows}, digested = {rows}; COMMIT; \
         PRAGMA wal_checkpoint(TRUNCATE)"
    );
    store.execute_batch(&sql).expect("rows");
}
