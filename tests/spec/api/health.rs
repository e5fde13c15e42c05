//! `switchhook health`: what a container engine asks.

use std::time::{Duration, Instant};

use serde_json::Value;
use switchhook::Clock;
use tokio::net::TcpListener;

use crate::spec::world::{PATIENCE, RECORDED, Reply, Tenant, World, joined, table};

#[tokio::test(flavor = "multi_thread")]
async fn a_router_is_healthy_as_long_as_it_acknowledges_events() {
    let tenant = Tenant::answering([Reply::Hang]).await;
    let hooks = table(&[("a.example", &tenant)]);
    let mut world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    let said = world.command(&["health"]).await;
    assert_eq!((said.code, &*said.out), (Some(0), "ready\n"), "{}", said.err);

    // The other listener answers, too, and no token is needed.
    let said = world.command(&["health", "--json", "--url", &world.url("")]).await;
    let told: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &told), (Some(0), &world.ready().await.1), "{}", said.err);

    world.hooks("hooks: [");
    let began = Instant::now();
    while world.ready().await.1["status"] != "degraded" {
        assert!(began.elapsed() < PATIENCE, "the faulty file is not noticed");
        world.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = world.command(&["health"]).await;
    assert_eq!(said.code, Some(0), "taking the only router out of service would lose events");
    assert!(
        said.out.starts_with("degraded: ") && said.out.contains("\n  hooks: the router runs with "),
        "{}",
        said.out
    );
    assert!(said.out.contains("\n  → `switchhook check` says "), "{}", said.out);

    // An attempt is under way, so the router does not end at once.
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    tenant.wait_for(1).await;
    world.begin_stop();
    while world.ready().await.1["status"] != "draining" {
        assert!(began.elapsed() < PATIENCE, "it does not drain");
    }
    let said = world.command(&["health"]).await;
    assert_eq!((said.code, &*said.err), (Some(1), ""));
    assert!(said.out.starts_with("not ready: draining\n"), "{}", said.out);
    world.advance_until(Duration::from_millis(500), || world.has_ended()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_answer_or_is_no_router_is_not_healthy() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    let cases = [
        (format!("http://{}", silent.local_addr().expect("an address")), "has not answered within 3 s"),
        (tenant.url(), "is no router"),
        ("http://127.0.0.1:1".to_owned(), "no router answers at http://127.0.0.1:1/readyz"),
    ];
    for (url, told) in cases {
        let said = world.command(&["health", "--url", &url]).await;
        assert!(said.code == Some(1) && said.err.contains(told), "{url}: {}{}", said.out, said.err);
    }
}
