//! A data directory of another version.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use switchhook::{Clock, UnixMillis};

use crate::spec::world::{Received, Tenant, World, event, joined};

/// When the release of version 1 left its directory: a few seconds after its last event.
const LEFT_AT: UnixMillis = UnixMillis(1_795_742_875_000);

/// What it left in the middle of its work: a call that is delivered (RM_a), one whose receiver fails (RM_b), a dead
/// letter (EV_d2), one that was replayed (EV_d1), events that are held and some that are unrouted (RM_u), and a
/// call of a tenant's own LiveKit (RM_a@c).
fn left() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/v1"))
}

fn hooks(right: &Tenant, failing: &Tenant, dying: &Tenant) -> String {
    let entry = |host: &str, tenant: &Tenant, more: &str| {
        format!("  - {{host: {host}, url: '{}'{more}}}\n", tenant.url())
    };
    let livekit = ", tenant: c, livekit: {key: APIc, secret: a-secret-of-tenant-c-used-only-in-tests-01}";
    let entries = [
        entry("a.example", right, ""),
        entry("b.example", failing, ", retry: {initial: 10m}"),
        entry("c.example", right, livekit),
        entry("d.example", dying, ""),
    ];
    format!("hooks:\n{}", entries.concat())
}

/// A stopped router whose data directory is the one of version 1.
async fn after_version_1(hooks: &str) -> World {
    let mut world = World::at(Clock::manual(LEFT_AT), hooks, &[]).await;
    world.stop().await;
    for file in ["switchhook.db-wal", "switchhook.db-shm", "hooks.last"] {
        let _ = fs::remove_file(world.path("data").join(file));
    }
    for file in ["switchhook.db", "master.secret"] {
        fs::copy(left().join(file), world.path("data").join(file)).expect("copied");
    }
    world
}

fn store(world: &World) -> Connection {
    Connection::open(world.path("data/switchhook.db")).expect("the database")
}

async fn post(world: &World, bodies: &[String]) {
    for body in bodies {
        assert_eq!(world.post(body).await.status, 200);
    }
}

fn of(received: &[Received], call: &str) -> Vec<(String, String)> {
    let of_call = received.iter().filter(|one| one.header("switchhook-call") == call);
    of_call.map(|one| (one.id().to_owned(), one.header("switchhook-sequence").to_owned())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(id, sequence)| ((*id).to_owned(), (*sequence).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_release_before_left_is_taken_over_in_order() {
    let (right, failing, dying) = (Tenant::open().await, Tenant::open().await, Tenant::open().await);
    let mut world = after_version_1(&hooks(&right, &failing, &dying)).await;
    world.start().await;
    let version: i64 = store(&world).query_row("PRAGMA user_version", [], |row| row.get(0)).expect("one");
    assert_eq!(version, 4);
    let backup = fs::metadata(world.path("data/switchhook.db.v1")).expect("the backup");
    world.logs(&["taken over", "switchhook.db.v1", &backup.len().to_string()]).await;

    // What was pending is delivered in order, what was held is released, and numbers go on.
    post(&world, &[event("EV_b4", "track_published", "b"), event("EV_a3", "room_finished", "a")]).await;
    post(&world, &[joined("EV_h2", "h", "a.example")]).await;
    // Calls keep their URL, where nobody listens any more: then the one of now is tried. Time is moved while nothing is
    // in flight, since that would end it.
    let has_failed = |story: &Value| story["state"] == "pending" && story["tries"] == 1;
    for id in ["EV_h1", "EV_h2"] {
        world.story(id, |story| story["state"] == "delivered").await;
    }
    world.story("EV_a3", has_failed).await;
    world.clock.advance(Duration::from_secs(720));
    failing.wait_for(3).await;
    world.story("EV_a3", |story| story["state"] == "delivered").await;
    world.story("EV_b4", has_failed).await;
    world.clock.advance(Duration::from_secs(720));
    world.story("EV_b4", |story| story["state"] == "delivered").await;
    let to_failing = failing.wait_for(4).await;
    let expected = [("EV_b1", "1"), ("EV_b2", "2"), ("EV_b3", "3"), ("EV_b4", "4")];
    assert_eq!(of(&to_failing, "RM_b"), pairs(&expected));
    let to_right = right.wait_for(3).await;
    assert_eq!(of(&to_right, "RM_a"), pairs(&[("EV_a3", "3")]));
    assert_eq!(of(&to_right, "RM_h"), pairs(&[("EV_h1", "1"), ("EV_h2", "2")]));
    assert_eq!(world.post(&joined("EV_a2", "a", "a.example")).await.status, 200);

    // Stories are readable, and what was given up or unrouted still is.
    let story = world.story("EV_d1", |story| story["state"] == "delivered").await;
    let told = ["before_state", "before_reason", "held_ms"].map(|key| story[key].clone());
    assert_eq!(told, [json!("dead"), json!("expired"), Value::Null]);
    assert!(story["dead_at"].as_str() < story["replayed_at"].as_str(), "{story:#}");
    let story = world.story("EV_b1", |story| story["state"] == "delivered").await;
    assert_eq!((&story["tries"], &story["url"]), (&json!(2), &json!(failing.url())));
    let (_, told) = world.api("/v1/calls/RM_a").await;
    assert_eq!(told["events"].as_array().map(Vec::len), Some(3), "{told:#}");
    assert_eq!(world.api_post("/v1/deliveries/EV_d2/replay").await.1["replayed"], 1);
    world.story("EV_d2", |story| story["state"] == "delivered").await;
    assert_eq!((right.count(), failing.count(), dying.count()), (3, 4, 1));

    // A hook that was missing finds its call by what routing had read of it.
    let more =
        format!("{}  - {{host: nobody.example, url: '{}'}}\n", hooks(&right, &failing, &dying), right.url());
    world.hooks(&more);
    world.reloaded(1).await;
    let replay = json!({ "unrouted": true, "domain": "nobody.example" });
    world.api_send("/v1/replays", &replay).await;
    let to_right = right.wait_for(6).await;
    assert_eq!(of(&to_right, "RM_u"), pairs(&[("EV_u0", "1"), ("EV_u", "2"), ("EV_u2", "3")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_taken_over_once_is_not_again() {
    let tenant = Tenant::open().await;
    let mut world = after_version_1(&hooks(&tenant, &tenant, &tenant)).await;
    world.start().await;
    post(&world, &[joined("EV_new", "new", "a.example")]).await;
    world.stop().await;
    world.start().await;
    world.story("EV_new", |story| story["state"] == "delivered").await;
    assert!(!world.path("data/switchhook.db.v3").exists() && !world.path("data/switchhook.db.v1.2").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_release_left_is_refused_and_stays_as_it_is() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    store(&world).pragma_update(None, "user_version", 99).expect("a version");
    let start =
        Command::new(env!("CARGO_BIN_EXE_switchhook")).args(world.args()).output().expect("switchhook");
    let told = String::from_utf8_lossy(&start.stderr);
    assert_eq!(start.status.code(), Some(1), "{told}");
    assert!(told.contains("the database has version 99, made by a newer Switchhook"), "{told}");
    assert!(told.contains("this one knows versions up to 4"), "{told}");
    let version: i64 = store(&world).query_row("PRAGMA user_version", [], |row| row.get(0)).expect("one");
    assert_eq!(version, 99);
}
