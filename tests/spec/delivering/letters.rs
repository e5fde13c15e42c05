//! Given up, found, replayed.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{RECORDED, Reply, Tenant, World, joined, searched, table};

/// Runs a command against this world's router.
async fn command(world: &World, args: &[&str]) -> Output {
    let data = world.path("data");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(args)
        .arg("--data")
        .arg(data)
        .output()
        .await;
    searched(args, output.expect("a command"))
}

async fn said(world: &World, args: &[&str]) -> String {
    let output = command(world, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A router with running commands needs the token `serve` leaves behind.
fn leave_token(world: &World) {
    let address = world.api_url("").replace("http://", "");
    std::fs::write(world.path("data/api.address"), address).expect("written");
    std::fs::write(world.path("data/operator.token"), world.operator_token()).expect("written");
}

/// Four events of a hook that fails, until they are given up; and one that is unrouted.
async fn four_die(world: &World) {
    for n in 1..=4 {
        let id = format!("EV_{n}");
        assert_eq!(world.post(&joined(&id, "c", "a.example")).await.status, 200);
        world.story(&id, |story| story["attempts"].as_array().is_some_and(|all| !all.is_empty())).await;
    }
    assert_eq!(world.post(&joined("EV_unknown", "x", "nobody.example")).await.status, 200);
    for n in 1..=4 {
        let id = format!("EV_{n}");
        let mut dead = false;
        for _ in 0..40 {
            world.clock.advance(Duration::from_millis(400));
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (_, story) = world.api(&format!("/v1/events/{id}")).await;
            dead = story["state"] == "dead";
            if dead {
                break;
            }
        }
        assert!(dead, "{id}");
    }
}

/// What lists say of them, whole, filtered and in pages.
async fn lists_four(world: &World) {
    let listed = said(world, &["deliveries", "--state", "dead"]).await;
    assert_eq!(
        listed.lines().filter(|line| line.contains("EV_") && line.contains("500")).count(),
        4,
        "{listed}"
    );
    let filtered = ["deliveries", "--state", "dead", "--json", "--tenant", "a.example", "--limit", "2"];
    let listed = said(world, &filtered).await;
    let first: Value = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
    // Two of the four, and where the others begin.
    assert_eq!(
        (listed.lines().count(), &first["id"], &first["reason"]),
        (3, &json!("EV_4"), &json!("expired"))
    );
    assert!(first["attempts"].as_array().is_some_and(|attempts| !attempts.is_empty()));
    assert_eq!(
        said(world, &["deliveries", "--tenant", "b.example"]).await,
        "no delivery passes the filters\n"
    );
    let (_, page) = world.api("/v1/deliveries?state=dead&limit=3").await;
    let (_, rest) = world.api(&format!("/v1/deliveries?state=dead&after={}", page["next"])).await;
    assert_eq!((rest["deliveries"][0]["id"].as_str(), &rest["next"]), (Some("EV_1"), &Value::Null));
    assert_eq!(world.api("/v1/deliveries?colour=red").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_replayed_to_the_current_url_singly_and_by_filter() {
    let (down, other) = (Tenant::answering(vec![Reply::Status(500); 40]).await, Tenant::open().await);
    let right = Tenant::open().await;
    let hooks = |url: &Tenant| {
        format!(
            "defaults: {{retry: {{max_age: 1s}}, order_wait: 0s}}\n{}",
            table(&[("a.example", url), ("b.example", &other)])
        )
    };
    let world = World::at(Clock::manual(RECORDED), &hooks(&down), &[]).await;
    four_die(&world).await;
    leave_token(&world);
    lists_four(&world).await;

    // To the URL the hook has now.
    world.hooks(&hooks(&right));
    while !world.api("/metrics").await.1.as_str().expect("text").contains("reloads_total{result=\"ok\"} 1") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tries = down.count();
    let refused = command(&world, &["replay", "EV_2"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes"));
    assert_eq!(said(&world, &["replay", "EV_2", "--dry-run"]).await, "1 dead letter would be replayed\n");
    assert_eq!(right.count(), 0);
    assert_eq!(said(&world, &["replay", "EV_2", "--yes"]).await, "1 dead letter replayed\n");
    let received = right.wait_for(1).await;
    assert_eq!((received[0].id(), received[0].header("switchhook-sequence")), ("EV_2", "2"));
    assert!(received[0].header("switchhook-attempt").parse::<u32>().expect("a number") > 1);
    world.story("EV_2", |story| story["state"] == "delivered").await;

    let dry = said(&world, &["replay", "--dead", "--tenant", "a.example", "--dry-run", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&dry).expect("JSON")["matched"], 3);
    assert_eq!(
        said(&world, &["replay", "--dead", "--tenant", "a.example", "--yes"]).await,
        "3 dead letters replayed\n"
    );
    right.wait_for(4).await;
    assert_eq!(right.ids()[1..], ["EV_1", "EV_3", "EV_4"]);
    assert_eq!((down.count(), other.count()), (tries, 0));
    let (status, _) = world.api_post("/v1/deliveries/EV_2/replay").await;
    assert_eq!(status, 404, "it is delivered");
}

/// A replayed one has its whole time again, and one whose hook is gone says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_starts_its_age_anew_and_one_without_a_hook_waits_for_one() {
    let down = Tenant::answering(vec![Reply::Status(500); 3]).await;
    let hooks =
        format!("defaults: {{retry: {{initial: 10m, max_age: 1m}}}}\n{}", table(&[("a.example", &down)]));
    let mut world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    let attempts = |count: usize| {
        move |story: &Value| story["attempts"].as_array().is_some_and(|all| all.len() == count)
    };
    world.story("EV_1", attempts(1)).await;
    world.clock.advance(Duration::from_secs(720));
    world.story("EV_1", |story| story["state"] == "dead").await;
    world.stop().await;
    world.hooks("hooks: []\n");
    world.start().await;
    let (status, problem) = world.api_post("/v1/deliveries/EV_1/replay").await;
    assert_eq!((status, &problem["title"]), (409, &json!("Nowhere to send it")));
    // Added again it is a new hook, but the same tenant's.
    world.stop().await;
    world.hooks(&hooks);
    world.start().await;
    assert_eq!(world.api_post("/v1/deliveries/EV_1/replay").await.1["replayed"], 1);
    // Tried at once, and not given up: it is young again.
    world.story("EV_1", attempts(3)).await;
    assert_eq!(world.api("/v1/events/EV_1").await.1["state"], "pending");
    world.stop().await;
    world.start().await;
    world.clock.advance(Duration::from_secs(720));
    world.story("EV_1", |story| story["state"] == "delivered").await;
}

/// Where an attempt went does not change with what its hook becomes, nor with a replay.
#[tokio::test(flavor = "multi_thread")]
async fn the_attempts_before_a_replay_keep_the_url_they_were_posted_to() {
    let down = Tenant::answering(vec![Reply::Status(500); 2]).await;
    let right = Tenant::answering([Reply::Hang]).await;
    let hooks = |tenant: &Tenant| {
        format!("defaults: {{retry: {{initial: 10m, max_age: 1m}}}}\n{}", table(&[("a.example", tenant)]))
    };
    let world = World::at(Clock::manual(RECORDED), &hooks(&down), &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    world.clock.advance(Duration::from_secs(720));
    world.story("EV_1", |story| story["state"] == "dead").await;
    world.hooks(&hooks(&right));
    world.reloaded(1).await;
    assert_eq!(world.api_post("/v1/deliveries/EV_1/replay").await.1["replayed"], 1);
    right.wait_for(1).await;
    let (_, timeline) = world.api("/v1/calls/RM_c").await;
    let story = &timeline["events"][0];
    assert_eq!((&story["state"], &story["url"]), (&json!("pending"), &json!(right.url())), "{story:#}");
    assert_eq!(story["attempts"][0]["url"], json!(down.url()), "{story:#}");
    right.release();
    let story = world.story("EV_1", |story| story["state"] == "delivered").await;
    let urls: Vec<_> = story["attempts"].as_array().expect("a list").iter().map(|one| &one["url"]).collect();
    assert_eq!(urls, [&json!(down.url()), &json!(down.url()), &json!(right.url())]);
    let (_, timeline) = world.api("/v1/calls/RM_c").await;
    assert_eq!(timeline["events"][0]["attempts"][0]["url"], json!(right.url()));
}
