//! The API on a network where not everybody means well.

use std::time::Duration;

use serde_json::json;
use switchhook::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::spec::world::{Client, PATIENCE, Process, RECORDED, World, sign};

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A tenant's token, told from others by `jti`.
fn tenants_token(world: &World, jti: &str) -> String {
    let secret = std::fs::read_to_string(world.path("data/api.secret")).expect("the API's secret");
    let exp = world.clock.unix().seconds() + 600;
    sign(&json!({ "aud": "switchhook", "sub": "acme", "jti": jti, "exp": exp }), &secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_names_itself_as_the_host_is_told_nothing() {
    let world =
        World::at(Clock::system(), "hooks: []\n", &["--metrics-open", "--api-host", "hooks.example"]).await;
    let port = world.api_url("").rsplit_once(':').expect("a port").1.to_owned();
    let asked = async |host: &str| {
        let request = client().get(world.api_url("/metrics")).header("host", host);
        let answer = request.header("origin", "https://evil.example").send().await.expect("an answer");
        let cors = answer.headers().keys().any(|name| name.as_str().starts_with("access-control-"));
        assert!(!cors, "{:?}", answer.headers());
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let own = [
        "hooks.example".to_owned(),
        format!("HOOKS.example:{port}"),
        format!("localhost:{port}"),
        "[::1]".into(),
    ];
    for host in own {
        assert_eq!(asked(&host).await.0, 200, "{host}");
    }
    for host in ["evil.example", "hooks.example.evil.example"] {
        let (status, told) = asked(host).await;
        assert_eq!(status, 421, "{host}");
        assert!(told.contains("/problems/misdirected") && told.contains("--api-host"), "{told}");
    }
    let preflight = client().request(reqwest::Method::OPTIONS, world.api_url("/metrics"));
    let preflight =
        preflight.header("origin", "https://evil.example").header("access-control-request-method", "GET");
    let answer = preflight.send().await.expect("an answer");
    assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("access-control-")));
    // Probes ask by whatever name they like.
    let probe = client().get(world.api_url("/readyz")).header("host", "evil.example").send().await;
    assert_eq!(probe.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessed_tokens_are_slowed_down_and_right_ones_are_not() {
    let world = World::at(Clock::manual(RECORDED), "hooks: []\n", &[]).await;
    let guess = async || {
        client().get(world.api_url("/metrics")).bearer_auth("guess").send().await.expect("an answer")
    };
    for n in 0..100 {
        let answer = guess().await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["www-authenticate"].as_bytes()),
            (401, &b"Bearer"[..]),
            "{n}"
        );
        let told: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(told["reason"], "malformed_token");
    }
    let answer = guess().await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (429, &b"1"[..]));
    assert_eq!(world.api("/metrics").await.0, 200, "from the same address");
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(guess().await.status(), 401);
    world.logs(&["API: token refused", "malformed_token", "times=101"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_too_often_waits_and_others_do_not() {
    let world = World::at(Clock::manual(RECORDED), "hooks: []\n", &[]).await;
    let client = client();
    let (greedy, modest) = (tenants_token(&world, "greedy"), tenants_token(&world, "modest"));
    let asked = async |token: &str| {
        let answer =
            client.get(world.api_url("/metrics")).bearer_auth(token).send().await.expect("an answer");
        let wait =
            answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        (answer.status().as_u16(), wait)
    };
    for _ in 0..200 {
        assert_eq!(asked(&greedy).await, (403, None));
    }
    assert_eq!(asked(&greedy).await, (429, Some(1)));
    assert_eq!(asked(&modest).await, (403, None));
    world.clock.advance(Duration::from_millis(20));
    assert_eq!([asked(&greedy).await, asked(&greedy).await], [(403, None), (429, Some(1))]);
    // An operator's may ask ten times as much.
    for _ in 0..300 {
        assert_eq!(asked(&world.operator_token()).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_edits_too_often_waits_and_others_do_not() {
    let world = World::at(Clock::manual(RECORDED), "hooks: []\n", &[]).await;
    let [acme, globex] =
        ["acme", "globex"].map(|tenant| Client::tenant(&world, tenant, &[&format!("a.{tenant}.example")]));
    let hook = json!({ "url": "https://acme.example/hook" });
    for n in 0..60 {
        let put = acme.put("/v1/hooks/a.acme.example", &hook).await;
        assert_eq!(put.status, if n == 0 { 201 } else { 200 }, "{n}: {}", put.body);
    }
    let put = acme.put("/v1/hooks/a.acme.example", &hook).await;
    assert_eq!(
        (put.refused(), put.headers["retry-after"].as_bytes()),
        ((429, "too-many-requests"), &b"1"[..])
    );
    assert_eq!(acme.get("/v1/hooks/a.acme.example").await.status, 200, "reading is not editing");
    assert_eq!(globex.put("/v1/hooks/a.globex.example", &hook).await.status, 201);
    world.clock.advance(Duration::from_secs(1));
    let statuses = [acme.delete("/v1/hooks/a.acme.example").await, acme.put("/v1/hooks/b", &hook).await];
    assert_eq!(statuses.map(|answered| answered.status), [204, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_hook_is_in_the_audit_log_as_its_size() {
    let world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["a.acme.example"]);
    let numbers: Vec<_> = (0..1000).map(|n| format!("+155501{n:05}")).collect();
    let hook = json!({ "url": "https://acme.example/hook", "tenant": "acme", "numbers": numbers });
    let put = Client::operator(&world).put("/v1/hooks/a.acme.example", &hook).await;
    assert_eq!(put.status, 201, "{}", put.body);
    let told = acme.get("/v1/audit").await;
    let after = &told.body["entries"][0]["after"];
    assert!(after["cut"] == true && after["bytes"].as_u64() > Some(8192), "{}", told.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused() {
    let world = World::with(&[]).await;
    let body = format!("{{\"dry_run\":true,\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let answer = client().post(world.api_url("/v1/replays")).bearer_auth(world.operator_token()).body(body);
    let answer = answer.header("content-type", "application/json").send().await.expect("an answer");
    assert_eq!(answer.status(), 413);
    let told: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(told["type"], "/problems/too-large");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_others_may_reach_in_plain_text_is_warned_about() {
    let mut world = World::at(Clock::system(), "hooks: []\n", &["--api-listen", "0.0.0.0:0"]).await;
    world.logs(&["THE API IS SERVED WITHOUT TLS", "--api-tls-cert", "--api-listen 127.0.0.1:7891"]).await;
    world.stop().await;
    let router = Process::start(&world);
    let warning =
        router.line(|line| line["msg"].as_str().is_some_and(|msg| msg.contains("WITHOUT TLS"))).await;
    assert_eq!(warning["api"], router.api_address);
}

/// An edit whose body does not come.
async fn unfinished(world: &World, token: &str) -> TcpStream {
    let address = world.api_url("").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    let head = format!(
        "PUT /v1/hooks/a.acme.example HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

/// Asks with this token, while `between` happens, until the answer is this one.
async fn until_answered(world: &World, token: &str, wanted: u16, between: impl Fn()) -> reqwest::Response {
    let began = std::time::Instant::now();
    loop {
        let request = client().get(world.api_url("/v1/hooks")).bearer_auth(token);
        let answer = request.send().await.expect("an answer");
        if answer.status() == wanted {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{}", answer.status());
        between();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_keep_nobody_else_out() {
    let world = World::at(Clock::manual(RECORDED), "hooks: []\n", &[]).await;
    let tokens: Vec<_> = (0..15).map(|n| tenants_token(&world, &format!("slow{n}"))).collect();
    let [modest, late] = ["modest", "late"].map(|jti| tenants_token(&world, jti));
    let mut slow = Vec::new();
    for token in &tokens[..1] {
        for _ in 0..16 {
            slow.push(unfinished(&world, token).await);
        }
    }
    let refused = until_answered(&world, &tokens[0], 429, || ()).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    until_answered(&world, &modest, 200, || ()).await;
    // All places of tenants are taken now; those of operators are not.
    for token in &tokens[1..] {
        for _ in 0..16 {
            slow.push(unfinished(&world, token).await);
        }
    }
    until_answered(&world, &late, 503, || ()).await;
    assert_eq!(world.api("/v1/hooks").await.0, 200);
    assert_eq!(client().get(world.api_url("/openapi.json")).send().await.expect("an answer").status(), 200);
    until_answered(&world, &tokens[0], 200, || world.clock.advance(Duration::from_secs(1))).await;
    let mut answer = [0; 12];
    slow[0].read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
}
