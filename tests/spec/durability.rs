//! What is kept over time and over restarts, and for how long.

use std::time::Duration;

use super::world::{Reply, Tenant, World, joined, table};

#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_for_a_day_and_what_is_unrouted_for_a_week_and_what_is_pending_stays() {
    let (tenant, down) = (Tenant::open().await, Tenant::answering([Reply::Status(410)]).await);
    let world = World::with_moved_time(&[("a.example", &tenant), ("down.example", &down)]).await;
    let gone = |story: &serde_json::Value| story["status"] == 404;
    let hour = Duration::from_secs(3600);
    assert_eq!(world.post(&joined("EV_0", "EV_0", "a.example")).await.status, 200);
    world.story("EV_0", |story| story["state"] == "delivered").await;
    world.clock.advance(2 * hour);
    for (id, host) in [("EV_1", "a.example"), ("EV_2", "nobody.example"), ("EV_3", "down.example")] {
        assert_eq!(world.post(&joined(id, id, host)).await.status, 200);
    }
    world.story("EV_1", |story| story["state"] == "delivered").await;
    world.story("EV_3", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    world.clock.advance(23 * hour);
    // The round that removes what came two hours before leaves this.
    world.story("EV_0", gone).await;
    world.story("EV_1", |story| story["state"] == "delivered").await;
    world.clock.advance(2 * hour);
    world.story("EV_1", gone).await;
    world.story("EV_2", |story| story["state"] == "unrouted").await;
    world.clock.advance(7 * 24 * hour);
    world.story("EV_2", gone).await;
    world.story("EV_3", |story| story["state"] == "pending").await;
}

/// What waits for long is stored differently from what is young, and so are their numbers: a restart knows
/// both.
#[tokio::test(flavor = "multi_thread")]
async fn old_and_young_deliveries_go_on_after_a_restart_in_order_and_with_their_numbers() {
    let (gone, right) = (Tenant::answering([Reply::Status(410)]).await, Tenant::open().await);
    let mut world = World::with_moved_time(&[("a.example", &gone), ("b.example", &right)]).await;
    assert_eq!(world.post(&joined("EV_0", "b", "b.example")).await.status, 200);
    world.story("EV_0", |story| story["state"] == "delivered").await;
    let post = async |world: &World, id: &str| {
        assert_eq!(world.post(&joined(id, "c", "a.example")).await.status, 200);
    };
    post(&world, "EV_1").await;
    world.story("EV_1", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    post(&world, "EV_2").await;
    // The round that removes history has looked after what waits, too.
    world.clock.advance(Duration::from_secs(25 * 3600));
    world.story_later(Duration::from_secs(10), "EV_0", |story| story["status"] == 404).await;
    post(&world, "EV_3").await;
    world.stop().await;
    world.start().await;
    post(&world, "EV_4").await;
    world.hooks(&table(&[("a.example", &right)]));
    let received = right.wait_for(5).await;
    assert_eq!(right.ids(), ["EV_0", "EV_1", "EV_2", "EV_3", "EV_4"]);
    let numbers: Vec<_> = received.iter().map(|received| received.header("switchhook-sequence")).collect();
    assert_eq!(numbers, ["1", "1", "2", "3", "4"]);
    world.story("EV_4", |story| story["state"] == "delivered").await;
}

/// Rows are numbered on from the newest, also when history has gone: a number given twice would be
/// taken for an old one's.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_idle_day_new_events_are_not_taken_for_old_ones() {
    let down = Tenant::open().await;
    let mut world = World::with_moved_time(&[("a.example", &down)]).await;
    for n in 1..=3 {
        assert_eq!(world.post(&joined(&format!("EV_{n}"), "c", "a.example")).await.status, 200);
        world.story(&format!("EV_{n}"), |story| story["state"] == "delivered").await;
    }
    world.clock.advance(Duration::from_secs(25 * 3600));
    for id in ["EV_1", "EV_2"] {
        world.story_later(Duration::from_secs(10), id, |story| story["status"] == 404).await;
    }
    down.reply(Reply::Status(410));
    assert_eq!(world.post(&joined("EV_4", "d", "a.example")).await.status, 200);
    world.story("EV_4", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    world.stop().await;
    world.start().await;
    assert_eq!(world.api_post("/v1/hooks/a.example/resume").await.0, 200);
    down.wait_for(5).await;
    world.story("EV_4", |story| story["state"] == "delivered").await;
}
