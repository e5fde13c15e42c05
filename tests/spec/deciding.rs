//! Deciding and storing are one step.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::world::{Tenant, World, joined};

/// Several connections post events of the same rooms at once, each event more than once.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_and_rows_never_disagree_under_concurrent_posts_and_duplicates() {
    const CALLS: usize = 6;
    const EVENTS: usize = 40;
    let tenants = [Tenant::open().await, Tenant::open().await];
    let hosts = ["a.example", "b.example"];
    let hooks: Vec<_> = hosts.into_iter().zip(&tenants).collect();
    let world = Arc::new(World::with(&hooks).await);
    let mut posts = JoinSet::new();
    for connection in 0..4 {
        let world = Arc::clone(&world);
        posts.spawn(async move {
            for step in 0..EVENTS {
                // Each connection begins elsewhere, so that the same events meet.
                let event = (step + connection * 7) % EVENTS;
                for call in 0..CALLS {
                    let body =
                        joined(&format!("EV_{call}_{event}"), &format!("call-{call}"), hosts[call % 2]);
                    assert_eq!(world.post(&body).await.status, 200);
                }
            }
        });
    }
    while let Some(done) = posts.join_next().await {
        done.expect("every post is answered");
    }
    let due = CALLS / 2 * EVENTS;
    for tenant in &tenants {
        let received = tenant.wait_for(due).await;
        let ids: BTreeSet<_> = received.iter().map(|received| received.id().to_owned()).collect();
        assert_eq!((received.len(), ids.len()), (due, due), "each once");
    }
    // What was received is what is told of the call: the order, the numbers, the hook.
    for (host, tenant) in hosts.iter().zip(&tenants) {
        for call in 0..CALLS {
            let call = format!("RM_call-{call}");
            let (_, told) = world.api(&format!("/v1/calls/{call}")).await;
            let events = told["events"].as_array().expect("events").iter();
            let rows = events.filter(|event| event["host"] == *host).map(|event| {
                let sequence = event["sequence"].as_i64().expect("a number");
                (event["id"].as_str().expect("an id").to_owned(), sequence)
            });
            let rows: Vec<_> = rows.collect();
            let received: Vec<(String, i64)> = tenant
                .received()
                .iter()
                .filter(|received| received.header("switchhook-call") == call)
                .map(|received| {
                    let sequence = received.header("switchhook-sequence").parse().expect("a number");
                    (received.id().to_owned(), sequence)
                })
                .collect();
            assert_eq!(received, rows, "{call} at {host}");
            let numbers: Vec<_> = rows.iter().map(|(_, sequence)| *sequence).collect();
            let without_gaps: Vec<_> = (1..=i64::try_from(rows.len()).expect("few")).collect();
            assert_eq!(numbers, without_gaps);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_is_acknowledged_and_delivered_once_even_after_a_restart() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    let body = joined("EV_once", "c", "a.example");
    assert_eq!(world.post(&body).await.status, 200);
    tenant.wait_for(1).await;
    assert_eq!(world.post(&body).await.status, 200);
    world.stop().await;
    world.start().await;
    assert_eq!(world.post(&body).await.status, 200);
    assert_eq!(world.post(&joined("EV_next", "c", "a.example")).await.status, 200);
    tenant.wait_for(2).await;
    assert_eq!(tenant.ids(), ["EV_once", "EV_next"]);
}

/// Without an id, or with one that fits no header, the body's hash stands in.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_usable_id_is_known_by_its_body() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    for id in ["", "a.b", "x\r\ny: z"] {
        let body = joined(id, "c", "a.example");
        for _ in 0..2 {
            assert_eq!(world.post(&body).await.status, 200);
        }
    }
    let received = tenant.wait_for(3).await;
    world.stand_still().await;
    assert_eq!(tenant.count(), 3);
    let hex = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(received.iter().all(|received| hex(received.id())));
}
