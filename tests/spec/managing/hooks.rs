//! Tenants register their hooks while calls run.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::spec::world::{Client, Process, Reply, Tenant, World, event, joined, table};

fn hook(tenant: &Tenant) -> Value {
    json!({ "url": tenant.url() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_in_force_for_the_next_event_when_the_answer_arrives() {
    let (first, second) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let put = acme.put("/v1/hooks/calls.acme.example", &hook(&first)).await;
    assert_eq!((put.status, &put.body["tenant"], &put.body["layer"]), (201, &json!("acme"), &json!("api")));
    assert!(
        put.body["secrets"][0].as_str().is_some_and(|secret| secret.starts_with("whsec_")),
        "{}",
        put.body
    );
    world.post(&joined("EV_1", "c1", "calls.acme.example")).await;
    first.wait_for(1).await;
    assert_eq!(first.received()[0].header("switchhook-tenant"), "acme");

    // The same again changes nothing, and shows no secret again.
    let again = acme.put("/v1/hooks/calls.acme.example", &hook(&first)).await;
    assert_eq!((again.status, &again.body["version"]), (200, &put.body["version"]));
    assert!(again.body["secrets"].is_null(), "{}", again.body);

    let moved = acme.put("/v1/hooks/calls.acme.example", &hook(&second)).await;
    assert_eq!(moved.status, 200);
    assert_ne!(moved.etag(), put.etag());
    world.post(&joined("EV_2", "c2", "calls.acme.example")).await;
    second.wait_for(1).await;

    // It outlives a restart.
    world.stop().await;
    world.start().await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let got = acme.get("/v1/hooks/calls.acme.example").await;
    assert_eq!((got.status, got.etag()), (200, moved.etag()));
    world.post(&joined("EV_3", "c3", "calls.acme.example")).await;
    second.wait_for(2).await;

    // Calls in progress keep their hook's URL also after it is gone; new ones have none.
    assert_eq!(acme.delete("/v1/hooks/calls.acme.example").await.status, 204);
    assert_eq!(acme.get("/v1/hooks/calls.acme.example").await.status, 404);
    world.post(&joined("EV_4", "c3", "calls.acme.example")).await;
    world.post(&joined("EV_5", "c5", "calls.acme.example")).await;
    let story = world.story("EV_5", |story| story["state"] == "unrouted").await;
    assert_eq!(story["reason"], "no_hook");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_at_creation_and_rotation_and_never_again() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let put = acme.put("/v1/hooks/calls.acme.example", &hook(&tenant)).await;
    let created = put.body["secrets"][0].as_str().expect("a secret").to_owned();
    let got = acme.get("/v1/hooks/calls.acme.example").await;
    assert!(!got.body.to_string().contains("whsec_"), "{}", got.body);
    let listed = acme.get("/v1/hooks").await;
    assert!(!listed.body.to_string().contains("whsec_"), "{}", listed.body);
    let rotated = acme.post("/v1/hooks/calls.acme.example/rotate", &Value::Null).await;
    let renewed = rotated.body["secrets"][0].as_str().expect("a secret");
    assert_eq!(rotated.status, 200);
    assert_ne!(renewed, created);
    // Both sign for a day.
    world.post(&joined("EV_1", "c1", "calls.acme.example")).await;
    tenant.wait_for(1).await;
    assert_eq!(tenant.received()[0].header("webhook-signature").split(' ').count(), 2);
    let soon = acme.post("/v1/hooks/calls.acme.example/rotate", &Value::Null).await;
    assert_eq!(soon.refused(), (409, "renewed-already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_has_the_last_word_on_its_hosts() {
    let (file, api) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[("calls.acme.example", &file)]).await;
    let operator = Client::operator(&world);
    for method in [Method::PUT, Method::DELETE] {
        let body = if method == Method::PUT { hook(&api) } else { Value::Null };
        let refused = operator.ask(method, "/v1/hooks/calls.acme.example", &[], &body).await;
        assert_eq!(refused.refused(), (409, "of-file"), "{}", refused.body);
    }
    // A host that the file gains later shadows the API's hook, which comes back when the file lets it go.
    assert_eq!(operator.put("/v1/hooks/voice.acme.example", &hook(&api)).await.status, 201);
    world.arrives("voice.acme.example", &api).await;
    world.hooks(&table(&[("calls.acme.example", &file), ("voice.acme.example", &file)]));
    world.arrives("voice.acme.example", &file).await;
    let listed = operator.get("/v1/hooks?layer=api").await;
    assert_eq!(listed.body["hooks"][0]["shadowed"], true, "{}", listed.body);
    world.hooks(&table(&[("calls.acme.example", &file)]));
    world.arrives("voice.acme.example", &api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_two_clients_do_not_overwrite_each_other() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let path = "/v1/hooks/calls.acme.example";
    let first = acme.put(path, &hook(&tenant)).await;
    let with = |timeout: &str| json!({ "url": tenant.url(), "timeout": timeout });
    let matching = |etag: String| [("if-match", etag)];
    let edit = async |etag: String, body: Value| {
        let headers = matching(etag);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        acme.ask(Method::PUT, path, &headers, &body).await
    };
    let second = edit(first.etag(), with("3s")).await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert_eq!(edit(first.etag(), with("4s")).await.refused(), (412, "stale"));
    assert_eq!(acme.get(path).await.body["timeout"], "3s");
    let create = acme.ask(Method::PUT, path, &[("if-none-match", "*")], &with("5s")).await;
    assert_eq!(create.refused(), (412, "stale"));
    let gone = acme.ask(Method::DELETE, path, &[("if-match", &first.etag())], &Value::Null).await;
    assert_eq!(gone.refused(), (412, "stale"));
    let gone = acme.ask(Method::DELETE, path, &[("if-match", &second.etag())], &Value::Null).await;
    assert_eq!(gone.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_over_the_api_outlives_a_restart_and_keeps_what_comes() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    acme.put("/v1/hooks/calls.acme.example", &hook(&tenant)).await;
    let paused = acme.post("/v1/hooks/calls.acme.example/pause", &Value::Null).await;
    assert_eq!((paused.status, &paused.body["paused_by"]), (200, &json!("api")), "{}", paused.body);
    world.stop().await;
    world.start().await;
    world.post(&joined("EV_1", "c1", "calls.acme.example")).await;
    world.story("EV_1", |story| story["state"] == "pending" && !story["paused_since"].is_null()).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let resumed = acme.post("/v1/hooks/calls.acme.example/resume", &Value::Null).await;
    assert_eq!((resumed.status, &resumed.body["paused_by"]), (200, &Value::Null), "{}", resumed.body);
    tenant.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn now_moves_calls_in_progress_or_cuts_them_off() {
    let (first, second) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    acme.put("/v1/hooks/calls.acme.example", &hook(&first)).await;
    world.post(&joined("EV_1", "c1", "calls.acme.example")).await;
    first.wait_for(1).await;
    acme.put("/v1/hooks/calls.acme.example", &hook(&second)).await;
    world.post(&event("EV_2", "track_published", "c1")).await;
    first.wait_for(2).await;
    acme.put("/v1/hooks/calls.acme.example?now=true", &hook(&second)).await;
    world.post(&event("EV_3", "track_published", "c1")).await;
    second.wait_for(1).await;
    assert_eq!(acme.delete("/v1/hooks/calls.acme.example?now=true").await.status, 204);
    world.post(&event("EV_4", "track_published", "c1")).await;
    let story = world.story("EV_4", |story| story["state"] == "unrouted").await;
    assert_eq!(story["reason"], "hook_removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_hook_is_named_with_its_field_and_how_to_mend_it() {
    let world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let faulty = json!({
        "url": "not a url", "timeout": 5, "retry": { "factor": 99 }, "colour": "red",
        "secret": "${SWITCHHOOK_MASTER_SECRET}",
    });
    let refused = acme.put("/v1/hooks/calls.acme.example", &faulty).await;
    assert_eq!(refused.refused(), (422, "invalid"), "{}", refused.body);
    let errors = refused.body["errors"].as_array().expect("errors");
    let mut fields: Vec<_> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["colour", "retry.factor", "secret", "timeout", "url"], "{}", refused.body);
    assert_eq!(acme.get("/v1/hooks/calls.acme.example").await.status, 404);
    let no_host = acme.put("/v1/hooks/calls%20acme", &json!({ "url": "https://a.example" })).await;
    assert_eq!(no_host.status, 422, "{}", no_host.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_sends_a_marked_event_or_a_whole_call_in_order_and_tells_each_answer() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    acme.put("/v1/hooks/calls.acme.example", &hook(&tenant)).await;
    let one = acme.post("/v1/hooks/calls.acme.example/test", &json!({})).await;
    assert_eq!(one.status, 200, "{}", one.body);
    assert_eq!(one.body["events"][0]["status"], 200, "{}", one.body);
    let call = acme.post("/v1/hooks/calls.acme.example/test", &json!({ "call": "recorded" })).await;
    let events = call.body["events"].as_array().expect("events");
    assert_eq!(events.len(), 16, "{}", call.body);
    let received = tenant.received();
    assert_eq!(received.len(), 17);
    for (told, came) in events.iter().zip(&received[1..]) {
        assert_eq!(came.header("switchhook-test"), "true");
        assert_eq!(came.header("switchhook-event"), told["event"].as_str().expect("a name"));
        assert_eq!(came.header("webhook-id"), told["id"].as_str().expect("an id"));
    }
    let unknown = acme.post("/v1/hooks/calls.acme.example/test", &json!({ "call": "dropped" })).await;
    assert_eq!(unknown.status, 422, "{}", unknown.body);
    for _ in 0..4 {
        acme.post("/v1/hooks/calls.acme.example/test", &json!({})).await;
    }
    let seventh = acme.post("/v1/hooks/calls.acme.example/test", &json!({})).await;
    assert_eq!(seventh.refused(), (429, "too-many-requests"), "{}", seventh.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_kill_9() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[]).await;
    world.stop().await;
    let path = "/v1/hooks/calls.acme.example";
    for round in 1..=5 {
        let process = Process::start(&world);
        let operator = Client::of_process(&world, &process);
        let url = format!("{}/{round}", tenant.url());
        let put = operator.put(path, &json!({ "url": url })).await;
        // Dropped at once: killed.
        drop(process);
        assert_eq!(put.status, if round == 1 { 201 } else { 200 }, "{}", put.body);
        let process = Process::start(&world);
        let got = Client::of_process(&world, &process).get(path).await;
        assert_eq!((got.status, &got.body["url"], got.etag()), (200, &json!(url), put.etag()));
        process.post(joined(&format!("EV_{round}"), &format!("c{round}"), "calls.acme.example")).await;
        tenant.wait_for(round).await;
    }
    let process = Process::start(&world);
    assert_eq!(Client::of_process(&world, &process).delete(path).await.status, 204);
    drop(process);
    let process = Process::start(&world);
    let operator = Client::of_process(&world, &process);
    assert_eq!(operator.get(path).await.status, 404);
    let audit = operator.get("/v1/audit").await;
    let actions: Vec<_> = audit.body["entries"].as_array().expect("entries").iter().rev().collect();
    let actions: Vec<_> = actions.iter().map(|entry| entry["action"].as_str().expect("text")).collect();
    assert_eq!(actions, ["hook.put", "hook.put", "hook.put", "hook.put", "hook.put", "hook.delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_hook_that_cannot_be_read_is_delivered_once_it_is_written_again() {
    let tenant = Tenant::answering([Reply::Status(500)]).await;
    let mut world = World::with_moved_time(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    assert_eq!(acme.put("/v1/hooks/calls.acme.example", &hook(&tenant)).await.status, 201);
    world.post(&joined("EV_1", "c1", "calls.acme.example")).await;
    tenant.wait_for(1).await;
    world.stop().await;
    let store = rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the store");
    store.execute("UPDATE hooks SET kept = zeroblob(40) WHERE layer = 'api'", []).expect("altered");
    drop(store);
    world.start().await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    assert_eq!(acme.get("/v1/hooks/calls.acme.example").await.status, 404);
    // The dispatcher has looked for the hook, again and again.
    for _ in 0..5 {
        world.stand_still().await;
        world.clock.advance(Duration::from_secs(15));
    }
    let again = acme.put("/v1/hooks/calls.acme.example", &hook(&tenant)).await;
    assert_eq!(again.status, 200, "it was there before: {}", again.body);
    world.advance_until(Duration::from_secs(1), || tenant.count() > 1).await;
    assert_eq!(tenant.received()[1].header("webhook-id"), "EV_1");
}
