//! A tenant sees and changes its own things, and no difference between another's and what does not exist.

use reqwest::Method;
use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{Client, Reply, Tenant, World, event, joined, table};

/// A caller's event of this participant.
fn caller(id: &str, call: &str, participant: &str, domain: &str) -> String {
    joined(id, call, domain).replace(&format!("PA_{id}"), participant)
}

/// A call of a's, one of b's that was given up, one of both, and one of nobody's.
async fn with_two_tenants() -> (World, [Tenant; 2]) {
    let tenants = [Tenant::open().await, Tenant::answering(vec![Reply::Status(500); 50]).await];
    let hooks = table(&[("a.example", &tenants[0]), ("b.example", &tenants[1])]);
    let retry = "defaults: {retry: {initial: 10ms, max_age: 1s}}\n";
    let world = World::at(Clock::system(), &format!("{retry}{hooks}"), &["--hold", "200ms"]).await;
    for body in [
        caller("EV_a", "a", "PA_a", "a.example"),
        caller("EV_b", "b", "PA_b", "b.example"),
        caller("EV_s1", "s", "PA_s1", "a.example"),
        caller("EV_s2", "s", "PA_s2", "b.example"),
        caller("EV_u", "u", "PA_u", "typo.b.example"),
        event("EV_v", "room_finished", "u"),
    ] {
        assert_eq!(world.post(&body).await.status, 200);
    }
    for (id, state) in [("EV_a", "delivered"), ("EV_b", "dead"), ("EV_s2", "dead"), ("EV_v", "unrouted")] {
        world.story(id, |story| story["state"] == state).await;
    }
    (world, tenants)
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_things_are_answered_as_what_does_not_exist() {
    let (world, _tenants) = with_two_tenants().await;
    let tenant = Client::tenant(&world, "a.example", &["a.example", "*.a.example"]);
    let operator = Client::operator(&world);
    let pairs = [
        (Method::GET, "/v1/events/EV_b", "/v1/events/EV_none"),
        (Method::GET, "/v1/events/EV_s2", "/v1/events/EV_none"),
        (Method::GET, "/v1/events/EV_u", "/v1/events/EV_none"),
        (Method::GET, "/v1/events/EV_v", "/v1/events/EV_none"),
        (Method::GET, "/v1/deliveries/EV_b", "/v1/deliveries/EV_none"),
        (Method::POST, "/v1/deliveries/EV_b/replay", "/v1/deliveries/EV_none/replay"),
        (Method::GET, "/v1/calls/RM_b", "/v1/calls/RM_none"),
        (Method::GET, "/v1/calls/b", "/v1/calls/none"),
        (Method::GET, "/v1/calls/RM_u", "/v1/calls/RM_none"),
        (Method::POST, "/v1/hooks/b.example/resume", "/v1/hooks/none.example/resume"),
        (Method::POST, "/v1/tenants/b.example/rotate", "/v1/tenants/none/rotate"),
    ];
    for (method, theirs, none) in pairs {
        let theirs_told = tenant.ask(method.clone(), theirs, &[], &Value::Null).await;
        let none_told = tenant.ask(method.clone(), none, &[], &Value::Null).await;
        assert_eq!((theirs_told.status, none_told.status), (404, 404), "{theirs}");
        assert_eq!(theirs_told.body, none_told.body, "{theirs}");
        let exists = operator.ask(Method::GET, &theirs.replace("/replay", ""), &[], &Value::Null).await;
        assert_ne!(exists.status, 404, "{theirs}");
    }
    // Operators alone are shown secrets, and all others are told the same of every tenant, also of their own.
    let told = tenant.get("/v1/tenants/none/secret").await;
    assert_eq!(told.refused(), (403, "scope-too-small"), "{}", told.body);
    for theirs in ["b.example", "a.example"] {
        let answered = tenant.get(&format!("/v1/tenants/{theirs}/secret")).await;
        assert_eq!((answered.status, answered.body), (403, told.body.clone()), "{theirs}");
    }
    for filter in [json!({ "id": "EV_b" }), json!({ "tenant": "b.example" }), json!({})] {
        let replayed = tenant.post("/v1/replays", &filter).await;
        let told = json!({ "matched": 0, "replayed": 0, "without_hook": 0, "dry_run": false, "next": null });
        assert_eq!((replayed.status, replayed.body), (200, told), "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_a_tenants_own_and_of_a_shared_call_its_part() {
    let (world, _tenants) = with_two_tenants().await;
    let clients =
        ["a.example", "b.example"].map(|host| Client::tenant(&world, host, &[host, &format!("*.{host}")]));
    let listed = async |path: &str, list: &str, key: &str, client: &Client| {
        let told = client.get(path).await.body;
        let names = told[list].as_array().unwrap_or_else(|| panic!("{path}: {told}")).iter();
        let mut names: Vec<_> = names.map(|one| one[key].as_str().unwrap_or("-").to_owned()).collect();
        names.sort();
        names
    };
    for path in ["/v1/calls", "/v1/calls?all=true"] {
        assert_eq!(listed(path, "calls", "call", &clients[0]).await, ["RM_a", "RM_s"], "{path}");
        assert_eq!(listed(path, "calls", "call", &clients[1]).await, ["RM_b", "RM_s"], "{path}");
    }
    assert_eq!(listed("/v1/calls?tenant=b.example", "calls", "call", &clients[0]).await, [""; 0]);
    assert_eq!(listed("/v1/deliveries?state=dead", "deliveries", "id", &clients[0]).await, [""; 0]);
    assert_eq!(listed("/v1/deliveries?state=dead", "deliveries", "id", &clients[1]).await, ["EV_b", "EV_s2"]);
    assert_eq!(listed("/v1/unrouted", "unrouted", "domain", &clients[0]).await, [""; 0]);
    assert_eq!(listed("/v1/unrouted", "unrouted", "domain", &clients[1]).await, ["typo.b.example"]);
    for (client, host, own) in [(&clients[0], "a.example", "EV_s1"), (&clients[1], "b.example", "EV_s2")] {
        let told = client.get("/v1/calls/RM_s").await.body;
        let call = &told["call"];
        assert_eq!((&call["tenant"], &call["host"]), (&json!(host), &json!(host)), "{told}");
        assert_eq!((&call["shared"], &call["strangers"]), (&json!(true), &json!(0)), "{told}");
        assert_eq!(listed("/v1/calls/RM_s", "events", "id", client).await, [own]);
    }
    // An event that no hook has is seen by whoever may register the domain it dialled.
    assert_eq!(clients[1].get("/v1/events/EV_u").await.body["domain"], "typo.b.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_name_a_tenants_own_hosts_only() {
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let hooks = [("calls.acme.example", &one), ("calls.acne.example", &two)];
    let world = World::with(&hooks).await;
    assert_eq!(world.post(&joined("EV_1", "c", "calls.acmee.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "unrouted").await;
    let nearest =
        async |client: &Client| client.get("/v1/unrouted").await.body["unrouted"][0]["nearest"].clone();
    let acne = Client::tenant(&world, "calls.acne.example", &["*.example"]);
    let operator = Client::operator(&world);
    assert_eq!(nearest(&acne).await, json!(["calls.acne.example"]));
    let all = json!(["calls.acme.example", "calls.acne.example"]);
    assert_eq!(nearest(&operator).await, all);
    // By now it has a hook, but another's.
    world.hooks(&table(&[hooks[0], hooks[1], ("calls.acmee.example", &one)]));
    world.reloaded(1).await;
    let told =
        async |client: &Client| client.get("/v1/unrouted").await.body["unrouted"][0]["fix"].to_string();
    assert!(told(&operator).await.contains("It has a hook by now"));
    let own = told(&acne).await;
    assert!(!own.contains("by now") && !own.contains("acmee.example ("), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_numbers_are_told_to_those_whose_they_are() {
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[("a.example", &one), ("b.example", &two)]).await;
    let dialled = |id: &str, domain: &str, number: &str| {
        let mut body: Value = serde_json::from_str(&joined(id, id, domain)).expect("JSON");
        body["participant"]["attributes"]["sip.trunkPhoneNumber"] = number.into();
        body.to_string()
    };
    for (id, domain, number) in [
        ("EV_1", "a.example", "1"),
        ("EV_2", "b.example", "1"),
        ("EV_3", "a.example", "2"),
        ("EV_4", "typo.a.example", "2"),
        ("EV_5", "a.example", "3"),
        ("EV_6", "typo.b.example", "3"),
    ] {
        assert_eq!(world.post(&dialled(id, domain, number)).await.status, 200);
    }
    let numbers = async |client: Client| {
        let told = client.get("/v1/calls").await.body;
        let changes = told["domain_changes"].as_array().expect("a list").clone();
        let mut numbers: Vec<_> = changes.iter().map(|change| change["number"].to_string()).collect();
        numbers.sort();
        numbers
    };
    let client = |tenant: &str| Client::tenant(&world, tenant, &[tenant, &format!("*.{tenant}")]);
    assert_eq!(numbers(Client::operator(&world)).await, ["\"1\"", "\"2\"", "\"3\""]);
    assert_eq!(numbers(client("a.example")).await, ["\"2\""]);
    assert_eq!(numbers(client("b.example")).await, [""; 0]);
}
