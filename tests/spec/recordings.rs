//! Real input: what a real LiveKit posted.

use std::collections::BTreeMap;

use serde_json::Value;
use switchhook::{Clock, UnixMillis};

use super::world::{Tenant, World, recording, recordings, table};

const HOSTS: [&str; 3] = ["calls.acme.example", "voice.globex.example", "sip.initech.example"];

/// Of `expected.tsv`, the rows of events that name their tenant themselves: recording, event id,
/// host.
fn expected() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(recordings().join("expected.tsv")).expect("expected.tsv");
    let rows =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
    // A placed caller's own events carry its attributes, whatever rule the whole-call table names.
    let names = |row: &Vec<&str>| match row[4] {
        "domain" | "number" | "trunk" => true,
        "participant" => row[2].starts_with("participant_"),
        _ => false,
    };
    let naming = rows.filter(names);
    naming.map(|row| (row[0].to_owned(), row[1].to_owned(), row[3].to_owned())).collect()
}

fn hooks(tenants: &[Tenant]) -> String {
    let hooks: Vec<_> = HOSTS.iter().copied().zip(tenants).collect();
    table(&hooks).replacen("/hook\n", "/hook\n    numbers: [\"+15550102\"]\n", 1)
}

async fn tenants() -> Vec<Tenant> {
    vec![Tenant::open().await, Tenant::open().await, Tenant::open().await]
}

/// Every recording but the SIP API's answers, by name.
fn all() -> BTreeMap<String, Vec<Value>> {
    let files = std::fs::read_dir(recordings()).expect("recordings");
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

/// Checks that each tenant got exactly what it should, byte for byte, once and in order per call.
async fn check(tenants: &[Tenant], played: &BTreeMap<String, Vec<Value>>) {
    let mut bodies = BTreeMap::new();
    for post in played.values().flatten() {
        let event: Value = serde_json::from_str(text(post, "body")).expect("JSON");
        bodies.insert(event["id"].as_str().expect("an id").to_owned(), text(post, "body").to_owned());
    }
    for (host, tenant) in HOSTS.iter().zip(tenants) {
        let due: Vec<_> =
            expected().into_iter().filter(|(name, _, to)| to == host && played.contains_key(name)).collect();
        let came = tenant.wait_for(due.len()).await;
        let mut ids: Vec<_> = came.iter().map(|received| received.id().to_owned()).collect();
        let mut due_ids: Vec<_> = due.iter().map(|(_, id, _)| id.clone()).collect();
        for received in &came {
            assert_eq!(
                received.body,
                bodies[received.id()].as_bytes(),
                "{} is not LiveKit's body",
                received.id()
            );
        }
        // In order within each call: expected.tsv has LiveKit's order.
        let place = |id: &str| due_ids.iter().position(|due| due == id).expect("an expected event");
        let mut calls: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for received in &came {
            calls.entry(received.header("switchhook-call")).or_default().push(place(received.id()));
        }
        for (call, places) in calls {
            assert!(places.is_sorted(), "{call} came out of order");
        }
        ids.sort();
        due_ids.sort();
        assert_eq!(ids, due_ids, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_that_names_its_tenant_arrives_there_once_in_order_and_unchanged() {
    let tenants = tenants().await;
    let world = World::at(Clock::system(), &hooks(&tenants), &[]).await;
    let played = all();
    for post in played.values().flatten() {
        assert_eq!(world.post(text(post, "body")).await.status, 200);
    }
    check(&tenants, &played).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_tokens_verify_at_the_recorded_time() {
    let tenants = tenants().await;
    for (name, posts) in all() {
        let posted = posts[0]["posted"].as_f64().expect("a time");
        let start = UnixMillis((posted * 1000.0) as i64);
        let world = World::at(Clock::manual(start), &hooks(&tenants), &[]).await;
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
    let world = World::at(Clock::system(), &hooks(&tenants), &[]).await;
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
    check(&tenants, &BTreeMap::from([(name.to_owned(), recording(&path))])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_subdomain_goes_to_the_wildcard() {
    let tenant = Tenant::open().await;
    let hooks =
        format!("hooks:\n  - host: \"*.globex.example\"\n    tenant: globex\n    url: {}\n", tenant.url());
    let world = World::at(Clock::system(), &hooks, &[]).await;
    let posts = recording(&recordings().join("made/wildcard-subdomain.jsonl"));
    for post in &posts {
        assert_eq!(world.post(text(post, "body")).await.status, 200);
    }
    let received = tenant.wait_for(2).await;
    let events: Vec<_> = received.iter().map(|received| received.header("switchhook-event")).collect();
    assert_eq!(events, ["participant_joined", "participant_left"]);
    assert_eq!(received[0].header("switchhook-domain"), "a.b.globex.example");
    assert_eq!(received[0].header("switchhook-tenant"), "globex");
}
