//! What keeps one hook's trouble from everything else: breaker, limits, and what people see of it.

use std::time::Duration;

use serde_json::Value;
use switchhook::Clock;

use crate::spec::world::{RECORDED, Reply, Tenant, World, joined, table};

const STEP: Duration = Duration::from_millis(50);
const HOST: &str = "a.example";

/// Posts the first event of a call of its own.
async fn post(world: &World, number: usize) -> String {
    let id = format!("EV_{number}");
    assert_eq!(world.post(&joined(&id, &format!("c{number}"), HOST)).await.status, 200);
    id
}

async fn state(world: &World) -> Value {
    world.api("/v1/states/hooks").await.1["hooks"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_probed_ever_more_seldom_and_gets_everything_at_once_when_it_is_back() {
    let tenant = Tenant::answering(vec![Reply::Status(503); 8]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    for number in 0..20 {
        post(&world, number).await;
    }
    // Five faults open the breaker; no other attempt is made while time stands still.
    tenant.wait_for(5).await;
    world.measures("breaker_open{tenant=\"a.example\"} 1").await;
    let url = tenant.url();
    world.logs(&["breaker opened", HOST, &url, "status=503", "failing_since", "next_probe_in_ms"]).await;
    let before = state(&world).await;
    assert_eq!((&before["state"], &before["breaker_open"]), (&"failing".into(), &true.into()), "{before}");
    let probe: jiff::Timestamp = before["next_probe"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!((800..=1200).contains(&(probe.as_millisecond() - RECORDED.0)), "{before}");
    // Three probes fail, after 1, 2 and 4 s; the next one, 8 s later, succeeds, and nothing waits any longer.
    world.advance_until(STEP, || tenant.count() == 8).await;
    let began = world.clock.unix();
    assert!((5_500..=9_000).contains(&(began.0 - RECORDED.0)), "{}", began.0 - RECORDED.0);
    world.advance_until(STEP, || tenant.count() > 8).await;
    tenant.wait_for(28).await;
    assert!((6_000..=10_500).contains(&(world.clock.unix().0 - began.0)));
    let mut ids = tenant.ids().split_off(8);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    world.story("EV_19", |story| story["state"] == "delivered").await;
    world.logs(&["breaker closed", HOST, &url, "failing_since"]).await;
    world.measures("attempts_in_flight{kind=\"quick\"} 0").await;
    world.measures("attempts_in_flight_limit{kind=\"slow\"} 256").await;
    let after = state(&world).await;
    assert_eq!(
        (&after["state"], &after["breaker_open"], &after["slow"]),
        (&"delivering".into(), &false.into(), &0.into())
    );
    assert!(!world.api("/metrics").await.1.as_str().expect("text").contains("breaker_open{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_always_fails_neither_holds_its_lane_nor_is_held_by_it() {
    let tenant = Tenant::answering([Reply::Status(500)]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    post(&world, 0).await;
    tenant.wait_for(1).await;
    for number in 1..=8 {
        let count = tenant.count();
        tenant.reply(Reply::Status(500));
        world.advance_until(STEP, || tenant.count() > count).await;
        assert_eq!(tenant.ids().last().map(String::as_str), Some("EV_0"));
        // While time stands still, every other call's event goes at once.
        if number > 5 {
            let id = post(&world, number).await;
            tenant.wait_for(count + 2).await;
            world.story(&id, |story| story["state"] == "delivered").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_call_that_wait_for_one_that_always_fails_pass_it_in_the_end() {
    let tenant = Tenant::answering(vec![Reply::Status(500); 20]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    assert_eq!(world.post(&joined("EV_1", "c", HOST)).await.status, 200);
    assert_eq!(world.post(&joined("EV_2", "c", HOST)).await.status, 200);
    // Whatever the jitter of its retries, the first holds the second one for half a minute and no longer.
    world.advance_until(STEP, || tenant.ids().iter().any(|id| id == "EV_2")).await;
    let waited = world.clock.unix().0 - RECORDED.0;
    assert!((29_000..=33_000).contains(&waited), "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_pending_limit_the_oldest_become_dead_letters_that_can_be_replayed() {
    let tenant = Tenant::open().await;
    let limits = "limits: {tenants: {a.example: {pending: 3}}}\n";
    let hooks = |paused: &str| {
        format!("{limits}hooks:\n  - {{host: {HOST}, url: '{}', paused: {paused}}}\n", tenant.url())
    };
    let mut world = World::at(Clock::manual(RECORDED), &hooks("true"), &[]).await;
    for number in 0..5 {
        post(&world, number).await;
    }
    let story = world.story("EV_1", |story| story["state"] == "dead").await;
    assert_eq!(story["reason"], "lane_full");
    world.measures("dead_letters_total{reason=\"lane_full\"} 2").await;
    world.measures("pending_deliveries{tenant=\"a.example\"} 3").await;
    world.logs(&["more waits for a tenant than", HOST]).await;
    // The limit holds for what is taken over at a start, too.
    world.stop().await;
    world.hooks(&hooks("true").replace("pending: 3", "pending: 2"));
    world.start().await;
    world.story("EV_2", |story| story["state"] == "dead").await;
    world.hooks(&hooks("false"));
    world.advance_until(STEP, || tenant.count() == 2).await;
    let mut left = tenant.ids();
    left.sort();
    assert_eq!(left, ["EV_3", "EV_4"]);
    let (status, _) = world.api_post("/v1/deliveries/EV_0/replay").await;
    assert_eq!(status, 200);
    tenant.wait_for(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_url_is_tried_at_once_although_the_breaker_is_open() {
    let mut gone = Tenant::open().await;
    let world = World::with_moved_time(&[(HOST, &gone)]).await;
    gone.close().await;
    for number in 0..6 {
        post(&world, number).await;
    }
    world.measures("breaker_open{tenant=\"a.example\"} 1").await;
    let right = Tenant::open().await;
    world.hooks(&table(&[(HOST, &right)]));
    right.wait_for(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_url_is_not_bound_by_the_patience_the_one_before_asked_for() {
    let wrong = Tenant::answering([Reply::With(503, "retry-after", "3600".to_owned())]).await;
    let world = World::with_moved_time(&[(HOST, &wrong)]).await;
    post(&world, 0).await;
    world.story("EV_0", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    let held = state(&world).await;
    let next: jiff::Timestamp = held["next_probe"].as_str().expect("a time").parse().expect("RFC 3339");
    assert_eq!(next.as_millisecond() - RECORDED.0, 3_600_000, "{held}");
    let right = Tenant::open().await;
    world.hooks(&table(&[(HOST, &right)]));
    right.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_behind_an_open_breaker_is_given_up_with_the_next_probe_that_fails() {
    let tenant = Tenant::answering(vec![Reply::Status(503); 60]).await;
    let hooks = format!(
        "hooks:\n  - {{host: {HOST}, url: '{}', retry: {{initial: 10m, max_age: 5m}}}}\n",
        tenant.url()
    );
    let world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    for number in 0..30 {
        post(&world, number).await;
    }
    tenant.wait_for(5).await;
    world.advance_until(Duration::from_secs(1), || world.clock.unix().0 - RECORDED.0 >= 290_000).await;
    let young = post(&world, 30).await;
    world.measures("pending_deliveries{tenant=\"a.example\"} 31").await;
    let probes = tenant.count();
    world.advance_until(Duration::from_secs(1), || world.clock.unix().0 - RECORDED.0 >= 335_000).await;
    world.measures("dead_letters_total{reason=\"expired\"} 30").await;
    assert!(tenant.count() <= probes + 3);
    let story = world.story("EV_29", |story| story["state"] == "dead").await;
    assert_eq!(story["reason"], "expired");
    world.logs(&["had become older than max_age", HOST]).await;
    world.story(&young, |story| story["state"] == "pending").await;
}
