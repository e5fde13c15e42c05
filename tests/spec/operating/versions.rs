//! A data directory of another version.

use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{RECORDED, Received, Reply, Tenant, World, event, joined, table};

const VERSION_1: &str = include_str!("../../../src/outbox/sqlite/schema.sql");

/// Rewrites a stopped router's database as version 1 wrote it: without the columns that came later, and without
/// the URL where it is the hook's own.
fn as_version_1(world: &World) {
    let (now, old) = (world.path("data/switchhook.db"), world.path("data/version-1.db"));
    let store = Connection::open(&old).expect("a database");
    store.execute_batch(VERSION_1).expect("the schema");
    store.execute("ATTACH ?1 AS now", [now.display().to_string()]).expect("the database of now");
    let names = |sql: &str| -> Vec<String> {
        let mut names = store.prepare(sql).expect("a query");
        let names = names.query_map([], |row| row.get(0)).expect("names");
        names.collect::<Result<_, _>>().expect("names")
    };
    for table in
        names("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}', 'main')")).join(", ");
        let copy =
            format!("DELETE FROM {table}; INSERT INTO {table} ({columns}) SELECT {columns} FROM now.{table}");
        store.execute_batch(&copy).expect("rows");
    }
    store.execute_batch("UPDATE events SET bound_url = NULL, bound_format = NULL").expect("rows");
    store.pragma_update(None, "user_version", 1).expect("a version");
    drop(store);
    for file in ["switchhook.db", "switchhook.db-wal", "switchhook.db-shm"] {
        let _ = std::fs::remove_file(world.path("data").join(file));
    }
    std::fs::rename(old, now).expect("the database");
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

/// A router in the middle of its work: a call that is delivered, one whose receiver fails, a dead letter, one that
/// was replayed, an event that is held and one that is unrouted.
async fn at_work(right: &Tenant, failing: &Tenant, dying: &Tenant) -> World {
    let hooks = table(&[("a.example", right), ("b.example", failing), ("d.example", dying)]);
    let hooks = format!("defaults: {{retry: {{initial: 10m, max_age: 1m}}}}\n{hooks}");
    let world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    post(&world, &[joined("EV_d1", "d", "d.example"), joined("EV_d2", "e", "d.example")]).await;
    for id in ["EV_d1", "EV_d2"] {
        world.story(id, |story| story["tries"] == 1).await;
    }
    world.clock.advance(Duration::from_secs(720));
    for id in ["EV_d1", "EV_d2"] {
        world.story(id, |story| story["state"] == "dead").await;
    }
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.api_post("/v1/deliveries/EV_d1/replay").await.1["replayed"], 1);
    world.story("EV_d1", |story| story["state"] == "delivered").await;
    post(&world, &[event("EV_a1", "room_started", "a"), joined("EV_a2", "a", "a.example")]).await;
    world.story("EV_a2", |story| story["state"] == "delivered").await;
    post(&world, &[event("EV_b1", "room_started", "b"), joined("EV_b2", "b", "b.example")]).await;
    world.story("EV_b1", |story| story["tries"] == 1).await;
    post(&world, &[event("EV_b3", "track_published", "b")]).await;
    post(&world, &[event("EV_h1", "room_started", "h"), joined("EV_u", "u", "nobody.example")]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_release_before_left_is_taken_over_in_order() {
    let (right, failing) = (Tenant::open().await, Tenant::answering([Reply::Status(500)]).await);
    let dying = Tenant::answering(vec![Reply::Status(500); 4]).await;
    let mut world = at_work(&right, &failing, &dying).await;
    world.stop().await;
    as_version_1(&world);
    let pending =
        "SELECT group_concat(id || ' ' || parked) FROM (SELECT * FROM events WHERE state = 0 ORDER BY seq)";
    let pending: String = store(&world).query_row(pending, [], |row| row.get(0)).expect("rows");
    assert_eq!(pending, "EV_b1 1,EV_b2 0,EV_b3 0");

    world.start().await;
    let version: i64 = store(&world).query_row("PRAGMA user_version", [], |row| row.get(0)).expect("one");
    assert_eq!(version, 2);
    // What was pending is delivered in order, what was held is released, and numbers go on.
    post(&world, &[event("EV_b4", "track_published", "b"), event("EV_a3", "room_finished", "a")]).await;
    post(&world, &[joined("EV_h2", "h", "a.example")]).await;
    world.clock.advance(Duration::from_secs(720));
    let to_failing = failing.wait_for(5).await;
    let expected = [("EV_b1", "1"), ("EV_b1", "1"), ("EV_b2", "2"), ("EV_b3", "3"), ("EV_b4", "4")];
    assert_eq!(of(&to_failing, "RM_b"), pairs(&expected));
    let to_right = right.wait_for(5).await;
    assert_eq!(of(&to_right, "RM_a"), pairs(&[("EV_a1", "1"), ("EV_a2", "2"), ("EV_a3", "3")]));
    assert_eq!(of(&to_right, "RM_h"), pairs(&[("EV_h1", "1"), ("EV_h2", "2")]));
    assert_eq!(world.post(&joined("EV_a2", "a", "a.example")).await.status, 200);

    // Stories are readable, and what was given up or unrouted still is.
    let story = world.story("EV_d1", |story| story["state"] == "delivered").await;
    let told = ["before_state", "before_reason", "held_ms"].map(|key| story[key].clone());
    assert_eq!(told, [json!("dead"), json!("expired"), Value::Null]);
    assert!(story["dead_at"].as_str() < story["replayed_at"].as_str(), "{story:#}");
    let story = world.story("EV_b1", |story| story["state"] == "delivered").await;
    assert_eq!((&story["tries"], &story["url"]), (&json!(2), &json!(failing.url())));
    assert_eq!(world.story("EV_u", |story| story["state"] == "unrouted").await["reason"], "no_hook");
    let (_, told) = world.api("/v1/calls/RM_a").await;
    assert_eq!(told["events"].as_array().map(Vec::len), Some(3), "{told:#}");
    assert_eq!(world.api_post("/v1/deliveries/EV_d2/replay").await.1["replayed"], 1);
    world.story("EV_d2", |story| story["state"] == "delivered").await;
    assert_eq!((right.count(), failing.count()), (5, 5));
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
    assert!(told.contains("this one knows versions up to 2"), "{told}");
    let version: i64 = store(&world).query_row("PRAGMA user_version", [], |row| row.get(0)).expect("one");
    assert_eq!(version, 99);
}
