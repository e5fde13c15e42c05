//! Real input: what a real LiveKit posted.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use switchhook::{Clock, UnixMillis};

use super::world::{Tenant, World, recording, recordings};

const HOSTS: [&str; 3] = ["calls.acme.example", "voice.globex.example", "sip.initech.example"];

/// A row of `expected.tsv`: recording, event id, event, host or `-`, rule or reason.
pub type Row = [String; 5];

pub fn rows(folder: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(folder.join("expected.tsv")).expect("expected.tsv");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<_> = line.split('\t').map(str::to_owned).collect();
        columns.try_into().expect("five columns")
    })
    .collect()
}

/// The table the rows are written for, with these receivers in the order of its hooks.
fn hooks(folder: &Path, tenants: &[Tenant]) -> String {
    let text = std::fs::read_to_string(folder.join("hooks.yaml")).expect("hooks.yaml");
    let mut tenants = tenants.iter();
    let line = |line: &str| match line.split_once("url: ") {
        Some((indent, _)) => format!("{indent}url: {}\n", tenants.next().expect("a receiver").url()),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

async fn tenants() -> Vec<Tenant> {
    vec![Tenant::open().await, Tenant::open().await, Tenant::open().await]
}

/// The recordings of a folder but the SIP API's answers, by name.
fn all(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let files = std::fs::read_dir(folder).expect("recordings");
    let paths = files.map(|entry| entry.expect("an entry").path());
    let named = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let named = named.filter(|path| !path.ends_with("sip-api.jsonl"));
    named
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), recording(&path)))
        .collect()
}

fn text<'v>(post: &'v Value, key: &str) -> &'v str {
    post[key].as_str().expect(key)
}

/// Checks that each tenant got exactly what the rows say, by that rule, byte for byte, once, in order
/// and numbered without gaps per call; and that the rest is unrouted for the reason they give.
async fn check(
    world: &World,
    folder: &Path,
    hosts: &[&str],
    tenants: &[Tenant],
    played: &BTreeMap<String, Vec<Value>>,
) {
    let mut bodies = BTreeMap::new();
    for post in played.values().flatten() {
        let event: Value = serde_json::from_str(text(post, "body")).expect("JSON");
        bodies.insert(event["id"].as_str().expect("an id").to_owned(), text(post, "body").to_owned());
    }
    let rows: Vec<_> = rows(folder).into_iter().filter(|row| played.contains_key(&row[0])).collect();
    for (host, tenant) in hosts.iter().zip(tenants) {
        let due: Vec<_> = rows.iter().filter(|row| row[3] == *host).collect();
        let came = tenant.wait_for(due.len()).await;
        let rules: BTreeMap<_, _> = due.iter().map(|row| (row[1].as_str(), row[4].as_str())).collect();
        let mut calls: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for received in &came {
            let id = received.id();
            assert_eq!(received.body, bodies[id].as_bytes(), "{id} is not LiveKit's body");
            assert_eq!(Some(&received.header("switchhook-route")), rules.get(id), "{id} at {host}");
            let order = calls.entry(received.header("switchhook-call")).or_default();
            order.push(id);
            assert_eq!(received.header("switchhook-sequence"), order.len().to_string(), "{id} at {host}");
        }
        assert_eq!(came.len(), due.len(), "{host}");
        // The rows have LiveKit's order.
        for (call, order) in calls {
            let mut expected: Vec<_> =
                due.iter().map(|row| row[1].as_str()).filter(|id| order.contains(id)).collect();
            expected.dedup();
            assert_eq!(order, expected, "{call} at {host}");
        }
    }
    for row in rows.iter().filter(|row| row[3] == "-") {
        let held = row[4] == "no_call";
        let told = |story: &Value| story["reason"] == row[4].as_str() || (held && story["reason"] == "held");
        let story = world.story(&row[1], |story| story["state"].is_string()).await;
        assert!(told(&story), "{row:?}: {story:#}");
    }
}

const MADE: [&str; 3] = ["calls.acme.example", "*.globex.example", "sip.initech.example"];

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_call_reaches_its_tenant_whole() {
    let tenants = tenants().await;
    let folder = recordings();
    let world = World::at(Clock::system(), &hooks(&folder, &tenants), &[]).await;
    let played = all(&folder);
    for post in played.values().flatten() {
        assert_eq!(world.post(text(post, "body")).await.status, 200);
    }
    check(&world, &folder, &HOSTS, &tenants, &played).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trap_that_could_not_be_recorded_is_seen_through() {
    let tenants = tenants().await;
    let folder = recordings().join("made");
    let world = World::at(Clock::manual(super::world::RECORDED), &hooks(&folder, &tenants), &[]).await;
    let played = all(&folder);
    for posts in played.values() {
        let mut last = 0.0;
        for post in posts {
            // Time goes as it did: one caller comes after the hold.
            let at = post["at"].as_f64().expect("a time");
            if at - last > 20.0 {
                let ids = |state: &str| {
                    let store =
                        rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the store");
                    let sql = format!("SELECT count(*) FROM events WHERE state = {state}");
                    store.query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("a count")
                };
                world.clock.advance(std::time::Duration::from_secs_f64(at - last));
                world.advance_until(std::time::Duration::from_secs(1), || ids("4") == 0).await;
                assert!(ids("5") > 0);
            }
            last = at;
            assert_eq!(world.post(text(post, "body")).await.status, 200);
        }
    }
    check(&world, &folder, &MADE, &tenants, &played).await;
}

/// Many calls of all tenants at once: the recordings again and again, with sessions, rooms, events and
/// participants of their own.
#[tokio::test(flavor = "multi_thread")]
async fn two_twenty_and_two_hundred_interleaved_calls_of_different_tenants_keep_apart() {
    for calls in [2, 20, 200] {
        keep_apart(calls).await;
    }
}

async fn keep_apart(calls: usize) {
    let tenants = tenants().await;
    let folder = recordings();
    let world = World::at(Clock::system(), &hooks(&folder, &tenants), &[]).await;
    let names = ["inbound-answered", "inbound-x-headers", "inbound-mapped-headers", "unknown-domain"];
    let all = all(&folder);
    let copies: Vec<(&str, usize)> =
        (0..calls).map(|call| (names[call % names.len()], call / names.len())).collect();
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut due: BTreeMap<String, usize> = BTreeMap::new();
    let rows = rows(&folder);
    for (name, copy) in &copies {
        for row in rows.iter().filter(|row| row[0] == *name) {
            expected.insert(format!("{}x{copy}", row[1]), row[3].clone());
            *due.entry(row[3].clone()).or_default() += 1;
        }
    }
    // A step of every call, then the next step of every call.
    let longest = names.iter().map(|name| all[*name].len()).max().expect("recordings");
    for step in 0..longest {
        for (name, copy) in &copies {
            let Some(post) = all[*name].get(step) else { continue };
            let own = |prefix: &str, body: String| {
                let parts = body.split(prefix).collect::<Vec<_>>();
                let suffixed = |part: &&str| {
                    let end = part.find('"').expect("a string's end");
                    format!("{prefix}{}x{copy}{}", &part[..end], &part[end..])
                };
                parts[0].to_owned() + &parts[1..].iter().map(suffixed).collect::<String>()
            };
            let body = ["\"EV_", "\"RM_", "\"PA_", "\"call-"]
                .into_iter()
                .fold(text(post, "body").to_owned(), |body, prefix| own(prefix, body));
            assert_eq!(world.post(&body).await.status, 200);
        }
    }
    for (host, tenant) in HOSTS.iter().zip(&tenants) {
        let due = due.get(*host).copied().unwrap_or_default();
        let came = tenant.wait_for(due).await;
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        for received in &came {
            assert_eq!(expected[received.id()], *host, "{}", received.id());
            let number = numbers.entry(received.header("switchhook-call")).or_default();
            *number += 1;
            assert_eq!(received.header("switchhook-sequence"), number.to_string());
            if *number == 1 {
                assert_eq!(received.header("switchhook-event"), "room_started");
            }
        }
        assert_eq!(came.len(), due);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_tokens_verify_at_the_recorded_time() {
    let (tenants, folder) = (tenants().await, recordings());
    for (name, posts) in all(&folder) {
        let posted = posts[0]["posted"].as_f64().expect("a time");
        let start = UnixMillis((posted * 1000.0) as i64);
        let world = World::at(Clock::manual(start), &hooks(&folder, &tenants), &[]).await;
        for post in &posts {
            let at = std::time::Duration::from_secs_f64(post["posted"].as_f64().expect("a time") - posted);
            let now = world.clock.unix().since(start);
            world.clock.advance(at.saturating_sub(now));
            let answer = world.post_signed(text(post, "body"), text(post, "authorization")).await;
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_replayed_through_send_arrives_whole() {
    let tenants = tenants().await;
    let world = World::at(Clock::system(), &hooks(&recordings(), &tenants), &[]).await;
    let name = "busy-hour";
    let path = recordings().join(format!("{name}.jsonl"));
    let sent = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["send", "--url", &world.url("/webhook"), "--key", super::world::KEY])
        .args(["--secret", super::world::SECRET])
        .arg(&path)
        .output()
        .await
        .expect("send");
    let printed = String::from_utf8_lossy(&sent.stdout);
    assert!(sent.status.success(), "{printed}");
    assert!(printed.contains("248 events sent, 248 acknowledged"), "{printed}");
    let played = BTreeMap::from([(name.to_owned(), recording(&path))]);
    check(&world, &recordings(), &HOSTS, &tenants, &played).await;
}
