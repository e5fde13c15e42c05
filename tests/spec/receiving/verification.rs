//! Who may post.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use livekit_api::access_token::AccessToken;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::spec::world::{KEY, SECRET, Tenant, World, joined, judge, livekit_token, sign};

const BODY: &str = r#"{"event":"room_started","id":"EV_verified"}"#;

fn hash(body: &str) -> String {
    STANDARD.encode(Sha256::digest(body))
}

/// A token of these claims under another header.
fn with_header(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode("signature"))
}

/// The claims with one changed.
fn but(claims: &Value, key: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[key] = value;
    changed
}

/// What is wrong with a token, the token, and the reason it is refused for.
fn refused(claims: &Value, now: i64) -> Vec<(&'static str, String, &'static str)> {
    let without = |key: &str| {
        let mut changed = claims.clone();
        changed.as_object_mut().expect("claims").remove(key);
        changed
    };
    let hs512 = {
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS512);
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&header, claims, &key).expect("a token")
    };
    vec![
        ("no token at all", "not a token".to_owned(), "malformed_token"),
        ("two parts", "a.b".to_owned(), "malformed_token"),
        ("algorithm none", with_header(&json!({ "alg": "none", "typ": "JWT" }), claims), "malformed_token"),
        ("algorithm HS512", hs512, "malformed_token"),
        ("algorithm RS256", with_header(&json!({ "alg": "RS256", "typ": "JWT" }), claims), "malformed_token"),
        ("too large", sign(&but(claims, "x", json!("y".repeat(4096))), SECRET), "malformed_token"),
        ("large claims", sign(&but(claims, "x", json!("y".repeat(1024))), SECRET), "malformed_token"),
        ("unknown key", sign(&but(claims, "iss", json!("APIother")), SECRET), "unknown_key"),
        ("no key", sign(&without("iss"), SECRET), "malformed_token"),
        ("wrong secret", sign(claims, "wrong"), "bad_signature"),
        ("expired", sign(&but(claims, "exp", json!(now - 61)), SECRET), "expired"),
        ("not yet valid", sign(&but(claims, "nbf", json!(now + 65)), SECRET), "not_yet_valid"),
        ("no expiry", sign(&without("exp"), SECRET), "malformed_token"),
        (
            "expiry as text",
            sign(&but(claims, "exp", json!((now + 300).to_string())), SECRET),
            "malformed_token",
        ),
        ("begin as text", sign(&but(claims, "nbf", json!(now.to_string())), SECRET), "malformed_token"),
        ("no hash", sign(&without("sha256"), SECRET), "body_mismatch"),
        ("another body's token", livekit_token("{}", now), "body_mismatch"),
        ("hash in hex", sign(&but(claims, "sha256", json!("00".repeat(32))), SECRET), "body_mismatch"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_own_reason() {
    let world = World::with(&[]).await;
    let now = world.clock.unix().seconds();
    let claims = json!({ "iss": KEY, "nbf": now, "iat": now, "exp": now + 300, "sha256": hash(BODY) });
    for (what, token, reason) in refused(&claims, now) {
        let answer = world.post_signed(BODY, &token).await;
        assert_eq!((answer.status, answer.reason.as_str()), (401, reason), "{what}: {}", answer.body);
    }
    let altered = BODY.replace("room_started", "room_finished");
    assert_eq!(world.post_signed(&altered, &livekit_token(BODY, now)).await.reason, "body_mismatch");
    let missing = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = missing.post(world.url("/webhook")).body(BODY).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["reason"], "missing_authorization");
    assert_eq!(problem["status"], 401);

    // Within a minute of its time a token is good, and with `Bearer` in front, too.
    for (claim, time) in [("exp", now - 50), ("nbf", now + 50)] {
        let token = sign(&but(&claims, claim, json!(time)), SECRET);
        assert_eq!(world.post_signed(BODY, &token).await.status, 200);
    }
    let token = livekit_token(BODY, now);
    assert_eq!(world.post_signed(BODY, &format!("Bearer {token}")).await.status, 200);
    // Whatever else its head says.
    let named = jsonwebtoken::Header { kid: Some("x".into()), ..jsonwebtoken::Header::default() };
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&named, &claims, &key).expect("a token");
    assert_eq!(world.post_signed(BODY, &token).await.status, 200);
    let (_, metrics) = world.api("/metrics").await;
    let metrics = metrics.as_str().expect("text");
    assert!(metrics.contains("switchhook_events_rejected_total{reason=\"malformed_token\"} 11"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_livekits_official_sdks_sign_is_accepted() {
    let world = World::with(&[]).await;
    let bodies: Vec<_> =
        (0..5).map(|n| joined(&format!("EV_py{n}"), &format!("c{n}"), "ü.example")).collect();
    let lines =
        bodies.iter().map(|body| json!({ "key": KEY, "secret": SECRET, "body": body }).to_string() + "\n");
    let tokens = judge("python", "livekit_sign.py", &lines.collect::<String>()).await;
    for (body, token) in bodies.iter().zip(tokens.lines()) {
        assert_eq!(world.post_signed(body, token).await.status, 200);
        let altered = body.replace("SDR_x", "SDR_y");
        assert_eq!(world.post_signed(&altered, token).await.reason, "body_mismatch");
    }
    let body = joined("EV_rust", "c", "a.example");
    let token = AccessToken::with_api_key(KEY, SECRET).with_sha256(&hash(&body)).to_jwt().expect("a token");
    assert_eq!(world.post_signed(&body, &token).await.status, 200);
    let foreign = AccessToken::with_api_key(KEY, "another secret").with_sha256(&hash(&body)).to_jwt();
    let answer = world.post_signed(&body, &foreign.expect("a token")).await;
    assert_eq!(answer.reason, "bad_signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_keys_hold_at_once_and_the_keys_file_is_reloaded() {
    let world = World::with(&[]).await;
    let now = world.clock.unix().seconds();
    let token = |key: &str, secret: &str| {
        sign(&json!({ "iss": key, "exp": now + 300, "nbf": now, "sha256": hash(BODY) }), secret)
    };
    let (old, new) = (token(KEY, SECRET), token("APInew", "another-secret"));
    assert_eq!(world.post_signed(BODY, &new).await.reason, "unknown_key");
    std::fs::write(world.path("keys.yaml"), format!("{KEY}: {SECRET}\nAPInew: another-secret\n"))
        .expect("keys");
    while world.post_signed(BODY, &new).await.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(world.post_signed(BODY, &old).await.status, 200);
    // A faulty file changes nothing; an editor's rename is seen.
    std::fs::write(world.path("keys.yaml"), "APInew: [\n").expect("keys");
    world.logs(&["keys file is faulty", &world.path("keys.yaml").display().to_string()]).await;
    std::fs::write(world.path("keys.new"), "APInew: another-secret\n").expect("keys");
    assert_eq!(world.post_signed(BODY, &old).await.status, 200);
    std::fs::rename(world.path("keys.new"), world.path("keys.yaml")).expect("rename");
    while world.post_signed(BODY, &old).await.reason != "unknown_key" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(world.post_signed(BODY, &new).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_refused_post_is_not_waited_for() {
    let world = World::with(&[]).await;
    let forged = sign(&json!({ "iss": KEY }), "not its secret");
    for (path, token, status) in
        [("/webhook", forged, "401"), ("/webhook/livekit/nobody", String::new(), "404")]
    {
        let mut stream = world.connect().await.expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: 1000000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_4xx_than_401_404_405_and_413_is_answered() {
    let world = World::with(&[]).await;
    let large = format!(r#"{{"id":"EV_large","x":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(world.post(&large).await.status, 413);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let got = client.get(world.url("/webhook")).send().await.expect("an answer");
    assert_eq!(got.status(), 405);
    let elsewhere = client.post(world.url("/webhooks")).send().await.expect("an answer");
    assert_eq!(elsewhere.status(), 404);
    // A content type nobody asked for, no content type, a body that is no JSON: all accepted.
    let token = livekit_token("no JSON", world.clock.unix().seconds());
    let odd =
        client.post(world.url("/webhook")).header("authorization", &token).header("content-type", "x/y");
    assert_eq!(odd.body("no JSON").send().await.expect("an answer").status(), 200);
}

/// Chunked, without a length, cut off in the middle: never a 4xx, which LiveKit takes for delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_answered_503_or_not_at_all() {
    let world = World::with(&[]).await;
    let token = livekit_token("{}", world.clock.unix().seconds());
    let head = format!("POST /webhook HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n");
    for rest in ["content-length: 100\r\n\r\n{}", "transfer-encoding: chunked\r\n\r\nffff\r\n{}"] {
        let address = world.url("").replace("http://", "");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        stream.write_all(format!("{head}{rest}").as_bytes()).await.expect("written");
        stream.shutdown().await.expect("half closed");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_chunks_is_read_like_any_other() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let body = joined("EV_chunked", "c", "a.example");
    let token = livekit_token(&body, world.clock.unix().seconds());
    let address = world.url("").replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let (first, second) = body.split_at(50);
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.expect("written");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(tenant.wait_for(1).await[0].body, body.as_bytes());
}
