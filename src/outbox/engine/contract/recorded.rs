//! Recorded calls, decided once and stored by two engines.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use super::Kept;
use crate::calls::tests::world::{START, post};
use crate::calls::{Ground, Keys, Loaded, Place, Post, decide};
use crate::delivery::Fresh;
use crate::hooks::{Around, HookTable, parse};
use crate::ids::{Chain, HookId};
use crate::network::Network;
use crate::outbox::engine::Engine;
use crate::outbox::engine::memory::Disk;
use crate::route::Door;
use crate::time::UnixMillis;

const HOOKS: i64 = 3;

/// What real LiveKits posted, recording after recording.
fn posts() -> Vec<Arc<Post>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/livekit");
    let paths = std::fs::read_dir(folder).expect("recordings").map(|entry| entry.expect("an entry").path());
    let recordings: BTreeSet<_> =
        paths.filter(|path| path.extension().is_some_and(|is| is == "jsonl")).collect();
    let texts = recordings.iter().map(|path| std::fs::read_to_string(path).expect("a recording"));
    let lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let bodies = lines.iter().filter_map(|line| {
        let posted: Value = serde_json::from_str(line).expect("JSON");
        posted["body"].as_str().map(str::to_owned)
    });
    let posts = bodies.zip(1..).map(|(body, n)| post(&body, UnixMillis(START.0 + 100 * n), Door::Platform));
    posts.collect()
}

/// The table the recordings were made for.
fn table() -> HookTable {
    let text = include_str!("../../../../tests/data/livekit/hooks.yaml");
    let loopback = IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let network = Network { allowed: vec![loopback], allow_http: true };
    let entries = parse(text, &Around::new(network, |_| Err("none".into()))).expect("a table");
    let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
    HookTable::build(numbered.collect(), Vec::new())
}

/// All there is to load of an event's call.
fn keys_of(post: &Post) -> Keys {
    let names = post.sid.iter().chain(&post.room);
    let chains = names.flat_map(|name| (1..=HOOKS).map(|hook| Chain::new(HookId(hook), name)));
    Keys {
        events: vec![Arc::clone(&post.key)],
        sessions: post.sid.iter().cloned().collect(),
        rooms: post.room.iter().cloned().collect(),
        waiting: post
            .sid
            .iter()
            .cloned()
            .map(Place::Session)
            .chain(post.room.clone().map(Place::Room))
            .collect(),
        chains: chains.collect(),
        ..Keys::default()
    }
}

/// What an engine answers, to be compared.
fn told(loaded: &Loaded, keys: &Keys) -> String {
    let Loaded { sessions, chains, numbers, damaged, answers } = loaded;
    assert_eq!(damaged, &[]);
    let rooms: Vec<_> = keys.rooms.iter().map(|room| &answers.rooms[room]).collect();
    let waiting: Vec<_> = keys.waiting.iter().map(|place| &answers.waiting[place]).collect();
    let (stored, absent) = (&answers.stored, &answers.absent);
    format!("{sessions:#?} {chains:?} {numbers:?} {rooms:?} {waiting:#?} {stored:?} {absent:?}")
}

pub fn after_every_recorded_event_it_answers_as_the_plainest_engine_does<K: Kept>() {
    let (kept, plainest) = (K::new(), <Arc<Disk> as Kept>::new());
    let (mut engine, mut plainest) = (kept.open(), plainest.open());
    let (table, fresh, mut known) = (table(), Fresh::default(), K::known(&engine));
    let ground = Ground { table: &table, to_fallback: true, fresh: &fresh };
    let posts = posts();
    assert!(posts.len() > 500, "{}", posts.len());
    for post in posts.chunks(20) {
        loop {
            let mut keys = Keys::default();
            post.iter().for_each(|post| keys.of_post(&known, &ground, post));
            if keys.is_empty() {
                break;
            }
            known.learn(engine.load(&keys.deduplicated()).expect("loaded"));
        }
        let decided = decide(post, &[], &mut known, ground);
        engine.commit(&[&decided.changes]).expect("committed");
        plainest.commit(&[&decided.changes]).expect("committed");
        known.written(&decided.changes);
        for post in post {
            let keys = keys_of(post);
            let [one, other] =
                [engine.load(&keys), plainest.load(&keys)].map(|loaded| loaded.expect("loaded"));
            assert_eq!(told(&one, &keys), told(&other, &keys), "{}", post.key);
        }
    }
}
