//! Real input: what a real LiveKit posted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use switchhook::{Clock, UnixMillis};

use crate::spec::world::recorded::{
    HOSTS, all, delivered_right, hooks, recording, recordings, rows, tenants, text,
};
use crate::spec::world::{Tenant, World, searched};

/// Checks that each tenant got exactly what the rows say (see [`delivered_right`]); and that the rest is unrouted
/// for the reason they give.
async fn check(
    world: &World,
    folder: &Path,
    hosts: &[&str],
    tenants: &[Tenant],
    played: &BTreeMap<String, Vec<Value>>,
) {
    delivered_right(folder, hosts, tenants, played).await;
    let rows: Vec<_> = rows(folder).into_iter().filter(|row| played.contains_key(&row[0])).collect();
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
    let world = World::at(Clock::manual(crate::spec::world::RECORDED), &hooks(&folder, &tenants), &[]).await;
    let played = all(&folder);
    for posts in played.values() {
        let (mut last, mut ids) = (0.0, Vec::<String>::new());
        for post in posts {
            // Time goes as it did: one caller comes after the hold.
            let at = post["at"].as_f64().expect("a time");
            if at - last > 20.0 {
                world.clock.advance(Duration::from_secs_f64(at - last));
                let mut given_up = 0;
                for id in &ids {
                    let step = Duration::from_secs(1);
                    let story = world.story_later(step, id, |story| story["state"] != "held").await;
                    given_up += usize::from(story["reason"] == "no_call");
                }
                assert!(given_up > 0);
            }
            last = at;
            let event: Value = serde_json::from_str(text(post, "body")).expect("JSON");
            ids.push(event["id"].as_str().expect("an id").to_owned());
            assert_eq!(world.post(text(post, "body")).await.status, 200);
        }
    }
    check(&world, &folder, &MADE, &tenants, &played).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_tokens_verify_at_the_recorded_time() {
    let (tenants, folder) = (tenants().await, recordings());
    for (name, posts) in all(&folder) {
        let posted = posts[0]["posted"].as_f64().expect("a time");
        let start = UnixMillis((posted * 1000.0) as i64);
        let world = World::at(Clock::manual(start), &hooks(&folder, &tenants), &[]).await;
        for post in &posts {
            let at = Duration::from_secs_f64(post["posted"].as_f64().expect("a time") - posted);
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
        .args(["send", "--url", &world.url("/webhook"), "--key", crate::spec::world::KEY])
        .args(["--secret", crate::spec::world::SECRET])
        .arg(&path)
        .output()
        .await;
    let sent = searched(&["send"], sent.expect("send"));
    let printed = String::from_utf8_lossy(&sent.stdout);
    assert!(sent.status.success(), "{printed}");
    assert!(printed.contains("248 events sent, 248 acknowledged"), "{printed}");
    let played = BTreeMap::from([(name.to_owned(), recording(&path))]);
    check(&world, &recordings(), &HOSTS, &tenants, &played).await;
}
