//! What `switchhook store backup` costs the router beside it.
//!
//! `cargo bench --bench backup [-- --megabytes 440 --rates 300,2000 --pairs 2 --seconds 10 --program OTHER]`
//!
//! The store is filled with delivered events and with unrouted ones that have their bodies. In one run of each pair a
//! backup is made, on the router's own core (the hard case), and events come until it is done and a little longer; in
//! the other, for `--seconds`, none is made. Load and receiver have the other core.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::args::Args;
use shared::arrivals::Arrivals;
use shared::event::{Event, Template, hooks_file, host};
use shared::figures::{Times, median};
use shared::load::Load;
use shared::process;
use shared::receiver;
use shared::router::{BUILT, Router};
use tokio::task::JoinHandle;

#[path = "../shared/mod.rs"]
mod shared;

const CONNECTIONS: usize = 16;

/// Events of a call.
const CALL: usize = 10;

/// How long one round of load lasts, and how often the log is looked at meanwhile.
const ROUND: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// Bytes of an unrouted event's body in the store.
const BODY: usize = 1500;

/// The printed parts of all times, in thousandths.
const PARTS: [usize; 3] = [500, 990, 999];

struct Plan {
    program: PathBuf,
    megabytes: usize,
    rates: Vec<usize>,
    pairs: usize,
    /// How long a run without a backup lasts.
    alone: Duration,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    process::step_aside();
    let args = Args::of_this_process();
    let rates = args.text("--rates").unwrap_or("300,2000");
    let plan = Plan {
        program: std::fs::canonicalize(args.text("--program").unwrap_or(BUILT)).expect("a router"),
        megabytes: args.number("--megabytes", 440),
        rates: rates.split(',').map(|rate| rate.parse().expect("a rate")).collect(),
        pairs: args.number("--pairs", 2).max(1),
        alone: Duration::from_secs(args.number("--seconds", 10) as u64),
    };
    runtime.block_on(compare(&plan));
}

async fn compare(plan: &Plan) {
    let (listener, url) = receiver::listen().await;
    let arrivals = Arc::new(Arrivals::new());
    let noted = Arc::clone(&arrivals);
    let note = move |received: receiver::Received| noted.arrive(received.event, Instant::now());
    let receiving = tokio::spawn(receiver::receive(listener, note));
    let mut router = Router::start(&plan.program, &hooks_file(0..2, |_| url.clone()), &[]).await;
    router.process.kill();
    fill(&router.path("data/switchhook.db"), plan.megabytes);
    std::fs::create_dir(router.path("backups")).expect("a folder");
    router.restart().await;
    let bench = Bench { router, arrivals, program: plan.program.clone() };
    println!("a database of {} MB\n", bench.bytes("data/switchhook.db") >> 20);
    println!(
        "{:>6}  {:<7} {:>25} {:>25} {:>9} {:>8}",
        "rate", "", "acknowledged p50/99/99.9", "delivered p50/99/99.9", "backup s", "log MB"
    );
    // The first events find nothing in any cache.
    bench.run(300, 2 * ROUND, None).await;
    for &rate in &plan.rates {
        let mut pairs = Vec::new();
        for pair in 0..plan.pairs {
            // Every second pair runs backwards: drift favours neither.
            let mut runs = [None, None];
            for which in [pair % 2, 1 - pair % 2] {
                let backup = (which == 1).then(|| bench.begin_backup());
                let run = bench.run(rate, plan.alone, backup).await;
                run.show(rate, ["alone", "beside"][which]);
                runs[which] = Some(run);
            }
            pairs.push(runs.map(|run| run.expect("both")));
        }
        show_ratios(&pairs);
    }
    receiving.abort();
}

struct Bench {
    router: Router,
    arrivals: Arc<Arrivals<Instant>>,
    program: PathBuf,
}

/// How long events of a run waited for their 200 and for their delivery, how long the backup took, and the largest log.
struct Run {
    acknowledged: Times,
    delivered: Times,
    backup: Duration,
    log: u64,
}

impl Bench {
    fn bytes(&self, file: &str) -> u64 {
        std::fs::metadata(self.router.path(file)).map_or(0, |file| file.len())
    }

    /// Begins a backup; its end says how long it took.
    fn begin_backup(&self) -> JoinHandle<Duration> {
        let mut command = process::on_its_core(&self.program);
        command.args(["store", "backup", "--yes", "--data"]).arg(self.router.path("data"));
        command.arg(self.router.path("backups/switchhook.db")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut backup =
            tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("switchhook");
        let began = Instant::now();
        tokio::spawn(async move {
            assert!(backup.wait().await.expect("its end").success(), "the backup is made");
            began.elapsed()
        })
    }

    /// Offers events, round by round, until the backup is done and one round longer; without one, for `time`.
    async fn run(&self, rate: usize, time: Duration, backup: Option<JoinHandle<Duration>>) -> Run {
        let (began, mut log) = (Instant::now(), 0);
        let (mut acknowledged, mut delivered) = (Vec::new(), Vec::new());
        loop {
            let is_last = backup.as_ref().map_or(began.elapsed() + ROUND > time, JoinHandle::is_finished);
            tokio::select! {
                () = self.round(rate, &mut acknowledged, &mut delivered) => {},
                () = self.watch_log(&mut log) => {},
            }
            if is_last {
                break;
            }
        }
        let backup = match backup {
            Some(backup) => backup.await.expect("a backup"),
            None => Duration::ZERO,
        };
        Run { acknowledged: Times::of(acknowledged), delivered: Times::of(delivered), backup, log }
    }

    /// Notes the largest log there is, for ever.
    async fn watch_log(&self, largest: &mut u64) {
        loop {
            *largest = self.bytes("data/switchhook.db-wal").max(*largest);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Offers events for [`ROUND`].
    async fn round(&self, rate: usize, acknowledged: &mut Vec<Duration>, delivered: &mut Vec<Duration>) {
        let count = rate * usize::try_from(ROUND.as_secs()).expect("few");
        let (template, first) = (Template::new(), self.arrivals.expect(count));
        let requests = (first..first + count).map(|number| {
            let room = format!("RM_now{}", number / CALL);
            template.request(&Event { number, room, host: host(number / CALL % 2), web: false })
        });
        let requests = requests.collect();
        let load = Load { connections: CONNECTIONS, rate: rate as u64, start: Instant::now() };
        let acks = load.offer(&self.router.address, requests).answered().await;
        let arrived = self.arrivals.all(count, Duration::ZERO).await;
        for ack in acks {
            let first = arrived[ack.n].first().expect("it is delivered");
            delivered.push(first.saturating_duration_since(ack.sent));
            acknowledged.push(ack.took);
        }
    }
}

impl Run {
    fn show(&self, rate: usize, name: &str) {
        let shown = |times: &Times| PARTS.map(|part| format!("{:.2}", times.per_mille(part))).join(" / ");
        println!(
            "{rate:>4}/s  {name:<7} {:>25} {:>25} {:>9.1} {:>8}",
            shown(&self.acknowledged),
            shown(&self.delivered),
            self.backup.as_secs_f64(),
            self.log >> 20
        );
    }
}

/// Medians of what each pair's run beside a backup has, as times of what its run alone has.
fn show_ratios(pairs: &[[Run; 2]]) {
    let ratios = |times: fn(&Run) -> &Times| {
        let of_part = |part| {
            let of_pair =
                |[alone, beside]: &[Run; 2]| times(beside).per_mille(part) / times(alone).per_mille(part);
            format!("{:.2}", median(pairs.iter().map(of_pair)))
        };
        PARTS.map(of_part).join(" / ")
    };
    println!(
        "{:>7} {:<7} {:>25} {:>25}\n",
        "",
        "ratio",
        ratios(|run| &run.acknowledged),
        ratios(|run| &run.delivered)
    );
}

/// Fills the store of a router that does not run: a third of the bytes are delivered events, the others unrouted ones
/// with their bodies.
fn fill(path: &Path, megabytes: usize) {
    let store = rusqlite::Connection::open(path).expect("the store");
    let (bodies, rows) = ((megabytes << 20) * 2 / 3 / (BODY + 500), megabytes * 1000);
    let now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
    let sql = format!(
        "PRAGMA synchronous = OFF; BEGIN; \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO events (seq, id, event, call, room, who, received_at, domain, outcome, issuer, size, state, hook, \
         bound_url, bound_format, chain, sequence, attempts, attempted_at, status, latency_us, settled_at, tenant, \
         participant) \
         SELECT i, 'EV_' || hex(randomblob(6)), 'participant_joined', 'RM_' || (i / {CALL}), \
         'call-_+1555' || (i / {CALL}), 'sip_+1555' || i, {now}, '{host}', iif(i > {bodies}, 'domain', 'no_hook'), \
         'APIbench', {BODY}, iif(i > {bodies}, 1, 3), 1, 'http://127.0.0.1:9/webhooks', 'raw', i, 1, 1, {now}, 200, 900, \
         {now}, '{host}', 'PA_' || hex(randomblob(6)) FROM n; \
         INSERT INTO bodies (seq, body) SELECT seq, randomblob({BODY}) FROM events WHERE state = 3; \
         UPDATE progress SET seq = {rows}, numbered = {rows}, digested = {rows}, unsummed = {rows}; COMMIT; \
         PRAGMA wal_checkpoint(TRUNCATE)",
        host = host(0)
    );
    store.execute_batch(&sql).expect("rows");
}
