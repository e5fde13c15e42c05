//! The store's own limit: what goes first, and what is refused when nothing can go.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{PATIENCE, RECORDED, Reply, Tenant, World, joined, table};

/// Events are posted until the store has more than a MiB of them.
const EVENTS: usize = 4;

/// An event of 400 KiB.
fn large(id: &str, domain: &str) -> String {
    let mut event: Value = serde_json::from_str(&joined(id, id, domain)).expect("JSON");
    event["padding"] = json!("x".repeat(400 << 10));
    event.to_string()
}

/// Moves time until `/readyz` says so: the limit is looked after once a minute.
async fn ready_is(world: &World, code: u16, status: &str) {
    let began = Instant::now();
    loop {
        let (told_code, told) = world.ready().await;
        if (told_code, told["status"].as_str()) == (code, Some(status)) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{told}");
        world.clock.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_its_limit_drops_the_oldest_that_nobody_waits_for_and_refuses_nothing() {
    let world = World::at(Clock::manual(RECORDED), "hooks: []\n", &["--store-limit", "1"]).await;
    for n in 0..EVENTS {
        assert_eq!(world.post(&large(&format!("EV_{n}"), "nobody.example")).await.status, 200);
    }
    world.clock.advance(Duration::from_secs(60));
    world.story("EV_0", |story| story["status"] == 404).await;
    assert_eq!(world.ready().await.1["status"], "ready");
    assert_eq!(world.post(&large("EV_more", "nobody.example")).await.status, 200);
    world.story("EV_more", |story| story["state"] == "unrouted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_full_of_what_is_pending_refuses_events_loudly_until_something_went_out() {
    let tenant = Tenant::answering([Reply::Status(410)]).await;
    let hooks = table(&[("a.example", &tenant)]);
    let world = World::at(Clock::manual(RECORDED), &hooks, &["--store-limit", "1"]).await;
    for n in 0..EVENTS {
        assert_eq!(world.post(&large(&format!("EV_{n}"), "a.example")).await.status, 200);
    }
    world.story("EV_0", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    ready_is(&world, 503, "full").await;
    world.measures("degraded{reason=\"full\"} 1").await;
    world.logs(&["the store is at its limit"]).await;
    let refused = world.post(&large("EV_more", "a.example")).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));

    assert_eq!(world.api_post("/v1/hooks/a.example/resume").await.0, 200);
    // Time moves only when no attempt is under way, or it would take too long. What was delivered may be
    // removed at once.
    for n in 0..EVENTS {
        let done = |story: &Value| story["state"] == "delivered" || story["status"] == 404;
        world.story(&format!("EV_{n}"), done).await;
    }
    ready_is(&world, 200, "ready").await;
    world.measures("degraded{reason=\"full\"} 0").await;
    // A retry after our own 503 is no duplicate.
    assert_eq!(world.post(&large("EV_more", "a.example")).await.status, 200);
    assert_eq!(tenant.wait_for(2 + EVENTS).await.last().expect("it").id(), "EV_more");
}
