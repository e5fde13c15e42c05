//! When the store does not take events: calls matter more.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use super::world::{Tenant, World, joined};

/// Another process that holds the database's write lock.
fn lock(world: &World) -> Connection {
    let store = Connection::open(world.path("data/switchhook.db")).expect("the store");
    store.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    store
}

async fn ready(world: &World) -> (u16, Value) {
    let answer = reqwest::get(world.url("/readyz")).await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_store_that_is_stuck_events_are_acknowledged_and_delivered_before_patience_ends() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    let held = lock(&world);
    for n in 0..4 {
        let began = Instant::now();
        assert_eq!(world.post(&joined(&format!("EV_{n}"), "c", "a.example")).await.status, 200);
        // `--patience` is how long a store that is silent is waited for. This one has said that it fails.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    tenant.wait_for(4).await;
    let (status, told) = ready(&world).await;
    assert_eq!(
        (status, &told["status"], &told["unwritten"]),
        (200, &Value::from("degraded"), &Value::from(4))
    );
    let (_, metrics) = world.api("/metrics").await;
    assert!(metrics.as_str().expect("text").contains("switchhook_degraded{reason=\"store\"} 1"));
    held.execute_batch("ROLLBACK").expect("released");
    drop(held);

    // Written down as what they are: delivered, in their order, and not to be delivered again.
    for n in 0..4 {
        let story = world.story(&format!("EV_{n}"), |story| story["state"] == "delivered").await;
        assert_eq!(story["sequence"], n + 1);
    }
    assert_eq!(ready(&world).await.1["status"], "ready");
    world.stop().await;
    world.start().await;
    assert_eq!(world.post(&joined("EV_4", "c", "a.example")).await.status, 200);
    tenant.wait_for(5).await;
    assert_eq!(tenant.ids(), ["EV_0", "EV_1", "EV_2", "EV_3", "EV_4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_delivered_from_memory_is_delivered_from_the_store_later() {
    use super::world::Reply;
    let tenant = Tenant::answering([Reply::Status(500)]).await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let held = lock(&world);
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    tenant.wait_for(1).await;
    held.execute_batch("ROLLBACK").expect("released");
    tenant.wait_for(2).await;
    let story = world.story("EV_1", |story| story["state"] == "delivered").await;
    assert_eq!(story["attempts"].as_array().expect("attempts").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_memory_full_too_livekit_is_asked_to_come_again() {
    let world = World::at(switchhook::Clock::system(), "hooks: []\n", &["--memory-queue", "1"]).await;
    let held = lock(&world);
    let body =
        |n: usize| format!(r#"{{"event":"room_started","id":"EV_{n}","x":"{}"}}"#, "x".repeat(400 << 10));
    assert_eq!(world.post(&body(1)).await.status, 200);
    assert_eq!(world.post(&body(2)).await.status, 200);
    let refused = world.post(&body(3)).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));
    held.execute_batch("ROLLBACK").expect("released");
    // A retry after our own 503 is no duplicate of anything.
    let began = Instant::now();
    while world.post(&body(3)).await.status != 200 {
        assert!(began.elapsed() < super::world::PATIENCE);
    }
    for n in 1..=3 {
        world.story(&format!("EV_{n}"), |story| story["state"] == "unrouted").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_takes_nothing_replays_and_renewals_are_refused_and_say_so() {
    use super::world::{Reply, table};
    let down = Tenant::answering(vec![Reply::Status(500); 100]).await;
    let hooks = table(&[("a.example", &down)]);
    let hooks = format!("defaults: {{retry: {{initial: 100ms, max_age: 1s}}}}\n{hooks}");
    let world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "dead").await;
    let held = lock(&world);
    assert_eq!(world.post(&joined("EV_2", "d", "nobody.example")).await.status, 200);
    assert_eq!(ready(&world).await.1["status"], "degraded");

    for path in ["/v1/deliveries/EV_1/replay", "/v1/tenants/a.example/rotate"] {
        let (status, problem) = world.api_post(path).await;
        assert_eq!((status, problem["title"].as_str()), (503, Some("The store takes nothing at the moment")));
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(
            detail.contains("this was not done") && detail.contains("when /readyz says ready"),
            "{detail}"
        );
    }
    let said = world.command(&["replay", "EV_1", "--yes"]).await;
    let sentence = "The store takes nothing at the moment, so this was not done.";
    assert!(!said.success && said.err.contains(sentence), "{}", said.err);

    held.execute_batch("ROLLBACK").expect("released");
    drop(held);
    let began = Instant::now();
    while ready(&world).await.1["status"] != "ready" {
        assert!(began.elapsed() < super::world::PATIENCE);
    }
    assert_eq!(world.api("/v1/events/EV_1").await.1["state"], "dead");
    assert_eq!(world.api_post("/v1/deliveries/EV_1/replay").await.1["replayed"], 1);
}
