//! What the commands make of the API's answers.

use std::time::Duration;

use serde_json::json;
use switchhook::Clock;

use crate::spec::world::{Tenant, World, event, joined};

async fn post(world: &World, body: &str) {
    assert_eq!(world.post(body).await.status, 200);
}

/// A room's name comes again: the latest session is told, and that there are others.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_name_with_several_sessions_the_others_are_listed() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    for n in 1..=3 {
        let of_session = |body: String| body.replace("RM_c", &format!("RM_{n}"));
        post(&world, &of_session(joined(&format!("EV_{n}"), "c", "a.example"))).await;
        post(&world, &of_session(event(&format!("EV_f{n}"), "room_finished", "c"))).await;
        // Sessions are told in the order they began, by milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (_, told) = world.api("/v1/calls/c").await;
    let others = told["others"].as_array().expect("a list").iter().map(|call| &call["call"]);
    let others: Vec<_> = others.collect();
    assert_eq!((&told["call"]["call"], others), (&json!("RM_3"), vec![&json!("RM_2"), &json!("RM_1")]));
    assert_eq!(world.api("/v1/calls/RM_3").await.1["others"], json!([]));
    let said = world.command(&["calls", "c"]).await.out;
    assert!(said.contains("There are 2 other sessions") && said.contains("RM_1"), "{said}");
}

/// A room no caller came into will never have a hook: nothing is to be added for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_all_that_is_unrouted_counts_no_rooms_without_sip() {
    let world = World::at(Clock::system(), "hooks: []\n", &["--hold", "200ms"]).await;
    post(&world, &event("EV_web", "room_started", "web")).await;
    post(&world, &event("EV_1", "room_started", "c")).await;
    post(&world, &joined("EV_2", "c", "a.example")).await;
    for id in ["EV_web", "EV_1", "EV_2"] {
        world.story(id, |story| story["state"] == "unrouted").await;
    }
    let said = world.command(&["replay", "--unrouted", "--dry-run"]).await;
    let none = "0 unrouted events would be replayed\n2 have no hook yet: add the hook, then replay\n";
    assert_eq!((said.success, &*said.out), (true, none));
}
