//! Delivered events that a hook keeps are sent again.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::delivering::signatures::{OFFICIAL, delivery, secret};
use crate::spec::world::{Client, RECORDED, Received, Reply, Tenant, World, event, joined, judge};

pub const HOUR: Duration = Duration::from_secs(3600);

/// The hook of a tenant, with these keys more.
pub fn hook(host: &str, tenant: &Tenant, keys: &str) -> String {
    format!("  - {{host: {host}, url: '{}'{keys}}}\n", tenant.url())
}

pub fn keeping(host: &str, tenant: &Tenant) -> String {
    hook(host, tenant, ", keep: 24h")
}

/// A router whose time is moved, with these hooks.
pub async fn world(hooks: &[String]) -> World {
    World::at(Clock::manual(RECORDED), &format!("hooks:\n{}", hooks.concat()), &[]).await
}

/// Posts a caller's event, and waits until it is stored that it was delivered.
pub async fn delivered(world: &World, id: &str, call: &str, host: &str) {
    assert_eq!(world.post(&joined(id, call, host)).await.status, 200);
    is(world, id, "delivered").await;
}

pub async fn is(world: &World, id: &str, state: &str) -> Value {
    world.story(id, |story| story["state"] == state).await
}

/// What an operator is answered who has an event sent again: how many are, or the reason why not.
pub async fn resent(world: &World, id: &str) -> Value {
    let (_, answer) = world.api_post(&format!("/v1/events/{id}/resend")).await;
    if answer["replayed"].is_null() { answer["reason"].clone() } else { answer["replayed"].clone() }
}

/// What a tenant receives twice but for the attempt: its body, id, number and call.
pub fn told(received: &Received) -> (&[u8], [&str; 4]) {
    let names = ["webhook-id", "switchhook-sequence", "switchhook-call", "content-type"];
    (&received.body, names.map(|name| received.header(name)))
}

/// Runs a statement on the store beside the router.
pub fn store(world: &World) -> Connection {
    let store = Connection::open(world.path("data/switchhook.db")).expect("the store");
    store.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    store
}

pub fn kept(world: &World) -> Vec<String> {
    let store = store(world);
    let mut kept = store
        .prepare("SELECT id FROM kept_bodies JOIN events USING (seq) ORDER BY seq")
        .expect("a statement");
    let kept = kept.query_map([], |row| row.get(0)).expect("rows");
    kept.collect::<Result<_, _>>().expect("ids")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_event_is_sent_again_as_it_was_and_verifies_also_after_a_restart() {
    let tenant = Tenant::open().await;
    let mut world = world(&[keeping("a.example", &tenant)]).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    delivered(&world, "EV_2", "c", "a.example").await;
    let story = is(&world, "EV_2", "delivered").await;
    assert_eq!((&story["kept_until"], &story["tries"]), (&json!("2026-11-22T05:46:52.110Z"), &json!(1)));
    world.clock.advance(HOUR);
    let dry = world.api_post("/v1/events/EV_2/resend?dry_run=true").await.1;
    assert_eq!((&dry["matched"], &dry["replayed"], &dry["dry_run"]), (&json!(1), &json!(0), &json!(true)));
    assert_eq!(resent(&world, "EV_2").await, 1);
    let received = tenant.wait_for(3).await;
    assert_eq!(told(&received[1]), told(&received[2]));
    assert_eq!(received[2].header("switchhook-attempt"), "2");
    let story = world.story("EV_2", |story| story["tries"] == 2).await;
    let before = ["before_state", "before_reason", "dead_at"].map(|key| &story[key]);
    assert_eq!(before, [&json!("delivered"), &Value::Null, &Value::Null]);
    assert_eq!(story["attempts"].as_array().expect("attempts").len(), 2, "{story:#}");
    assert_eq!(story["replayed_at"], "2026-11-21T06:46:52.110Z");
    // It stays for its time, and no longer.
    assert_eq!(story["kept_until"], "2026-11-22T05:46:52.110Z");

    // It waits over a restart.
    assert_eq!(world.api_post("/v1/hooks/a.example/pause").await.0, 200);
    assert_eq!(resent(&world, "EV_2").await, 1);
    world.stop().await;
    world.start().await;
    assert_eq!(world.api_post("/v1/hooks/a.example/resume").await.0, 200);
    let received = tenant.wait_for(4).await;
    assert_eq!(told(&received[1]), told(&received[3]));
    let signed = delivery(&secret(&world, "a.example").await, &received[3]);
    let now = format!(r#""now":{},"secret""#, world.clock.unix().seconds());
    for (program, script) in OFFICIAL {
        let verdict = judge(program, script, &signed.replace(r#""secret""#, &now)).await;
        assert_eq!(verdict.trim(), "ok", "{script}");
    }
    let audit = Client::tenant(&world, "a.example", &["a.example"]).get("/v1/audit").await.body;
    let entries = audit["entries"].as_array().expect("entries");
    let resends = entries.iter().filter(|entry| entry["action"] == "events.resend");
    let resends: Vec<_> = resends.map(|entry| ["actor", "target"].map(|key| &entry[key])).collect();
    assert_eq!(resends, [[&json!("operator"), &json!("EV_2")]; 2], "{audit:#}");
}

/// What is kept already is not sealed and written again: seen by removing it meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_again_is_not_kept_anew() {
    let tenant = Tenant::open().await;
    let world = world(&[keeping("a.example", &tenant)]).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    tenant.reply(Reply::Hang);
    assert_eq!(resent(&world, "EV_1").await, 1);
    tenant.wait_for(2).await;
    store(&world).execute("DELETE FROM kept_bodies", []).expect("removed");
    tenant.release();
    world.story("EV_1", |story| story["tries"] == 2 && story["state"] == "delivered").await;
    assert!(kept(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_is_refused_with_the_reason() {
    let tenants = [Tenant::open().await, Tenant::answering(vec![Reply::Status(410)]).await];
    let hooks = [hook("a.example", &tenants[0], ""), keeping("b.example", &tenants[1])];
    let world = world(&hooks).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    assert_eq!(resent(&world, "EV_1").await, "nothing_kept");
    assert_eq!(world.api_post("/v1/events/EV_1/resend").await.0, 409);
    assert_eq!(world.post(&joined("EV_2", "d", "b.example")).await.status, 200);
    world.story("EV_2", |story| story["tries"] == 1).await;
    assert_eq!(resent(&world, "EV_2").await, "not_delivered");
    assert_eq!(world.api_post("/v1/events/EV_none/resend").await.0, 404);
    assert_eq!(world.api_post("/v1/calls/RM_none/resend").await.0, 404);
    let (status, problem) = world.api_post("/v1/calls/RM_c/resend").await;
    assert_eq!((status, problem["type"].as_str()), (409, Some("/problems/not-kept")));
    let both = world.api_send("/v1/replays", &json!({ "delivered": true, "unrouted": true })).await;
    let domain = world.api_send("/v1/replays", &json!({ "delivered": true, "domain": "a" })).await;
    assert_eq!([both.0, domain.0], [422, 422]);
    let said = world.command(&["replay", "--delivered", "EV_1", "--yes"]).await;
    assert!(said.code == Some(1) && said.err.contains("Its hook keeps nothing"), "{}", said.err);
    // Where to is asked for again.
    let moved = [hook("z.example", &tenants[0], ", keep: 24h")];
    world.hooks(&format!("hooks:\n{}", [&hooks[..], &moved].concat().concat()));
    world.reloaded(1).await;
    delivered(&world, "EV_3", "e", "z.example").await;
    world.hooks(&format!("hooks:\n{}", hooks.concat()));
    world.reloaded(2).await;
    let (status, problem) = world.api_post("/v1/events/EV_3/resend").await;
    assert_eq!((status, problem["type"].as_str()), (409, Some("/problems/no-destination")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_call_is_sent_again_in_order_and_newer_events_of_it_come_after() {
    let tenant = Tenant::open().await;
    let world = world(&[keeping("a.example", &tenant)]).await;
    assert_eq!(world.post(&event("EV_0", "room_started", "c")).await.status, 200);
    for (id, call) in [("EV_1", "c"), ("EV_2", "c"), ("EV_x", "d"), ("EV_3", "c")] {
        delivered(&world, id, call, "a.example").await;
    }
    let dry = world.api_post("/v1/calls/RM_c/resend?dry_run=true").await.1;
    assert_eq!((&dry["matched"], &dry["replayed"]), (&json!(4), &json!(0)));
    // The call goes on meanwhile: what is delivered again goes first.
    tenant.reply(Reply::Hang);
    let (status, answer) = world.api_post("/v1/calls/c/resend").await;
    assert_eq!((status, &answer["replayed"]), (200, &json!(4)), "{answer}");
    tenant.wait_for(6).await;
    assert_eq!(world.post(&event("EV_4", "room_finished", "c")).await.status, 200);
    tenant.release();
    let received = tenant.wait_for(10).await;
    let numbers: Vec<_> = received[5..]
        .iter()
        .map(|received| (received.id(), received.header("switchhook-sequence")))
        .collect();
    assert_eq!(numbers, [("EV_0", "1"), ("EV_1", "2"), ("EV_2", "3"), ("EV_3", "4"), ("EV_4", "5")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_counted_first_and_sent_again_by_one_command() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let world = world(&[keeping("a.example", &tenant), keeping("b.example", &other)]).await;
    for n in 0..6 {
        delivered(&world, &format!("EV_{n}"), &format!("c{n}"), "a.example").await;
        world.clock.advance(HOUR);
    }
    delivered(&world, "EV_other", "o", "b.example").await;
    let lost =
        ["--tenant", "a.example", "--since", "2026-11-21T06:46:00Z", "--until", "2026-11-21T09:46:00Z"];
    let replay = |more: &'static str| {
        let (world, lost) = (&world, lost);
        async move { world.command(&[&["replay", "--delivered"], &lost[..], &[more]].concat()).await }
    };
    let said = replay("--dry-run").await;
    assert_eq!(said.out, "3 delivered events would be sent again\n", "{}", said.err);
    let said = replay("--json").await;
    assert!(said.code == Some(1) && said.err.contains("--yes"), "{}", said.err);
    assert_eq!(
        (tenant.count(), replay("--yes").await.out),
        (6, "3 delivered events sent again\n".to_owned())
    );
    let received = tenant.wait_for(9).await;
    let mut again: Vec<_> = received[6..].iter().map(Received::id).collect();
    again.sort_unstable();
    assert_eq!((again, other.count()), (vec!["EV_1", "EV_2", "EV_3"], 1));
    // In pages, and as a command for one.
    for n in 0..6 {
        is(&world, &format!("EV_{n}"), "delivered").await;
    }
    let page = json!({ "delivered": true, "host": "a.example", "limit": 4, "dry_run": true });
    let (_, first) = world.api_send("/v1/replays", &page).await;
    let mut rest = page.clone();
    rest["after"] = first["next"].clone();
    let (_, last) = world.api_send("/v1/replays", &rest).await;
    assert_eq!([&first["matched"], &last["matched"], &last["next"]], [&json!(4), &json!(2), &Value::Null]);
    let said = world.command(&["replay", "EV_0"]).await;
    assert!(said.err.contains("switchhook replay --delivered EV_0"), "{}", said.err);
    let said = world.command(&["events", "EV_0"]).await;
    assert!(said.out.contains("kept until  2026-11-22T05:46:52.110Z"), "{}", said.out);
    let said = world.command(&["replay", "--delivered", "EV_0", "EV_5", "--yes"]).await;
    assert_eq!(said.out, "2 delivered events sent again\n", "{}", said.err);
    tenant.wait_for(11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_events_one_that_is_refused_makes_the_command_fail_and_no_filter_is_ignored() {
    let tenant = Tenant::open().await;
    let world = world(&[keeping("a.example", &tenant)]).await;
    delivered(&world, "EV_0", "c", "a.example").await;
    let said = world.command(&["replay", "--delivered", "EV_0", "EV_none", "--yes", "--json"]).await;
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((said.code, lines.len()), (Some(1), 2), "{}", said.out);
    let sent = ["id", "replayed", "refused"].map(|key| &lines[0][key]);
    assert_eq!(sent, [&json!("EV_0"), &json!(1), &Value::Null]);
    assert_eq!([&lines[1]["id"], &lines[1]["replayed"]], [&json!("EV_none"), &json!(0)]);
    let refused = lines[1]["refused"].as_str().expect("why");
    assert!(refused.contains("No event with this id"), "{refused}");
    tenant.wait_for(2).await;
    for (args, name) in [
        (&["replay", "--delivered", "--domain", "x"][..], "--unrouted"),
        (&["replay", "--dead", "--reason", "x"], "--unrouted"),
        (&["replay", "--dead", "--call", "x"], "--delivered"),
        (&["replay", "--delivered", "EV_0", "--tenant", "b.example"], "--tenant"),
        (&["replay", "EV_0", "--since", "2026-11-21T05:46:00Z"], "--since"),
        (&["deliveries", "--status", "timeout"], "(503, or 5xx) or a state (pending, delivered or dead)"),
    ] {
        let said = world.command(args).await;
        assert!(said.code == Some(2) && said.err.contains(name), "{args:?}: {:?} {}", said.code, said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sends_its_own_events_again_and_no_others() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let world = world(&[keeping("a.example", &tenant), keeping("b.example", &other)]).await;
    // Both are in one call.
    delivered(&world, "EV_a", "c", "a.example").await;
    delivered(&world, "EV_b", "c", "b.example").await;
    let own = Client::tenant(&world, "a.example", &["a.example"]);
    for (theirs, none) in [
        ("/v1/events/EV_b/resend", "/v1/events/EV_none/resend"),
        ("/v1/calls/RM_x/resend", "/v1/calls/RM_none/resend"),
    ] {
        let told = [own.post(theirs, &Value::Null).await, own.post(none, &Value::Null).await];
        assert_eq!(told[0].status, 404);
        assert_eq!(told[0].body, told[1].body);
    }
    let of_other = own.post("/v1/replays", &json!({ "delivered": true, "tenant": "b.example" })).await;
    assert_eq!((of_other.status, &of_other.body["matched"]), (200, &json!(0)));
    let of_call = own.post("/v1/calls/RM_c/resend", &Value::Null).await;
    assert_eq!((of_call.status, &of_call.body["replayed"]), (200, &json!(1)));
    let received = tenant.wait_for(2).await;
    assert_eq!((received[1].id(), other.count()), ("EV_a", 1));
    let audit = own.get("/v1/audit").await.body;
    let last = ["action", "actor"].map(|key| &audit["entries"][0][key]);
    assert_eq!(last, [&json!("events.resend"), &json!("a.example")]);
    // The record of both tenants' events is nobody's: it does not name their room.
    is(&world, "EV_a", "delivered").await;
    assert_eq!(world.api_post("/v1/calls/RM_c/resend").await.1["replayed"], json!(2));
    let audit = world.api("/v1/audit").await.1;
    let last = ["action", "target", "tenant"].map(|key| &audit["entries"][0][key]);
    assert_eq!(last, [&json!("events.resend"), &json!("2 events of a shared call"), &Value::Null]);
}

/// Altered after it was asked for: found when its turn comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_altered_while_it_waits_becomes_a_dead_letter_that_says_so() {
    let tenant = Tenant::open().await;
    let world = world(&[keeping("a.example", &tenant)]).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    assert_eq!(world.api_post("/v1/hooks/a.example/pause").await.0, 200);
    assert_eq!(resent(&world, "EV_1").await, 1);
    store(&world).execute("UPDATE kept_bodies SET body = zeroblob(99)", []).expect("altered");
    assert_eq!(world.api_post("/v1/hooks/a.example/resume").await.0, 200);
    let story = is(&world, "EV_1", "dead").await;
    assert_eq!((&story["reason"], tenant.count()), (&json!("damaged"), 1));
    world.measures("dead_letters_total{reason=\"damaged\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_long_when_it_is_sent_again_is_a_dead_letter_with_its_body() {
    let tenant = Tenant::open().await;
    let keys = ", keep: 1h, retry: {initial: 10m, max_age: 1m}";
    let world = world(&[hook("a.example", &tenant, keys)]).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    let replies = [Reply::Status(500), Reply::Status(500)];
    replies.into_iter().for_each(|reply| tenant.reply(reply));
    assert_eq!(resent(&world, "EV_1").await, 1);
    world.story("EV_1", |story| story["tries"] == 2).await;
    let story = world.story_later(Duration::from_secs(60), "EV_1", |story| story["state"] == "dead").await;
    assert_eq!(story["attempts"].as_array().expect("attempts").len(), 3, "{story:#}");
    let (_, refused) = world.api_post("/v1/events/EV_1/resend").await;
    let detail = refused["detail"].as_str().expect("why");
    assert!(detail.contains("`switchhook replay ID`, POST /v1/deliveries/{id}/replay"), "{detail}");
    // Its body stays with it.
    for _ in 0..48 {
        world.clock.advance(HOUR);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.api_post("/v1/deliveries/EV_1/replay").await.1["replayed"], 1);
    let received = tenant.wait_for(4).await;
    assert_eq!(told(&received[0]), told(&received[3]));
    // If the time moved before the answer is there, the attempt would time out.
    world.story("EV_1", |story| story["state"] == "delivered").await;
    world.advance_until(Duration::from_secs(20), || kept(&world).is_empty()).await;
}
