//! Who is let in, and how far.

use reqwest::Method;
use serde_json::{Value, json};

use crate::spec::world::{Tenant, World, joined, sign, table};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_accepted_is_told_why() {
    let world = World::with(&[]).await;
    let admin = json!({ "scope": "admin" });
    let and = |more: Value| {
        let mut claims = admin.clone();
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("claims").clone());
        world.token_with(&claims)
    };
    let forged = sign(
        &json!({ "aud": "switchhook", "scope": "admin", "jti": "x", "exp": 4_000_000_000_i64 }),
        "guess",
    );
    let cases = [
        (String::new(), "missing_authorization"),
        ("nonsense".to_owned(), "malformed_token"),
        (forged, "bad_signature"),
        (and(json!({ "aud": "livekit" })), "wrong_audience"),
        (and(json!({ "exp": 1 })), "expired"),
        (and(json!({ "nbf": 4_000_000_000_i64 })), "not_yet_valid"),
        (and(json!({ "sub": "acme" })), "malformed_token"),
        (world.token_with(&json!({ "sub": "ACME" })), "malformed_token"),
    ];
    for path in ["/metrics", "/v1/calls", "/v1/events/EV_1", "/v1/tenants/acme/secret", "/v1/replays"] {
        for (token, reason) in &cases {
            let method = if path == "/v1/replays" { Method::POST } else { Method::GET };
            let refused = world.reach(method, path, token, &Value::Null).await;
            let problem = refused.json();
            assert_eq!(
                (refused.status, problem["reason"].as_str()),
                (401, Some(*reason)),
                "{path} {problem}"
            );
            assert_eq!(problem["type"], "/problems/unauthorized");
            assert!(refused.header("www-authenticate").starts_with("Bearer"), "{path}");
            assert_eq!(refused.header("content-type"), "application/problem+json");
        }
    }
    assert_eq!(world.reads("/v1/calls", &and(json!({}))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_more_than_one_tenant_needs_an_operators_token() {
    let world = World::with(&[]).await;
    let token = world.tenant_token("acme", &["*.acme.example"]);
    let metrics = world.reads("/metrics", &token).await;
    let unrouted = json!({ "unrouted": true, "dry_run": true });
    let replay = world.reach(Method::POST, "/v1/replays", &token, &unrouted).await;
    for refused in [metrics, replay] {
        assert_eq!((refused.status, &refused.json()["type"]), (403, &json!("/problems/scope-too-small")));
    }
    for path in ["/v1/calls", "/v1/unrouted", "/v1/deliveries"] {
        assert_eq!(world.reads(path, &token).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_speak_to_any_router_with_any_token() {
    let tenant = Tenant::open().await;
    let world = World::at(switchhook::Clock::system(), &table(&[("a.example", &tenant)]), &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "delivered").await;
    let switchhook = async |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"));
        command.args(args).env_clear().envs(environment.iter().copied()).current_dir(world.path("."));
        let output = command.stdin(std::process::Stdio::null()).output().await.expect("switchhook");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let url = world.api_url("");
    let [own, other] = ["a.example", "b.example"].map(|tenant| world.tenant_token(tenant, &[]));
    let (code, out, err) = switchhook(&["calls", "--url", &url, "--token", &own], &[]).await;
    assert!(code == Some(0) && out.contains("RM_c"), "{out}{err}");
    let environment = [("SWITCHHOOK_URL", &*url), ("SWITCHHOOK_TOKEN", &*other)];
    let (code, _, err) = switchhook(&["events", "EV_1"], &environment).await;
    assert!(code == Some(1) && err.contains("the router says 404 Not Found: No event with this id"), "{err}");
    // The operator's token of this machine is not shown to another one.
    let (code, _, err) = switchhook(&["calls", "--url", &url, "--data", "data"], &[]).await;
    assert!(code == Some(2) && err.contains("--url needs a token"), "{err}");
}
