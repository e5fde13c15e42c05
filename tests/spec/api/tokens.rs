//! Who is let in, and how far.

use reqwest::Method;
use serde_json::{Value, json};

use crate::spec::world::{Client, Tenant, World, joined, searched, sign, table};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_accepted_is_told_why() {
    let world = World::with(&[]).await;
    let and = |more: Value| {
        let mut claims = json!({ "scope": "admin" });
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("claims").clone());
        Client::with_claims(&world, &claims)
    };
    let claims = json!({ "aud": "switchhook", "scope": "admin", "jti": "x", "exp": 4_000_000_000_i64 });
    let cases = [
        (Client::with_token(&world, String::new()), "missing_authorization"),
        (Client::with_token(&world, "nonsense".to_owned()), "malformed_token"),
        (Client::with_token(&world, sign(&claims, "guess")), "bad_signature"),
        (and(json!({ "aud": "livekit" })), "wrong_audience"),
        (and(json!({ "exp": 1 })), "expired"),
        (and(json!({ "nbf": 4_000_000_000_i64 })), "not_yet_valid"),
        (and(json!({ "sub": "acme" })), "malformed_token"),
        (Client::with_claims(&world, &json!({ "sub": "ACME" })), "malformed_token"),
    ];
    // Not more: who sends many wrong tokens is told less.
    for path in ["/v1/calls", "/v1/replays"] {
        for (client, reason) in &cases {
            let method = if path == "/v1/replays" { Method::POST } else { Method::GET };
            let refused = client.ask(method, path, &[], &Value::Null).await;
            assert_eq!(refused.refused(), (401, "unauthorized"), "{path}");
            assert_eq!(refused.body["reason"], *reason, "{path}");
            assert_eq!(refused.headers["www-authenticate"], "Bearer", "{path}");
            assert_eq!(refused.headers["content-type"], "application/problem+json");
        }
    }
    assert_eq!(and(json!({})).get("/v1/calls").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_more_than_one_tenant_needs_an_operators_token() {
    let world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["*.acme.example"]);
    let unrouted = json!({ "unrouted": true, "dry_run": true });
    for refused in [acme.get("/metrics").await, acme.post("/v1/replays", &unrouted).await] {
        assert_eq!(refused.refused(), (403, "scope-too-small"));
    }
    for path in ["/v1/calls", "/v1/unrouted", "/v1/deliveries"] {
        assert_eq!(acme.get(path).await.status, 200, "{path}");
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
        let output = searched(args, output);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let url = world.api_url("");
    let [own, other] = ["a.example", "b.example"].map(|tenant| Client::tenant(&world, tenant, &[]).token);
    let (code, out, err) = switchhook(&["calls", "--url", &url, "--token", &own], &[]).await;
    assert!(code == Some(0) && out.contains("RM_c"), "{out}{err}");
    let environment = [("SWITCHHOOK_URL", &*url), ("SWITCHHOOK_TOKEN", &*other)];
    let (code, _, err) = switchhook(&["events", "EV_1"], &environment).await;
    assert!(code == Some(1) && err.contains("the router says 404 Not Found: No event with this id"), "{err}");
    // The operator's token of this machine is not shown to another one.
    let (code, _, err) = switchhook(&["calls", "--url", &url, "--data", "data"], &[]).await;
    assert!(code == Some(2) && err.contains("a URL that is given needs a token"), "{err}");
}
