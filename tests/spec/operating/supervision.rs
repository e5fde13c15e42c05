//! How a router ends: in order when it is asked to, and with its name when a task breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchhook::{Config, Service, ServiceFault};
use tokio::sync::Notify;

use crate::spec::world::{PATIENCE, Reply, Tenant, World, joined};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_ends_the_router_in_order_and_with_its_name() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    world.stop().await;
    let config = Config::from_args(world.args()).expect("a configuration");
    let mut service = Service::start(config, world.clock.clone()).await.expect("a router");
    let breaks = Arc::new(Notify::new());
    let told = Arc::clone(&breaks);
    service.start_task("the task of a test", async move {
        told.notified().await;
        panic!("it breaks as it was told to");
    });
    let address = service.address;
    let ended = tokio::spawn(service.run_until(std::future::pending()));
    let health = reqwest::get(format!("http://{address}/healthz")).await.expect("an answer");
    assert_eq!(health.status(), 200);
    breaks.notify_one();
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").expect("in order");
    assert!(matches!(ended, Err(ServiceFault::Ended("the task of a test"))), "{ended:?}");
    world.logs(&["a task broke", "it breaks as it was told to"]).await;

    // The store was closed and the directory let go: the next router takes both over.
    world.start().await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    tenant.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_does_not_end_is_named_and_not_waited_for() {
    let mut world = World::with_moved_time(&[]).await;
    world.stop().await;
    let config = Config::from_args(world.args()).expect("a configuration");
    let mut service = Service::start(config, world.clock.clone()).await.expect("a router");
    service.start_task("the task that hangs", std::future::pending());
    let ended = tokio::spawn(service.run_until(std::future::ready(())));
    let before = world.clock.unix();
    world.advance_until(Duration::from_millis(500), || ended.is_finished()).await;
    assert!(world.clock.unix().since(before) >= Duration::from_secs(6), "it is given its time");
    ended.await.expect("in order").expect("no task ended early");
    world.logs(&["stopped before these tasks ended", "the task that hangs"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_attempts_finish_events_are_acknowledged_and_none_is_waited_for_longer_than_five_seconds() {
    let tenant = Tenant::answering([Reply::Hang]).await;
    let slow =
        format!("defaults: {{timeout: 30s}}\nhooks:\n  - host: a.example\n    url: {}\n", tenant.url());
    let clock = switchhook::Clock::manual(crate::spec::world::RECORDED);
    let mut world = World::at(clock, &slow, &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    tenant.wait_for(1).await;
    let before = world.clock.unix();
    world.begin_stop();
    let began = Instant::now();
    while world.ready().await.1["status"] != "draining" {
        assert!(began.elapsed() < PATIENCE, "it does not drain");
    }
    assert_eq!(world.ready().await.0, 503, "a load balancer sends nothing more");
    // LiveKit has no load balancer: what it posts is taken.
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    world.advance_until(Duration::from_millis(500), || world.has_ended()).await;
    let took = world.clock.unix().since(before);
    assert!((Duration::from_secs(5)..Duration::from_secs(20)).contains(&took), "{took:?}");
    world.stop().await;

    // Neither is lost: the attempt is made again, and in order.
    world.start().await;
    tenant.wait_for(3).await;
    assert_eq!(tenant.ids(), ["EV_1", "EV_1", "EV_2"]);
}
