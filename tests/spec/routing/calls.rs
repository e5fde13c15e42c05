//! The whole call reaches its tenant.

use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{RECORDED, Reply, Tenant, World, event, joined, table};

/// An event that knows only the room's name.
fn named(id: &str, name: &str, room: &str) -> String {
    json!({ "event": name, "ingressInfo": { "roomName": room }, "id": id }).to_string()
}

async fn post(world: &World, body: &str) {
    assert_eq!(world.post(body).await.status, 200);
}

fn numbers(tenant: &Tenant) -> Vec<(String, String)> {
    let received = tenant.received();
    received.iter().map(|one| (one.id().to_owned(), one.header("switchhook-sequence").to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_outlives_a_restart_and_goes_first() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    post(&world, &named("EV_0", "ingress_started", "c")).await;
    post(&world, &event("EV_1", "room_started", "c")).await;
    post(&world, &event("EV_2", "track_published", "c")).await;
    world.stop().await;
    world.start().await;
    let story = world.story("EV_1", |story| story["state"] == "held").await;
    assert_eq!(story["reason"], "held");
    post(&world, &joined("EV_3", "c", "a.example")).await;
    post(&world, &named("EV_4", "ingress_ended", "c")).await;
    tenant.wait_for(5).await;
    let expected = ["EV_0", "EV_1", "EV_2", "EV_3", "EV_4"].iter().zip(1..);
    assert_eq!(
        numbers(&tenant),
        expected.map(|(id, n)| ((*id).to_owned(), n.to_string())).collect::<Vec<_>>()
    );
    // After a restart the call still is whose it was, and its numbering goes on.
    world.stop().await;
    world.start().await;
    post(&world, &event("EV_5", "room_finished", "c")).await;
    post(&world, &event("EV_6", "egress_ended", "c")).await;
    let received = tenant.wait_for(7).await;
    assert_eq!((received[6].id(), received[6].header("switchhook-sequence")), ("EV_6", "7"));
    // Its name is free now, and nobody's.
    post(&world, &named("EV_7", "ingress_started", "c")).await;
    world.story("EV_7", |story| story["state"] == "held").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_hold_an_event_is_unrouted_and_counted() {
    let tenant = Tenant::open().await;
    let world =
        World::at(Clock::manual(RECORDED), &table(&[("a.example", &tenant)]), &["--hold", "5s"]).await;
    post(&world, &event("EV_0", "room_started", "before")).await;
    world.clock.advance(Duration::from_secs(2));
    post(&world, &event("EV_1", "room_started", "web")).await;
    world.measures("events_held 2").await;
    world.clock.advance(Duration::from_secs(4));
    // One look gives up what is overdue: what came two seconds before, and not this.
    world.story("EV_0", |story| story["state"] == "unrouted").await;
    world.story("EV_1", |story| story["state"] == "held").await;
    world.clock.advance(Duration::from_secs(2));
    let story = world.story("EV_1", |story| story["state"] == "unrouted").await;
    assert_eq!(story["reason"], "no_call");
    world.measures("events_held 0").await;
    world.measures("events_unrouted_total{reason=\"no_call\"} 2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_progress_keeps_its_destination_and_new_calls_use_the_new_table() {
    let (before, after) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[("a.example", &before)]).await;
    post(&world, &joined("EV_1", "old", "a.example")).await;
    before.wait_for(1).await;
    world.hooks(&table(&[("a.example", &after)]));
    world.reloaded(1).await;
    post(&world, &event("EV_2", "track_published", "old")).await;
    post(&world, &joined("EV_3", "new", "a.example")).await;
    before.wait_for(2).await;
    after.wait_for(1).await;
    // Also when its hook is gone, and after a restart.
    world.hooks("hooks: []\n");
    world.reloaded(2).await;
    post(&world, &event("EV_4", "track_published", "old")).await;
    before.wait_for(3).await;
    world.stop().await;
    world.start().await;
    post(&world, &event("EV_5", "room_finished", "old")).await;
    before.wait_for(4).await;
    assert_eq!(before.ids(), ["EV_1", "EV_2", "EV_4", "EV_5"]);
    assert_eq!(after.ids(), ["EV_3"]);
    post(&world, &joined("EV_6", "newer", "a.example")).await;
    world.story("EV_6", |story| story["reason"] == "no_hook").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_a_live_call_that_has_failed_follows_a_corrected_url() {
    let (wrong, right) =
        (Tenant::answering([Reply::Status(200), Reply::Status(404)]).await, Tenant::open().await);
    let world = World::with(&[("a.example", &wrong)]).await;
    post(&world, &joined("EV_1", "c", "a.example")).await;
    wrong.wait_for(1).await;
    world.hooks(&table(&[("a.example", &right)]));
    world.reloaded(1).await;
    post(&world, &event("EV_2", "room_finished", "c")).await;
    right.wait_for(1).await;
    assert_eq!(
        (wrong.ids(), right.ids()),
        (vec!["EV_1".to_owned(), "EV_2".to_owned()], vec!["EV_2".to_owned()])
    );
}

/// Nobody's caller in somebody's room, and a second tenant's.
#[tokio::test(flavor = "multi_thread")]
async fn participants_of_two_tenants_in_one_room_keep_apart() {
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[("a.example", &one), ("b.example", &two)]).await;
    let track = |id: &str, participant: &str| {
        let mut body: Value = serde_json::from_str(&event(id, "track_published", "c")).expect("JSON");
        body["participant"] = json!({ "sid": participant, "identity": "x" });
        body.to_string()
    };
    post(&world, &joined("EV_1", "c", "a.example")).await;
    post(&world, &joined("EV_2", "c", "b.example")).await;
    post(&world, &joined("EV_3", "c", "nobody.example")).await;
    for (id, participant) in
        [("EV_4", "PA_EV_1"), ("EV_5", "PA_EV_2"), ("EV_6", "PA_EV_3"), ("EV_7", "PA_agent")]
    {
        post(&world, &track(id, participant)).await;
    }
    post(&world, &event("EV_8", "room_finished", "c")).await;
    one.wait_for(4).await;
    two.wait_for(2).await;
    assert_eq!(
        (one.ids().join(" "), two.ids().join(" ")),
        ("EV_1 EV_4 EV_7 EV_8".into(), "EV_2 EV_5".into())
    );
    for id in ["EV_3", "EV_6"] {
        world.story(id, |story| story["reason"] == "no_hook").await;
    }
    assert!(
        world.api("/metrics").await.1.as_str().expect("text").contains("switchhook_calls_shared_total 1")
    );
}

/// Posted again, also by LiveKit's retry after a restart, it changes no binding.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_binds_nothing() {
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[("a.example", &one)]).await;
    let caller = joined("EV_1", "c", "b.example");
    post(&world, &caller).await;
    world.story("EV_1", |story| story["reason"] == "no_hook").await;
    world.stop().await;
    world.hooks(&table(&[("a.example", &one), ("b.example", &two)]));
    world.start().await;
    post(&world, &caller).await;
    post(&world, &event("EV_2", "track_published", "c")).await;
    world.story("EV_2", |story| story["state"] == "held").await;
    assert_eq!((one.count(), two.count()), (0, 0));
}

/// A late event that knows only a name is not the next tenant's who uses it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_knows_only_a_name_does_not_go_to_whoever_has_it_next() {
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[("a.example", &one), ("b.example", &two)]).await;
    let in_room = |body: String| {
        body.replace(r#""name":"c1""#, r#""name":"desk""#).replace(r#""name":"c2""#, r#""name":"desk""#)
    };
    post(&world, &in_room(joined("EV_1", "c1", "a.example"))).await;
    post(&world, &in_room(event("EV_2", "room_finished", "c1"))).await;
    post(&world, &named("EV_3", "ingress_ended", "desk")).await;
    post(&world, &in_room(event("EV_4", "room_started", "c2"))).await;
    post(&world, &in_room(joined("EV_5", "c2", "b.example"))).await;
    two.wait_for(2).await;
    assert_eq!(two.ids(), ["EV_4", "EV_5"]);
    world.story("EV_3", |story| story["state"] == "held").await;
}

/// A caller whose hook was missing is placed by its next event, and stays so after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_was_nobodys_stays_where_it_was_placed_later() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[]).await;
    post(&world, &joined("EV_1", "c", "a.example")).await;
    world.hooks(&table(&[("a.example", &tenant)]));
    world.reloaded(1).await;
    let aborted = joined("EV_2", "c", "a.example").replace("PA_EV_2", "PA_EV_1");
    post(&world, &aborted.replace("participant_joined", "participant_connection_aborted")).await;
    // What it sent while it belonged to nobody is released with it.
    tenant.wait_for(2).await;
    assert_eq!(tenant.ids(), ["EV_1", "EV_2"]);
    world.stop().await;
    world.start().await;
    let mut track: Value = serde_json::from_str(&event("EV_3", "track_published", "c")).expect("JSON");
    track["participant"] = json!({ "sid": "PA_EV_1", "identity": "x" });
    post(&world, &track.to_string()).await;
    let received = tenant.wait_for(3).await;
    assert_eq!((received[2].id(), received[2].header("switchhook-route")), ("EV_3", "participant"));
}

/// A hook that is edited with `now: true` takes its calls in progress along.
#[tokio::test(flavor = "multi_thread")]
async fn now_moves_live_calls_too_and_cuts_them_off_when_the_host_passes_to_another_tenant() {
    let (before, after) = (Tenant::open().await, Tenant::open().await);
    let entry = |tenant: &str, receiver: &Tenant, now: bool| {
        let url = receiver.url();
        format!("hooks:\n  - {{host: a.example, tenant: {tenant}, url: '{url}', now: {now}}}\n")
    };
    let mut world = World::at(Clock::system(), &entry("acme", &before, true), &[]).await;
    post(&world, &joined("EV_1", "c", "a.example")).await;
    before.wait_for(1).await;
    world.hooks(&entry("acme", &after, true));
    world.reloaded(1).await;
    post(&world, &event("EV_2", "track_published", "c")).await;
    after.wait_for(1).await;
    // Also added behind the change, it takes them along.
    world.hooks(&entry("acme", &before, false));
    world.reloaded(2).await;
    post(&world, &event("EV_2b", "track_published", "c")).await;
    after.wait_for(2).await;
    world.hooks(&entry("acme", &before, true));
    world.reloaded(3).await;
    post(&world, &event("EV_2c", "track_published", "c")).await;
    before.wait_for(2).await;
    world.hooks(&entry("acme", &after, true));
    world.reloaded(4).await;
    // Without it the next change leaves them where they are, also those that were moved.
    world.hooks(&entry("acme", &before, false));
    world.reloaded(5).await;
    post(&world, &event("EV_3", "track_published", "c")).await;
    after.wait_for(3).await;
    world.stop().await;
    world.hooks(&entry("globex", &before, true));
    world.start().await;
    post(&world, &event("EV_4", "track_published", "c")).await;
    let story = world.story("EV_4", |story| story["state"] == "unrouted").await;
    assert_eq!(story["reason"], "hook_removed");
    post(&world, &joined("EV_5", "c", "a.example").replace("PA_EV_5", "PA_EV_1")).await;
    world.story("EV_5", |story| story["reason"] == "hook_removed").await;
    // Nobody inherits the call; a new caller is the new tenant's.
    post(&world, &joined("EV_6", "c", "a.example")).await;
    before.wait_for(3).await;
    assert_eq!(
        (before.ids().join(" "), after.ids().join(" ")),
        ("EV_1 EV_2c EV_6".to_owned(), "EV_2 EV_2b EV_3".to_owned())
    );
}

/// As newer sources of LiveKit send egress and ingress events: with a room, if only with its name; and a
/// job of an agent, which has a room of its own.
#[tokio::test(flavor = "multi_thread")]
async fn egress_ingress_and_jobs_find_their_call_wherever_they_name_it() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    post(&world, &joined("EV_1", "c", "a.example")).await;
    let room = json!({ "sid": "RM_c", "name": "c" });
    let told = [
        json!({ "event": "egress_started", "id": "EV_2", "room": room, "egressInfo": { "egressId": "EG_1" } }),
        json!({ "event": "egress_updated", "id": "EV_3", "egressInfo": { "roomId": "RM_c", "roomName": "c" } }),
        json!({ "event": "egress_ended", "id": "EV_4", "egressInfo": { "roomName": "c" } }),
        json!({ "event": "ingress_started", "id": "EV_5", "room": { "name": "c" }, "ingressInfo": { "roomName": "c" } }),
        json!({ "event": "ingress_ended", "id": "EV_6", "ingressInfo": { "state": { "roomId": "RM_c" } } }),
        json!({ "event": "agent_job_started", "id": "EV_7", "job": { "id": "AJ_1", "room": room } }),
    ];
    for body in &told {
        post(&world, &body.to_string()).await;
    }
    tenant.wait_for(7).await;
    let expected = (1..=7).map(|n| (format!("EV_{n}"), n.to_string())).collect::<Vec<_>>();
    assert_eq!(numbers(&tenant), expected);
    // Web egress has no room in any form.
    for (id, room) in [("EV_8", json!({})), ("EV_9", Value::Null)] {
        let body = json!({ "event": "egress_started", "id": id, "room": room, "egressInfo": { "egressId": "EG_2" } });
        post(&world, &body.to_string()).await;
        world.story(id, |story| story["reason"] == "no_call").await;
    }
}
