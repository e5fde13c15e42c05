//! What a router says of its store, and what the store has of an event.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{PATIENCE, Process, World};

/// A world whose router has run, and does not now.
pub async fn stopped(hooks: &str) -> World {
    let mut world = World::at(switchhook::Clock::system(), hooks, &[]).await;
    world.stop().await;
    world
}

pub async fn readiness(process: &Process) -> (u16, Value) {
    let answer = reqwest::get(format!("http://{}/readyz", process.address)).await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

pub async fn until_ready(process: &Process) {
    let began = Instant::now();
    while readiness(process).await.1["status"] != "ready" {
        assert!(began.elapsed() < PATIENCE, "{:?} {:#?}", readiness(process).await, process.lines().last());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The router is degraded by this fault of its store, and says so in `/readyz`, a metric and one line of the log.
pub async fn degraded_by(fault: &str, world: &World, process: &Process) {
    let (status, told) = readiness(process).await;
    assert_eq!((status, &told["status"], &told["reasons"]), (200, &"degraded".into(), &json!(["store"])));
    assert_eq!(told["store"]["fault"], fault, "{told}");
    assert!(told["store"]["fix"].as_str().is_some_and(|fix| !fix.contains('/')), "{told}");
    let (_, metrics) = world.api_at(&format!("http://{}/metrics", process.api_address)).await;
    let line = format!("switchhook_store_fault{{kind=\"{fault}\"}} 1");
    assert!(metrics.as_str().is_some_and(|text| text.lines().any(|told| told == line)), "{line}");
    // The log is written a moment later.
    process.line(|line| line["fault"] == fault).await;
    let said: Vec<_> = process.lines().into_iter().filter(|line| line["fault"] == fault).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0]["database"].as_str().is_some_and(|path| path.ends_with("switchhook.db")), "{said:#?}");
}

/// Posts an event, which is answered 200 within `limit`.
pub async fn acknowledged_within(limit: Duration, process: &Process, body: String) {
    let began = Instant::now();
    process.post(body).await;
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

/// Ten times as long as the router takes at most once the store is known to be away, and a fifth of its patience with one
/// that is not.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// What the store has of an event, once it is delivered.
pub async fn delivered(id: &str, world: &World, process: &Process) -> Value {
    let began = Instant::now();
    loop {
        let (_, story) = world.api_at(&format!("http://{}/v1/events/{id}", process.api_address)).await;
        if story["state"] == "delivered" {
            return story;
        }
        assert!(began.elapsed() < PATIENCE, "{id}: {story:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
