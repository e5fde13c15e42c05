//! What is taken over at a start is one snapshot, whatever is written while it is read.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use tokio::task::JoinSet;

use super::*;
use crate::hooks::{Around, parse_file};
use crate::ids::{BodyHash, Chain};
use crate::network::Network;
use crate::route::Door;

const HOSTS: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

fn hooks() -> Hooks {
    let network = Network { allowed: vec![IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))], allow_http: true };
    let around = Around::new(network, |_| Err("no secrets".into()));
    let entry = |host| format!("  - {{host: {host}, url: 'http://127.0.0.1:1/'}}\n");
    let text = format!("hooks:\n{}", HOSTS.map(entry).concat());
    let (entries, terms) = parse_file(&text, &around).expect("a table");
    Hooks { entries, terms, read: LastGood { text: text.into(), sources: BTreeMap::new() } }
}

pub(super) fn open(directory: &Path, clock: &Clock) -> Arc<Outbox> {
    let master = MasterSecret::parse("a-secret-that-is-used-in-this-test-only").expect("long enough");
    let config = Config {
        directory: directory.to_owned(),
        to_fallback: true,
        hold: Duration::from_secs(30),
        patience: Duration::from_secs(60),
        memory_room: 1 << 30,
        retention: Retention::default(),
    };
    let health = Arc::default();
    Arc::new(Outbox::open(config, hooks(), master, clock.clone(), health, Arc::default()).expect("a store"))
}

pub(super) async fn close(outbox: Arc<Outbox>) {
    outbox.close();
    outbox.writer_ended().await;
}

/// Appends an event where no task answers.
pub(super) async fn append_alone(outbox: &Outbox, post: Post) -> Result<Receipt, Full> {
    let answer = async {
        loop {
            outbox.answer().await;
        }
    };
    tokio::select! {
        receipt = outbox.append(post) => receipt,
        () = answer => unreachable!("it answers for ever"),
    }
}

async fn append(outbox: &Outbox, clock: &Clock, body: String) {
    let body = Bytes::from(body);
    let hash = BodyHash::of(&body);
    let (issuer, received_at, came, door) = ("".into(), clock.unix(), clock.now(), Door::Platform);
    let post = Post::read(Received { body, hash, issuer, received_at, came, door });
    let receipt = append_alone(outbox, post).await;
    assert!(receipt.expect("room").durable);
}

fn started(call: usize) -> String {
    format!(r#"{{"event":"room_started","id":"EV_s{call}","room":{{"sid":"RM_{call}","name":"{call}"}}}}"#)
}

pub(super) fn caller(call: usize) -> String {
    let host = HOSTS[call % HOSTS.len()];
    format!(
        r#"{{"event":"participant_joined","id":"EV_c{call}","room":{{"sid":"RM_{call}","name":"{call}"}},"participant":{{"sid":"PA_{call}","kind":"SIP","attributes":{{"sip.ruleID":"SDR_1","sip.h.x-to-ip":"{host}"}}}}}}"#
    )
}

/// Posts these calls, `of` each, at once.
pub(super) async fn append_all(
    outbox: &Arc<Outbox>,
    clock: &Clock,
    calls: impl Iterator<Item = usize>,
    of: fn(usize) -> String,
) {
    let mut posts = JoinSet::new();
    for call in calls {
        let (outbox, clock) = (Arc::clone(outbox), clock.clone());
        posts.spawn(async move { append(&outbox, &clock, of(call)).await });
    }
    posts.join_all().await;
}

/// What is pending is found by its index from here on, no longer by reading the end of the table.
async fn park(outbox: &Outbox, clock: &Clock) {
    clock.advance(Duration::from_secs(60));
    while sweep(outbox, clock).await {}
}

/// One sweep, while time goes on: it pauses between its orders. Whether there is likely more.
pub(super) async fn sweep(outbox: &Outbox, clock: &Clock) -> bool {
    let time = async {
        loop {
            Clock::system().sleep(Duration::from_millis(1)).await;
            clock.advance(Duration::from_millis(5));
        }
    };
    tokio::select! {
        has_more = outbox.sweep() => has_more.expect("swept"),
        () = time => unreachable!("it goes on for ever"),
    }
}

/// A delivery's place: its hook's call, and its number in it.
fn place(ready: &Ready) -> (HookId, Chain, i64) {
    (ready.hook, ready.chain, ready.sequence)
}

/// Every third call is held when the store is closed; the others, two deliveries each, are pending. While
/// the pending ones are taken over in pages of `page`, those of the held calls are released.
async fn released_while_taken_over(calls: usize, page: usize) {
    let (directory, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual(UnixMillis(1 << 40)));
    let outbox = open(directory.path(), &clock);
    let is_held = |call: &usize| call.is_multiple_of(3);
    for half in [0..calls / 2, calls / 2..calls] {
        park(&outbox, &clock).await;
        append_all(&outbox, &clock, half.clone(), started).await;
        append_all(&outbox, &clock, half.filter(|call| !is_held(call)), caller).await;
    }
    close(outbox).await;

    let outbox = open(directory.path(), &clock);
    let mut snapshot = outbox.inherited.lock().expect("a snapshot").take().expect("a snapshot");
    let held: Vec<_> = (0..calls).filter(is_held).collect();
    let pages = 1 + 2 * calls * 2 / 3 / page;
    let mut releases = held.chunks(held.len().div_ceil(pages));
    let mut inherited = Vec::new();
    while let Some(page) = snapshot.page(page).expect("readable") {
        inherited.extend(page.deliveries);
        let released = releases.next().unwrap_or_default().to_vec();
        append_all(&outbox, &clock, released.into_iter(), caller).await;
        park(&outbox, &clock).await;
    }
    append_all(&outbox, &clock, releases.flatten().copied(), caller).await;
    let mut news = Vec::new();
    while news.len() < 2 * held.len() {
        news.extend(outbox.news().await);
    }
    close(outbox).await;

    assert_eq!((inherited.len(), news.len()), (2 * (calls - held.len()), 2 * held.len()));
    let ids: HashSet<_> = inherited.iter().chain(&news).map(|ready| ready.id).collect();
    assert_eq!(ids.len(), 2 * calls, "each once");
    // Young ones come before those that are parked, and a lane waits for both.
    inherited.sort_by_key(|ready| ready.id);
    for readies in [&inherited, &news] {
        let mut last = BTreeMap::new();
        for (hook, chain, sequence) in readies.iter().map(place) {
            let before = last.insert((hook.0, chain.0), sequence).unwrap_or(0);
            assert_eq!(sequence, before + 1);
        }
        assert!(last.values().all(|sequence| *sequence == 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_while_pages_are_taken_over_is_in_none_of_them_and_comes_after() {
    released_while_taken_over(1_500, 150).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long; pages as large as a start reads them"]
async fn tens_of_thousands_are_taken_over_as_one_snapshot() {
    released_while_taken_over(60_000, PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_taken_over_in_pages_of_two_thousand_and_some() {
    let (directory, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual(UnixMillis(1 << 40)));
    let outbox = open(directory.path(), &clock);
    append_all(&outbox, &clock, 0..=PAGE, caller).await;
    close(outbox).await;
    let outbox = open(directory.path(), &clock);
    let (mut pages, mut sizes) = (outbox.inherited().expect("pages"), Vec::new());
    while let Some(page) = pages.recv().await {
        sizes.push(page.expect("a page").deliveries.len());
    }
    close(outbox).await;
    assert_eq!(sizes, [PAGE, 1]);
}
