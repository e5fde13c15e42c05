//! The last hour, for charts.

use std::time::Duration;

use serde_json::{Value, json};

use super::keep::{HOUR, delivered, keeping, resent, world};
use crate::spec::world::{Client, Reply, Tenant, World, event, joined};

/// The sum of a series.
fn sum(series: &Value) -> u64 {
    let series = series.as_array().expect("a series");
    assert_eq!(series.len(), 360);
    series.iter().filter_map(Value::as_u64).sum()
}

/// What came, was delivered, and failed.
fn counted(series: &Value) -> [u64; 3] {
    let sums = ["received", "delivered", "failing"].map(|name| sum(&series[name]));
    let of_hour = ["received", "delivered", "failing"].map(|name| series["hour"][name].as_u64());
    assert_eq!(sums.map(Some), of_hour);
    sums
}

/// Two tenants: one fails once, the other does not answer; and events of nobody.
async fn busy() -> (World, Tenant, Tenant) {
    let acme = Tenant::answering([Reply::Status(500)]).await;
    let globex = Tenant::answering([Reply::Hang]).await;
    let world = World::with_moved_time(&[("a.example", &acme), ("b.example", &globex)]).await;
    for (id, call, host) in [
        ("EV_1", "a1", "a.example"),
        ("EV_2", "a2", "a.example"),
        ("EV_3", "b", "b.example"),
        ("EV_4", "n", "no.example"),
    ] {
        world.post(&joined(id, call, host)).await;
    }
    world.post(&event("EV_5", "room_started", "a3")).await;
    world.post(&joined("EV_6", "a3", "a.example")).await;
    globex.wait_for(1).await;
    for id in ["EV_1", "EV_2", "EV_5", "EV_6"] {
        world.story_later(Duration::from_millis(100), id, |story| story["state"] == "delivered").await;
    }
    world.clock.advance(Duration::from_secs(10));
    (world, acme, globex)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hour_is_answered_by_ten_seconds() {
    let (world, _acme, _globex) = busy().await;
    let now = Client::operator(&world).get("/v1/now").await.body;
    let around = (&now["step_ms"], &now["is_complete"], &now["unlisted"], &now["others"]);
    assert_eq!(around, (&json!(10_000), &json!(true), &json!(0), &Value::Null));
    assert!(now["from"].as_str().expect("a time").ends_with("0.000Z"), "{}", now["from"]);
    let router = &now["router"];
    assert_eq!((counted(router), sum(&router["unrouted"])), ([6, 4, 1], 1));
    assert!(
        router["hour_ack_p50_ms"].is_number() && router["hour"]["p99_ms"].is_number(),
        "{}",
        router["hour"]
    );
    let tenants = now["tenants"].as_array().expect("tenants");
    let names: Vec<_> = tenants.iter().map(|tenant| tenant["tenant"].as_str().expect("a name")).collect();
    assert_eq!(names, ["a.example", "b.example"], "the one with the most first");
    assert_eq!([counted(&tenants[0]), counted(&tenants[1])], [[4, 4, 1], [1, 0, 0]]);
    // An hour later all of it is past.
    world.clock.advance(Duration::from_secs(3700));
    let later = Client::operator(&world).get("/v1/now").await.body;
    assert_eq!(counted(&later["router"]), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_counted_at_the_end_of_each_slot() {
    let (world, _acme, _globex) = busy().await;
    let operator = Client::operator(&world);
    // It is noted soon after the end of a slot.
    let now = loop {
        let now = operator.get("/v1/now").await.body;
        if sum(&now["router"]["waiting"]) > 0 {
            break now;
        }
        world.clock.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let waiting = |name: &str| {
        let tenants = now["tenants"].as_array().expect("tenants");
        sum(&tenants.iter().find(|tenant| tenant["tenant"] == name).expect("listed")["waiting"])
    };
    assert_eq!((waiting("a.example"), waiting("b.example")), (0, sum(&now["router"]["waiting"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_last_hour_alone() {
    let (world, _acme, _globex) = busy().await;
    let (own, operator) = (Client::tenant(&world, "b.example", &[]), Client::operator(&world));
    let all = own.get("/v1/now").await.body;
    let names = |now: &Value| {
        let tenants = now["tenants"].as_array().expect("tenants").iter();
        tenants.map(|tenant| tenant["tenant"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&all), &all["router"], &all["others"]),
        (vec!["b.example".to_owned()], &Value::Null, &Value::Null)
    );
    assert_eq!(counted(&all["tenants"][0]), [1, 0, 0]);
    assert!(
        names(&own.get("/v1/now?tenant=a.example").await.body).is_empty(),
        "if it asks for another's, too"
    );
    // Who had nothing has series of nothing.
    let silent = Client::tenant(&world, "silent", &[]).get("/v1/now").await.body;
    assert_eq!((names(&silent), counted(&silent["tenants"][0])), (vec!["silent".to_owned()], [0, 0, 0]));
    let one = operator.get("/v1/now?tenant=a.example").await.body;
    assert_eq!((names(&one), &one["router"]), (vec!["a.example".to_owned()], &Value::Null));
    assert_eq!(operator.get("/v1/now?limit=1").await.body["unlisted"], 1);
    for query in ["?colour=red", "?limit=0", "?limit=101"] {
        assert_eq!(operator.get(&format!("/v1/now{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_takes_as_long_as_since_then_and_what_was_held_as_long_as_since_it_came() {
    let tenant = Tenant::open().await;
    let world = world(&[keeping("a.example", &tenant)]).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    world.post(&joined("EV_2", "d", "b.example")).await;
    world.clock.advance(HOUR / 2);
    // Sent again after its delivery, and after it had no hook.
    assert_eq!(resent(&world, "EV_1").await, 1);
    let story = world.story("EV_1", |story| story["tries"] == 2).await;
    assert_eq!(story["total_ms"], 0, "{story:#}");
    let said = world.command(&["events", "EV_1"]).await.out;
    assert!(said.contains("after it was sent again"), "{said}");
    world.hooks(&format!("hooks:\n{}{}", keeping("a.example", &tenant), keeping("b.example", &tenant)));
    world.reloaded(1).await;
    let (_, answer) = world.api_send("/v1/replays", &json!({ "unrouted": true })).await;
    assert_eq!(answer["replayed"], 1, "{answer}");
    // Its story says how late it was; the figures of receivers do not.
    let story = world.story("EV_2", |story| story["state"] == "delivered").await;
    assert_eq!(story["total_ms"], 1_800_000, "{story:#}");
    world.measures("delivery_duration_seconds_sum 0.0").await;
    // How long it was held is part of it.
    world.post(&event("EV_3", "room_started", "e")).await;
    world.clock.advance(Duration::from_secs(2));
    delivered(&world, "EV_4", "e", "a.example").await;
    let story = world.story("EV_3", |story| story["state"] == "delivered").await;
    assert_eq!(story["total_ms"], 2000, "{story:#}");
    world.measures("delivery_duration_seconds_sum 2.0").await;
    world.clock.advance(Duration::from_secs(10));
    let hour = Client::operator(&world).get("/v1/now").await.body["router"]["hour"].clone();
    assert_eq!(hour["delivered"], 5, "each delivery of an event that is sent again counts: {hour}");
    assert!(hour["p50_ms"].as_f64() < Some(1.0) && hour["p99_ms"].as_f64() < Some(5000.0), "{hour}");
}
