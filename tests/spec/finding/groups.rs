//! What is unrouted, counted.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::spec::world::{Client, PATIENCE, Tenant, World, joined, table};

/// More than is counted for each request.
const CALLS: usize = 30_000;

/// A world whose store has many unrouted calls to `many.example`.
async fn with_many(acme: &Tenant) -> World {
    let mut world = World::with(&[("calls.acme.example", acme)]).await;
    world.stop().await;
    let store = Connection::open(world.path("data/switchhook.db")).expect("the store");
    let now = world.clock.unix().0;
    let rows = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {CALLS}) \
         INSERT INTO events (id, event, received_at, outcome, size, state, call, room, domain) \
         SELECT 'EV_many' || i, 'participant_joined', {now}, 'no_hook', 9, 3, 'RM_many' || i, 'r' || i, \
         'many.example' FROM n"
    );
    store.execute_batch(&rows).expect("rows");
    drop(store);
    world.start().await;
    world
}

fn counts(page: &Value) -> Vec<(String, Option<u64>, Option<u64>)> {
    let groups = page["unrouted"].as_array().expect("a list").iter();
    let told = |group: &Value| {
        let domain = group["domain"].as_str().unwrap_or("-").to_owned();
        (domain, group["events"].as_u64(), group["calls"].as_u64())
    };
    groups.map(told).collect()
}

/// The list, once it has these groups.
async fn listed(world: &World, expected: &[(&str, u64, u64)]) -> Value {
    let expected: Vec<_> = expected
        .iter()
        .map(|(domain, events, calls)| ((*domain).to_owned(), Some(*events), Some(*calls)))
        .collect();
    let began = Instant::now();
    loop {
        let (_, page) = world.api("/v1/unrouted").await;
        if counts(&page) == expected {
            return page;
        }
        assert!(began.elapsed() < PATIENCE, "{page:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn little_is_counted_for_each_request() {
    let acme = Tenant::open().await;
    let world = World::with(&[("calls.acme.example", &acme)]).await;
    for n in 1..4 {
        world.post(&joined(&format!("EV_{n}"), &format!("c{n}"), "calls.acme-typo.example")).await;
        let page = listed(&world, &[("calls.acme-typo.example", n, n)]).await;
        assert_eq!((&page["counted_at"], &page["next"]), (&Value::Null, &Value::Null));
        assert_eq!(page["unrouted"][0]["nearest"], json!(["calls.acme.example"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_counted_in_the_background_and_again_after_a_replay() {
    let acme = Tenant::open().await;
    let world = with_many(&acme).await;
    let all = ("many.example", CALLS as u64, CALLS as u64);
    let page = listed(&world, &[all]).await;
    assert!(page["counted_at"].is_string(), "{page}");
    // Within its scope a tenant sees its domains' counts, from the same count.
    let many = Client::tenant(&world, "many", &["many.example"]);
    assert_eq!(counts(&many.get("/v1/unrouted").await.body), counts(&page));
    let other = Client::tenant(&world, "other", &["other.example"]);
    assert_eq!(counts(&other.get("/v1/unrouted").await.body), []);
    let said = world.command(&["unrouted"]).await;
    assert!(
        said.success && said.out.contains("many.example") && said.out.contains("counted "),
        "{}",
        said.out
    );

    // What came since is not counted until the next time: soon after a replay.
    world.post(&joined("EV_typo", "typo", "calls.acme-typo.example")).await;
    world.post(&joined("EV_mended", "mended", "mended.example")).await;
    world.story("EV_mended", |story| story["state"] == "unrouted").await;
    world.hooks(&table(&[("calls.acme.example", &acme), ("mended.example", &acme)]));
    world.reloaded(1).await;
    let replay = json!({ "unrouted": true, "domain": "mended.example" });
    assert_eq!(world.api_send("/v1/replays", &replay).await.0, 200);
    listed(&world, &[all, ("calls.acme-typo.example", 1, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_json_end_with_what_they_leave_out() {
    let acme = Tenant::open().await;
    let world = World::with(&[("calls.acme.example", &acme)]).await;
    for (n, domain) in
        [(1, "calls.acme.example"), (2, "a.example"), (3, "b.example"), (4, "calls.acme.example")]
    {
        let body = joined(&format!("EV_{n}"), &format!("c{n}"), domain);
        let mut body: Value = serde_json::from_str(&body).expect("JSON");
        body["participant"]["attributes"]["sip.trunkPhoneNumber"] = json!("+15550100");
        world.post(&body.to_string()).await;
        world.story(&format!("EV_{n}"), |story| story.get("state").is_some()).await;
    }
    for list in ["unrouted", "calls"] {
        let said = world.command(&[list, "--json", "--limit", "1"]).await;
        let lines: Vec<Value> =
            said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let [_, rest] = &lines[..] else { panic!("{list}: {}", said.out) };
        assert!(rest["next"].is_string() && rest["domain_changes"].is_array(), "{list}: {rest}");
        // Counted just now; calls are not counted.
        let counted_at = (list == "unrouted").then_some(&Value::Null);
        assert_eq!(rest.get("counted_at"), counted_at, "{list}: {rest}");
        let all = world.command(&[list, "--json"]).await;
        assert!(!all.out.contains("\"next\":\""), "{}", all.out);
    }
}
