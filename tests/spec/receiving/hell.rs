//! Requests from hell, over real sockets at a router process: signed as LiveKit's, as tokens, as the API's bodies and
//! queries, and as the hooks file. The answers are those of the documents, nothing breaks, and memory stays bounded.

use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::spec::world::{KEY, PATIENCE, Process, SECRET, Tenant, World, event, joined, token_of};

/// Resident bytes that a router may have after all of it beside those it had before: a few bodies of a megabyte at once,
/// and what its allocator keeps.
const GROWTH: u64 = 160 << 20;

/// A million levels fit into a body; a hundred thousand are what parsers break at.
const LEVELS: usize = 100_000;

/// A router with a tenant that cuts a field out of what it receives.
async fn router() -> (World, Tenant, Process) {
    let tenant = Tenant::open().await;
    let hooks = format!("hooks:\n  - {{host: a.example, url: '{}', redact: [hush, x.hush]}}\n", tenant.url());
    let mut world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    world.stop().await;
    let process = Process::start(&world);
    (world, tenant, process)
}

fn client() -> Client {
    Client::builder().no_proxy().build().expect("a client")
}

/// Resident bytes of a process (proc(5), `VmRSS`).
fn resident(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
}

/// What was answered: the status, or none if the connection was closed.
async fn status(request: RequestBuilder) -> Option<u16> {
    tokio::time::timeout(PATIENCE, request.send())
        .await
        .expect("an answer in time")
        .ok()
        .map(|it| it.status().as_u16())
}

/// Nothing has broken: the router still works, and no line says that something panicked.
async fn is_well(world: &World, tenant: &Tenant, process: &Process, before: u64) {
    let count = tenant.count();
    process.post(joined("EV_last", "last", "a.example")).await;
    tenant.wait_for(count + 1).await;
    let log = process.log();
    for broken in ["a task broke", "panicked", "overflow"] {
        assert!(!log.contains(broken), "{:?}", log.lines().find(|line| line.contains(broken)));
    }
    let after = resident(process);
    assert!(after < before + GROWTH, "{} MiB, before {} MiB", after >> 20, before >> 20);
    assert_eq!(world.api_at(&format!("http://{}/v1/hooks", process.api_address)).await.0, 200);
}

/// Bodies that break parsers.
fn bodies() -> Vec<Vec<u8>> {
    let lists = format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let objects = format!("{}1{}", r#"{"x":"#.repeat(LEVELS), "}".repeat(LEVELS));
    let texts = [
        String::new(),
        "\u{feff}{}".to_owned(),
        "[".repeat(1 << 20),
        "{\"a\":".repeat(LEVELS),
        lists.clone(),
        objects.clone(),
        format!(r#"{{"event":"room_started","id":"EV_deep","x":{lists}}}"#),
        r#"{"event":"a","createdAt":1e999999,"room":{"sid":-1e999999}}"#.to_owned(),
        format!(r#"{{"event":"a","createdAt":1{}}}"#, "0".repeat(400)),
        r#"{"event":"a","event":"b","room":{"sid":"x"},"room":{"sid":"y"},"id":"1","id":"2"}"#.to_owned(),
        "{\"event\":\"\u{0}\"}".to_owned(),
        r#"{"event":"\u0000","id":"\u0000","room":{"sid":"\u0000"}}"#.to_owned(),
        r#"{"event":"\ud800","room":{"name":"\udc00\ud800"}}"#.to_owned(),
        format!(r#"{{"event":"{0}","id":"{0}","room":{{"sid":"{0}","name":"{0}"}}}}"#, "é".repeat(100_000)),
        format!(r#"{{"room":[{}0]}}"#, "0,".repeat(500_000)),
        format!("{{{}\"a\":1}}", r#""a":1,"#.repeat(100_000)),
    ];
    let mut bodies: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    bodies.push(b"{\"event\":\"\xff\xfe\xc0\x80\"}".to_vec());
    bodies
}

/// The authorization of a body that need not be text.
fn signed(body: &[u8]) -> String {
    switchhook::bench::livekit_token(KEY, SECRET, body, switchhook::Clock::system().unix())
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_bodies_that_break_parsers_are_acknowledged_and_break_nothing() {
    let (world, tenant, process) = router().await;
    let (http, before) = (client(), resident(&process));
    let url = format!("http://{}/webhook", process.address);
    for body in bodies() {
        let begin = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let request = http.post(&url).header("authorization", signed(&body)).body(body);
        // Never 4xx: LiveKit would take the event for delivered.
        assert_eq!(status(request).await, Some(200), "{begin}");
    }
    is_well(&world, &tenant, &process, before).await;
}

/// A parser that only passes over a field bounds no depth; whoever cuts fields out of the body walks through it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_hundred_thousand_levels_is_redacted_and_delivered() {
    let (world, tenant, process) = router().await;
    let before = resident(&process);
    let lists = format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let objects = format!("{}1{}", r#"{"x":"#.repeat(LEVELS), "}".repeat(LEVELS));
    for (n, deep) in [lists, objects].into_iter().enumerate() {
        let plain = joined(&format!("EV_{n}"), &format!("c{n}"), "a.example");
        let body = |more: &str| plain.replacen('{', &format!(r#"{{"x":{deep}{more},"#), 1);
        process.post(body(r#","hush":"secret""#)).await;
        let received = tenant.wait_for(n + 1).await;
        assert!(received[n].body == body(""), "all but the field is as it was");
    }
    is_well(&world, &tenant, &process, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_break_parsers_are_refused_with_a_reason() {
    let (world, tenant, process) = router().await;
    let (http, before) = (client(), resident(&process));
    let encoded = |claims: &str| {
        use base64::Engine;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
        format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{claims}.AAAA")
    };
    let tokens = [
        String::new(),
        ".".repeat(4000),
        "Bearer ".repeat(500),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        encoded(&"[".repeat(1000)),
        encoded(r#"{"iss":"APIswitchhook","exp":1e999999}"#),
        encoded(&format!(r#"{{"iss":"APIswitchhook","exp":1{}}}"#, "0".repeat(400))),
        encoded(r#"{"iss":"\u0000","iss":"\ud800","exp":1}"#),
        encoded("\u{feff}{}"),
        token_of(KEY, "another secret", "{}", 0),
        "x".repeat(60_000),
    ];
    for token in &tokens {
        let post = http.post(format!("http://{}/webhook", process.address)).body("{}");
        assert_eq!(status(post.header("authorization", token)).await, Some(401), "{token:.60}");
        let get = http.get(format!("http://{}/v1/hooks", process.api_address));
        // After many wrong tokens their address has to wait.
        let refused = status(get.header("authorization", format!("Bearer {token}"))).await;
        assert!(matches!(refused, Some(401 | 429)), "{refused:?} {token:.60}");
    }
    is_well(&world, &tenant, &process, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_queries_of_the_api_that_break_parsers_are_refused_as_the_document_says() {
    let (world, tenant, process) = router().await;
    let (http, before) = (client(), resident(&process));
    let api = format!("http://{}", process.api_address);
    let token = world.operator_token();
    for body in bodies() {
        let begin = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let requests = [
            http.put(format!("{api}/v1/hooks/b.example")),
            http.post(format!("{api}/v1/replays")),
            http.post(format!("{api}/v1/explain")),
            http.post(format!("{api}/v1/hooks/a.example/test")),
        ];
        for request in requests {
            let request = request.bearer_auth(&token).header("content-type", "application/json");
            let answered = status(request.body(body.clone())).await;
            assert!(matches!(answered, Some(400 | 413 | 422)), "{answered:?} {begin}");
        }
    }
    let long = "x".repeat(30_000);
    let values =
        ["", "%00", "%ff", "1e999999", "-1", "99999999999999999999", "[[[[", "%ED%A0%80", "%EF%BB%BF", &long];
    let lists = ["deliveries", "calls", "unrouted", "hooks", "audit", "usage", "now"];
    for list in lists {
        for name in ["after", "limit", "since", "until", "tenant", "q", "from", "state"] {
            for value in values {
                let url = format!("{api}/v1/{list}?{name}={value}&{name}={value}");
                let answered = status(http.get(url).bearer_auth(&token)).await;
                let is_described = matches!(answered, Some(200 | 400 | 404 | 414 | 422 | 431));
                assert!(is_described, "{answered:?} {list}?{name}={value:.40}");
            }
        }
    }
    is_well(&world, &tenant, &process, before).await;
}

/// What a faulty file says, once it is refused.
async fn refused(process: &Process, times: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let is_refusal =
            |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.starts_with("hooks not reloaded"));
        let refusals: Vec<_> = process.lines().into_iter().filter(is_refusal).collect();
        if refusals.len() >= times {
            return refusals;
        }
        assert!(began.elapsed() < PATIENCE, "{times}: {:?}", process.lines().last());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_files_that_break_parsers_are_refused_and_the_table_stays_in_force() {
    let (world, tenant, process) = router().await;
    let before = resident(&process);
    let laughs: String = (1..10).fold("a0: &a0 [ha]\n".to_owned(), |text, n| {
        let of = format!("*a{}, ", n - 1).repeat(10);
        format!("{text}a{n}: &a{n} [{of}]\n")
    });
    let echo = format!("a: &a '{}'\nhooks: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(5000));
    let files = [
        format!("{laughs}hooks: *a9\n"),
        echo,
        "[".repeat(1 << 20),
        format!("hooks: {}{}\n", "[".repeat(60), "]".repeat(60)),
        (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        "hooks: &h\n  - <<: *h\n    host: b.example\n".to_owned(),
        "hooks:\n  - {host: a.example, url: !!binary AAAA}\n  - host: \"\\0\"\n".to_owned(),
        "\u{feff}\0".to_owned(),
        format!(
            "hooks:\n  - {{host: b.example, url: 'https://b.example/', concurrency: 1{}}}\n",
            "0".repeat(400)
        ),
    ];
    for (n, file) in files.iter().enumerate() {
        world.hooks(file);
        let refusals = refused(&process, n + 1).await;
        let faults = refusals[n]["faults"].as_str().expect("faults");
        assert!(faults.len() < 64 << 10, "{} bytes are said of {file:.60}", faults.len());
    }
    process.post(event("EV_1", "room_started", "c")).await;
    is_well(&world, &tenant, &process, before).await;
}
