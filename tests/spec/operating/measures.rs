//! What the metrics measure of time: how late LiveKit's events come, and how long deliveries wait.

use std::time::{Duration, Instant};

use crate::spec::world::{PATIENCE, RECORDED, Reply, Tenant, World, joined};

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_the_time_from_livekits_createdat_to_the_receipt() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    // LiveKit made it at a full second; the world begins 110 ms later.
    assert_eq!(RECORDED.0 - 1_795_240_012_000, 110);
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.measures("livekit_lag_seconds_bucket{le=\"0.1\"} 0").await;
    world.measures("livekit_lag_seconds_bucket{le=\"0.25\"} 1").await;
    world.clock.advance(Duration::from_secs(8));
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    world.measures("livekit_lag_seconds_bucket{le=\"5.0\"} 1").await;
    world.measures("livekit_lag_seconds_bucket{le=\"10.0\"} 2").await;
    world.measures("livekit_lag_seconds_count 2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_pending_delivery_ages_by_tenant_until_it_is_delivered() {
    let (gone, well) = (Tenant::answering([Reply::Status(410)]).await, Tenant::open().await);
    let world = World::with_moved_time(&[("a.example", &gone), ("b.example", &well)]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    assert_eq!(world.post(&joined("EV_3", "d", "b.example")).await.status, 200);
    world.story("EV_3", |story| story["state"] == "delivered").await;
    world.clock.advance(Duration::from_secs(30));
    // By the older of the two; the neighbour has nothing that waits.
    world.measures("pending_deliveries{tenant=\"a.example\"} 2").await;
    world.measures("oldest_pending_seconds{tenant=\"a.example\"} 90.0").await;
    world.measures("hook_paused{tenant=\"a.example\"} 1").await;
    assert!(waiting(&world).await.iter().all(|line| line.contains("a.example")));

    assert_eq!(world.api_post("/v1/hooks/a.example/resume").await.0, 200);
    world.story("EV_2", |story| story["state"] == "delivered").await;
    assert!(!world.api("/metrics").await.1.as_str().expect("text").contains("hook_paused{"));
    let began = Instant::now();
    while !waiting(&world).await.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?}", waiting(&world).await);
    }
}

/// The lines of tenants that have something that waits.
async fn waiting(world: &World) -> Vec<String> {
    let (_, metrics) = world.api("/metrics").await;
    let lines = metrics.as_str().expect("text").lines();
    let of_tenants = lines.filter(|line| line.contains("pending_") && line.contains("{tenant="));
    of_tenants.filter(|line| !line.ends_with(" 0") && !line.ends_with(" 0.0")).map(str::to_owned).collect()
}
