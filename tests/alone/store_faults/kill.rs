//! After an answer of 200, nothing is lost and nothing changes its place: not by a kill -9 at any moment, whatever is
//! under way.

mod edits;
mod expected;
mod operator;
mod receiver;
mod receivers;
mod router;
mod script;
mod sender;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use self::edits::Edits;
use self::expected::Expected;
use self::receivers::{HooksFile, Receivers};
use self::router::{Router, Start};
use self::script::At;
use crate::world::{Process, World};

/// Rounds of the kill -9 test: `SWITCHHOOK_KILL_ROUNDS=500 cargo test --test alone kill_9_at` for more.
fn rounds() -> usize {
    let asked = std::env::var("SWITCHHOOK_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(20)
}

/// Senders of each kind at once, and hooks of the API that are edited at once.
const LINES: usize = 12;
const LIVES: usize = 4;

/// All that comes after the last start has come within this time.
const REST: Duration = Duration::from_secs(60);

/// What the log must have said in some round: so these were under way.
const TRIED: [&str; 5] =
    ["breaker opened", "hooks not reloaded", "hooks reloaded", "secret rotated", "hook edited over the API"];

/// All that takes part in a run.
struct Run {
    world: Arc<World>,
    receivers: Receivers,
    file: Arc<Mutex<HooksFile>>,
    expected: Arc<Expected>,
    edits: Arc<Edits>,
    starts: watch::Sender<Option<Start>>,
    senders: JoinSet<()>,
    tried: BTreeSet<&'static str>,
}

impl Run {
    async fn new() -> Self {
        let receivers = Receivers::open().await;
        let mut world = World::with(&[]).await;
        world.stop().await;
        let world = Arc::new(world);
        let file = Arc::new(Mutex::new(HooksFile::new(Arc::clone(&world), &receivers)));
        let edits = Arc::new(Edits::new(receivers.all[At::Edited as usize].shared()));
        let (expected, starts, senders) = (Arc::default(), watch::channel(None).0, JoinSet::new());
        Self { world, receivers, file, expected, edits, starts, senders, tried: BTreeSet::new() }
    }

    /// Starts the router, with the host that comes late, and tells it to the senders.
    async fn start(&self, number: usize, is_last: bool) -> Process {
        let mut file = self.file.lock().await;
        file.late = number;
        file.write();
        let process = Process::start(&self.world);
        let is_fault =
            |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.starts_with("hooks file unusable"));
        assert_eq!(process.lines().into_iter().find(is_fault), None);
        let (address, api_address) = (process.address.clone(), process.api_address.clone());
        self.starts.send_replace(Some(Start { number, address, api_address, is_last }));
        process
    }

    /// Everything begins that goes on until the last start.
    fn begin(&mut self) {
        let router =
            Router::new(Arc::clone(&self.world), self.starts.subscribe(), Arc::clone(&self.expected));
        for line in 0..LINES {
            self.senders.spawn(sender::calls(router.clone(), line));
            self.senders.spawn(sender::early_callers(router.clone(), line));
        }
        for line in 0..LIVES {
            let (url, edits) = (self.receivers.url(At::Edited).to_owned(), Arc::clone(&self.edits));
            self.senders.spawn(operator::lives(router.clone(), url, edits, line));
        }
        let opened = Arc::clone(&self.receivers.opened);
        let open = move |call: &str| {
            opened.lock().expect("calls").insert(call.to_owned());
        };
        self.senders.spawn(sender::letters(router.clone(), Arc::new(open)));
        self.senders.spawn(sender::late_hosts(router.clone()));
        self.senders.spawn(sender::resends(router.clone()));
        self.senders.spawn(operator::reloads(router, Arc::clone(&self.file)));
    }

    /// What a router said before it was killed, and whether all senders go on.
    fn read(&mut self, log: &str) {
        while let Some(ended) = self.senders.try_join_next() {
            ended.expect("a sender ends in order");
        }
        self.tried.extend(TRIED.into_iter().filter(|text| log.contains(text)));
        assert!(
            !log.contains("a task broke"),
            "{:?}",
            log.lines().find(|line| line.contains("a task broke"))
        );
    }

    /// Waits until everything was tried at least once, however slow the machine is.
    async fn until_all_is_tried(&mut self, process: &Process) {
        let began = Instant::now();
        while self.tried.len() < TRIED.len() {
            assert!(began.elapsed() < REST, "only these were tried: {:?}", self.tried);
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.read(&process.log());
        }
    }

    /// Waits until every sender has ended; one that panicked says why.
    async fn finish(&mut self) {
        let all = async {
            while let Some(ended) = self.senders.join_next().await {
                ended.expect("a sender ends in order");
            }
        };
        tokio::time::timeout(REST, all).await.expect("every call ends");
    }

    fn faults(&self) -> Vec<String> {
        let all = self.receivers.all.iter().enumerate();
        let faults = all.flat_map(|(tenant, receiver)| self.expected.faults(tenant, &receiver.arrivals()));
        faults.chain(self.edits.faults()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_9_at_any_moment_loses_nothing_and_keeps_order_sequence_and_every_answered_edit() {
    let _turn = crate::turn().await;
    let mut run = Run::new().await;
    for round in 0..rounds() {
        // Down for a round at a time: far less than an event may hold its call.
        run.receivers.down.store(round % 3 == 1, Ordering::Relaxed);
        let process = run.start(round, false).await;
        if round == 0 {
            run.begin();
        }
        // Somewhere between the take-over and long after it.
        tokio::time::sleep(Duration::from_millis(5 + 89 * (round as u64 % 11))).await;
        run.read(&process.log());
        if round + 1 == rounds() {
            run.receivers.down.store(true, Ordering::Relaxed);
            run.until_all_is_tried(&process).await;
        }
        drop(process);
    }
    run.receivers.down.store(false, Ordering::Relaxed);
    let process = run.start(rounds(), true).await;
    run.finish().await;
    run.receivers.take(&run.expected).await;
    run.read(&process.log());
    let faults = run.faults();
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(20)]);
    let events: usize = (0..run.receivers.all.len()).map(|tenant| run.expected.count(tenant)).sum();
    counts(&run.world, &process, events, run.expected.nobodys()).await;
}

/// Waits until usage has each of these events once, received and delivered; nobody's are only received.
async fn counts(world: &World, process: &Process, events: usize, nobodys: usize) {
    let (url, began) = (format!("http://{}/v1/usage", process.api_address), Instant::now());
    loop {
        let (_, page) = world.api_at(&url).await;
        let totals = &page["totals"];
        assert_eq!(totals["events"], events + nobodys, "{page:#}");
        if totals["deliveries"] == events {
            return;
        }
        assert!(began.elapsed() < REST, "{page:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
