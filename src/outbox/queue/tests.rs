//! The queue over a store that refuses, is silent, or cannot even be read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::*;
use crate::calls::{Change, Fate, Keys, Known, Loaded, Next, Order, Post, Receipt, Received, Settlement};
use crate::delivery::{Answer, Attempt};
use crate::hooks::{Around, HookTable, parse};
use crate::ids::{BodyHash, HookId};
use crate::network::Network;
use crate::outbox::engine::{Engine, StoreFault};
use crate::outbox::sqlite::{self, Sqlite};
use crate::registry::QuerySealer;
use crate::route::{Door, Reason};
use crate::telemetry::Health;
use crate::time::{Clock, UnixMillis};

const WELL: u8 = 0;
/// Commits fail; reading works.
const FULL: u8 = 1;
/// Neither works.
const GONE: u8 = 2;

/// A store that fails as it is told.
struct Faulty {
    store: Sqlite,
    mode: Arc<AtomicU8>,
    checks: Arc<AtomicUsize>,
}

impl Engine for Faulty {
    fn load(&mut self, keys: &Keys) -> Result<Loaded, StoreFault> {
        if self.mode.load(Ordering::SeqCst) == GONE { Err(StoreFault::Closed) } else { self.store.load(keys) }
    }

    fn commit(&mut self, changes: &[&[Change]]) -> Result<(), StoreFault> {
        if self.mode.load(Ordering::SeqCst) == WELL {
            self.store.commit(changes)
        } else {
            Err(StoreFault::Closed)
        }
    }

    fn check(&mut self) -> Result<bool, StoreFault> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        if self.mode.load(Ordering::SeqCst) == GONE { Err(StoreFault::Closed) } else { self.store.check() }
    }

    fn rest(&mut self) {
        self.store.rest();
    }

    fn tidy(&mut self, closing: bool) {
        self.store.tidy(closing);
    }
}

/// A queue over a store in a folder.
struct World {
    folder: tempfile::TempDir,
    queue: Arc<Queue>,
    mode: Arc<AtomicU8>,
    /// How often the writer asked whether the store works.
    checks: Arc<AtomicUsize>,
    ended: tokio::sync::watch::Receiver<bool>,
    /// Answers until it is dropped.
    _answering: JoinSet<()>,
}

fn table() -> HookTable {
    let around = Around::new(Network::default(), |_| Err(String::new()));
    let entries =
        parse("hooks:\n  - {host: a.example, url: 'https://a.example/'}\n", &around).expect("a table");
    let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
    HookTable::build(numbered.collect(), Vec::new())
}

/// A queue without a writer.
pub fn queue_in(folder: &Path) -> Queue {
    let database = folder.join("switchhook.db");
    let config = QueueConfig { patience: Duration::from_secs(5), memory_room: 1 << 20, database };
    Queue::new(config, (table(), true), Known::default(), Arc::new(Health::default()), Clock::system())
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = Arc::new(AtomicU8::new(WELL));
        let store = Sqlite::open(folder.path()).expect("a store");
        let queue = Arc::new(queue_in(folder.path()));
        let checks = Arc::<AtomicUsize>::default();
        let engine = Faulty { store, mode: Arc::clone(&mode), checks: Arc::clone(&checks) };
        let ended = start(Arc::clone(&queue), Box::new(engine)).expect("a thread");
        let (answers, mut answering) = (Arc::clone(&queue), JoinSet::new());
        answering.spawn(async move {
            loop {
                answers.answer().await;
            }
        });
        Self { folder, queue, mode, checks, ended, _answering: answering }
    }

    fn is(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    async fn post(&self, body: &str) -> Receipt {
        let read = |keys| async move {
            if self.mode.load(Ordering::SeqCst) == GONE {
                return Err(StoreFault::Closed);
            }
            sqlite::read(self.folder.path(), |store| sqlite::load(store, &keys, &QuerySealer::default()))
        };
        self.queue.append(post(body), read).await.expect("room")
    }

    /// Ends the writer once all is written.
    async fn close(mut self) -> tempfile::TempDir {
        self.queue.inbox.close();
        self.ended.wait_for(|ended| *ended).await.expect("its end");
        self.folder
    }
}

pub fn post(body: &str) -> Post {
    let hash = BodyHash::of(body.as_bytes());
    let (received_at, came) = (UnixMillis(1_795_240_012_000), Clock::system().now());
    let body = body.to_owned().into();
    Post::read(Received { body, hash, issuer: "APItest".into(), received_at, came, door: Door::Platform })
}

fn event(id: &str, name: &str, room: &str) -> String {
    format!(r#"{{"event":"{name}","id":"{id}","room":{{"sid":"RM_{room}","name":"{room}"}}}}"#)
}

pub fn joined(id: &str, room: &str) -> String {
    let caller =
        r#""kind":"SIP","sid":"PA_1","attributes":{"sip.ruleID":"SDR_1","sip.h.x-to-ip":"a.example"}"#;
    event(id, "participant_joined", room).replacen(
        "{\"event\"",
        &format!("{{\"participant\":{{{caller}}},\"event\""),
        1,
    )
}

/// The ids of what is stored as pending, with their numbers, in order of arrival.
fn stored(folder: &Path) -> Vec<(i64, i64)> {
    let mut snapshot = sqlite::Snapshot::open(folder).expect("a snapshot");
    let mut found = Vec::new();
    while let Some(page) = snapshot.page(100).expect("a page") {
        found.extend(page.deliveries.iter().map(|ready| (ready.id.0, ready.sequence)));
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn while_commits_fail_a_call_that_the_store_knows_goes_on_from_memory_in_order() {
    let world = World::new();
    let held = world.post(&event("EV_1", "room_started", "c")).await;
    assert!(held.durable && matches!(held.fate, Fate::Unrouted(Reason::Held)));
    world.is(FULL);
    let joined = world.post(&joined("EV_2", "c")).await;
    assert_eq!((joined.durable, joined.released.len(), world.queue.unwritten()), (false, 1, 1));
    let Fate::Routed(delivery) = &joined.fate else { panic!("{joined:?}") };
    assert_eq!((joined.released[0].sequence, delivery.sequence), (1, 2));
    // Both can be delivered before they are written.
    let ready = world.queue.feed.next().await;
    assert_eq!(ready.iter().map(|ready| ready.sequence).collect::<Vec<_>>(), [1, 2]);
    assert!(ready.iter().all(|ready| world.queue.unwritten_delivery(ready.id).is_some()));
    let again = world.post(&event("EV_1", "room_started", "c")).await;
    assert!(matches!(again.fate, Fate::Duplicate));
    world.is(WELL);
    let folder = world.close().await;
    assert_eq!(stored(folder.path()), [(1, 1), (2, 2)]);
}

#[tokio::test]
async fn what_cannot_be_read_waits_undecided_with_all_that_comes_behind_it_and_is_decided_in_order() {
    let world = World::new();
    world.post(&event("EV_1", "room_started", "c")).await;
    world.is(GONE);
    // The room of this one is not in memory: it may be bound in the store.
    for (id, name) in [("EV_2", "room_started"), ("EV_3", "track_published")] {
        let receipt = world.post(&event(id, name, "other")).await;
        assert!(!receipt.durable && matches!(receipt.fate, Fate::Undecided), "{receipt:?}");
    }
    let receipt = world.post(&joined("EV_4", "other")).await;
    assert!(matches!(receipt.fate, Fate::Undecided));
    assert_eq!(world.queue.unwritten(), 3);
    world.is(WELL);
    let folder = world.close().await;
    // Released in order by the caller who came last.
    assert_eq!(stored(folder.path()), [(2, 1), (3, 2), (4, 3)]);
}

#[tokio::test]
async fn a_delivery_that_is_made_before_it_is_written_gives_its_room_back() {
    let world = World::new();
    world.is(FULL);
    let large = joined("EV_1", "c").replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(900 << 10)), 1);
    let Fate::Routed(delivery) = world.post(&large).await.fate else { panic!("routed") };
    let second = large.replace("EV_1", "EV_2");
    let read = async |_| Err(StoreFault::Closed);
    assert!(world.queue.append(post(&second), read).await.is_err());
    let outcome = Ok(Answer { status: 200, retry_after: None });
    let (at, latency, url) = (UnixMillis(0), Duration::ZERO, "https://a.example/".into());
    let attempt = Attempt { number: 1, at, latency, outcome, url };
    world.queue.settle(Settlement { delivery: delivery.id, attempt, next: Next::Delivered, kept: None });
    assert!(matches!(world.post(&second).await.fate, Fate::Routed(_)));
    world.is(WELL);
    let folder = world.close().await;
    assert_eq!(stored(folder.path()), [(2, 2)]);
}

#[tokio::test]
async fn operators_requests_are_refused_while_the_store_takes_nothing() {
    let world = World::new();
    world.is(FULL);
    world.post(&event("EV_1", "room_started", "c")).await;
    let (reply, outcome) = tokio::sync::oneshot::channel();
    let order = Order::Reroute { sessions: Vec::new(), at: UnixMillis(0) };
    world.queue.inbox.task(Task::Order(order, Some(reply)));
    world.queue.inbox.refuse_requests();
    assert!(outcome.await.is_err());
    world.is(WELL);
    world.close().await;
}

#[tokio::test]
async fn a_stop_while_the_store_takes_nothing_does_not_wait_for_it_if_nothing_is_unwritten() {
    let world = World::new();
    world.is(GONE);
    world.queue.inbox.nudge();
    while !world.queue.is_away() {
        tokio::task::yield_now().await;
    }
    let (checks, asked) = (Arc::clone(&world.checks), world.checks.load(Ordering::SeqCst));
    world.close().await;
    let asked_again = checks.load(Ordering::SeqCst) - asked;
    assert!(asked_again <= 2, "{asked_again}");
}

#[tokio::test]
async fn a_stop_with_an_unwritten_event_asks_the_store_sixteen_times_more() {
    let world = World::new();
    world.is(GONE);
    let receipt = world.post(&event("EV_1", "room_started", "c")).await;
    assert!(!receipt.durable);
    let (checks, asked) = (Arc::clone(&world.checks), world.checks.load(Ordering::SeqCst));
    world.close().await;
    let asked_again = checks.load(Ordering::SeqCst) - asked;
    assert!((15..=18).contains(&asked_again), "{asked_again}");
}
