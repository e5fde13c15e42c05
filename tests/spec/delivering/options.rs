//! Everything a hook can be told.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;

use super::signatures::{delivery, secret};
use crate::spec::world::{RECORDED, Reply, Tenant, World, joined, judge, searched, table};

/// What `switchhook check --json` finds in a file: line and key.
fn faults(hooks: &str) -> BTreeSet<(u64, String)> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hooks.yaml");
    std::fs::write(&path, hooks).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["check", "--json"])
        .arg(&path)
        .env_clear()
        .output()
        .expect("check");
    let said = String::from_utf8(searched(&["check"], output).stdout).expect("text");
    assert!(!said.contains("hush"), "a secret is quoted: {said}");
    let fault = |line: &str| {
        let fault: Value = serde_json::from_str(line).expect("JSON");
        assert!(fault["column"].as_u64().expect("a column") > 0);
        (fault["line"].as_u64().expect("a line"), fault["key"].as_str().expect("a key").to_owned())
    };
    said.lines().map(fault).collect()
}

/// Key, a value of the wrong type, one out of range.
const KEYS: [(&str, &str, &str); 31] = [
    ("host", "[a]", "calls acme.com"),
    ("url", "7", "ftp://a.example"),
    ("tenant", "{a: b}", "ACME"),
    ("secret", "true", "whsec_hush"),
    ("secrets", "hush", "[whsec_hush]"),
    ("livekit", "hush", "{key: APIx}"),
    ("livekit_sign", "[hush]", "{secret: hush}"),
    ("numbers", "'+1555'", "['+-()']"),
    ("trunks", "ST_x", "['']"),
    ("events", "[room_started]", "{include: [room_statred]}"),
    ("events.include", "{include: room_started}", "{include: [nonsense]}"),
    ("events.exclude", "{exclude: 7}", "{exclude: [nonsense]}"),
    ("sign", "standard", "[sha1]"),
    ("format", "[raw]", "xml"),
    ("headers", "[x-a]", "{host: evil.example}"),
    ("timeout", "10", "31s"),
    ("retry", "5", "{initial: 1h, max: 1m}"),
    ("retry.initial", "{initial: 1}", "{initial: 1ms}"),
    ("retry.factor", "{factor: two}", "{factor: 0.5}"),
    ("retry.max", "{max: [1h]}", "{max: 999ms}"),
    ("retry.max_age", "{max_age: true}", "{max_age: 73h}"),
    ("concurrency", "many", "65"),
    ("rate", "'10'", "0"),
    ("order_wait", "30", "2h"),
    ("keep", "24", "73h"),
    ("redact", "room.turnPassword", "['room..x']"),
    ("paused", "'yes'", "1"),
    ("livekit.key", "{key: [a], secret: hush}", "{key: '', secret: hush}"),
    ("livekit.secret", "{key: APIx, secret: 7}", "{key: APIx, secret: '${NOT_SET}'}"),
    ("livekit_sign.key", "{key: 7, secret: hush}", "{key: '', secret: hush}"),
    ("livekit_sign.secret", "{key: APIx, secret: [hush]}", "{key: APIx, secret: {file: nowhere}}"),
];

#[test]
fn each_key_wrongly_typed_misspelt_out_of_range_and_doubled_is_named_all_in_one_file() {
    let (mut text, mut expected) = (String::from("hooks:\n"), Vec::new());
    let mut line = 2;
    for (n, (key, wrong_type, out_of_range)) in KEYS.into_iter().enumerate() {
        let outer = key.split('.').next().expect("a key");
        let misspelt = format!("{outer}x");
        let lines = [(outer, wrong_type), (outer, out_of_range), (misspelt.as_str(), "1")];
        for (kind, (spelling, value)) in lines.into_iter().enumerate() {
            for (own, value) in
                [("host", format!("h{n}-{kind}.example")), ("url", "https://a.example".into())]
            {
                let replaced = spelling == own;
                let first = if own == "host" { "  - " } else { "    " };
                if !replaced {
                    text += &format!("{first}{own}: {value}\n");
                    line += 1;
                } else if own == "host" {
                    // The list's dash needs a first key.
                    text += "  - trunks: []\n";
                    line += 1;
                }
            }
            text += &format!("    {spelling}: {value}\n");
            expected.push((line, spelling.to_owned(), key));
            line += 1;
        }
        // Doubled: the second is the fault.
        text +=
            &format!("  - host: d{n}.example\n    url: https://a.example\n    {outer}: 1\n    {outer}: 1\n");
        let at = line + if outer == "host" || outer == "url" { 2 } else { 3 };
        expected.push((at, outer.to_owned(), key));
        line += 4;
    }
    for (key, value) in [
        ("defaults", "{timeout: 1h, host: x, colour: red}"),
        ("limits", "{hooks: none, timeout: 7, tenants: {ACME: {}, acme: {hooks: 0}, b: 3}}"),
    ] {
        text += &format!("{key}: {value}\n");
    }
    let found = faults(&text);
    for (line, key, case) in &expected {
        let named = found
            .iter()
            .any(|(at, name)| at == line && (name.starts_with(key.as_str()) || case.starts_with(name)));
        assert!(
            named,
            "{case}: nothing is said of {key} in line {line}: {:?}\n{}",
            near(&found, *line),
            text.lines().nth(*line as usize - 1).expect("a line")
        );
    }
    let of = |line: u64| {
        found.iter().filter(|(at, _)| *at == line).map(|(_, key)| key.as_str()).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(line), ["colour", "host", "timeout"].into());
    assert_eq!(
        of(line + 1),
        ["limits.hooks", "limits.tenants", "limits.tenants.hooks", "limits.timeout"].into()
    );
}

fn near(found: &BTreeSet<(u64, String)>, line: u64) -> Vec<&(u64, String)> {
    found.iter().filter(|(at, _)| at.abs_diff(line) < 4).collect()
}

#[test]
fn what_belongs_together_is_checked_together() {
    let entry = |more: &str| format!("hooks:\n  - host: a.example\n    url: https://a.example\n{more}");
    let one = |more: &str| {
        faults(&entry(more)).into_iter().map(|(line, key)| format!("{line} {key}")).collect::<Vec<_>>()
    };
    assert_eq!(one("    sign: [livekit]\n"), ["4 sign"]);
    assert_eq!(
        one("    sign: [livekit]\n    format: cloudevents\n    livekit: {key: a, secret: b}\n"),
        ["4 format"]
    );
    assert_eq!(one("    sign: []\n"), ["4 sign"]);
    assert_eq!(one("    secret: x${HALF}\n"), ["4 secret"]);
    assert_eq!(
        one("    headers: {webhook-id: x, Content-Length: 1, X-A: b, x-a: c, 'b d': e, z: \"a\\nb\"}\n"),
        ["4 headers"]
    );
    let two = entry(
        "    tenant: a\n    livekit: {key: APIa, secret: x}\n  - host: b.example\n    url: https://b.example\n    livekit: {key: APIa, secret: x}\n",
    );
    assert_eq!(faults(&two), [(8, "livekit".to_owned())].into());
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("  - {{host: h{n}.example, url: 'https://a.example', tenant: t}}\n"))
            .collect::<String>()
    };
    assert!(faults(&format!("hooks:\n{}", many(100))).is_empty());
    assert_eq!(faults(&format!("hooks:\n{}", many(102))), [(102, "hooks".to_owned())].into());
    assert!(faults(&format!("hooks:\n{}limits: {{tenants: {{t: {{hooks: 102}}}}}}\n", many(102))).is_empty());
    let over =
        "limits: {timeout: 60s}\nhooks:\n  - {host: a.example, url: 'https://a.example', timeout: 60s}\n";
    assert!(faults(over).is_empty());
}

/// A hook table whose one hook has these keys more.
fn with(tenant: &Tenant, more: &str) -> String {
    table(&[("a.example", tenant)]) + more
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_event_wraps_the_body_and_is_signed_as_sent() {
    let tenant = Tenant::open().await;
    let world = World::at(Clock::system(), &with(&tenant, "    format: cloudevents\n"), &[]).await;
    let body = joined("EV_1", "größe", "a.example");
    assert_eq!(world.post(&body).await.status, 200);
    let received = &tenant.wait_for(1).await[0];
    assert_eq!(received.header("content-type"), "application/cloudevents+json");
    let event: Value = serde_json::from_slice(&received.body).expect("JSON");
    let expected = [
        ("specversion", json!("1.0")),
        ("id", json!("EV_1")),
        ("type", json!("io.livekit.participant_joined")),
        ("source", json!("/livekit/APIswitchhook")),
        ("subject", json!("RM_größe")),
        ("datacontenttype", json!("application/json")),
        ("data", serde_json::from_str(&body).expect("JSON")),
    ];
    for (key, value) in expected {
        assert_eq!(event[key], value, "{key}");
    }
    assert!(std::str::from_utf8(&received.body).expect("text").contains(&body), "data is LiveKit's text");
    let own = secret(&world, "a.example").await;
    let verdicts = judge("python", "standardwebhooks_verify.py", &delivery(&own, received)).await;
    assert_eq!(verdicts.lines().collect::<Vec<_>>(), ["ok"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redacted_fields_are_cut_out_before_signing() {
    let tenant = Tenant::open().await;
    let hooks = with(&tenant, "    redact: [room.turnPassword, participant.attributes, nothing.here]\n");
    let world = World::at(Clock::system(), &hooks, &[]).await;
    let body = joined("EV_1", "c", "a.example").replace(r#""room":{"#, r#""room":{"turnPassword":"hush", "#);
    assert!(body.contains("hush"), "{body}");
    assert_eq!(world.post(&body).await.status, 200);
    let received = &tenant.wait_for(1).await[0];
    let event: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert_eq!(event["room"], json!({ "sid": "RM_c", "name": "c" }));
    assert!(event["participant"]["attributes"].is_null());
    assert_eq!(event["participant"]["kind"], "SIP");
    let own = secret(&world, "a.example").await;
    let verdicts = judge("python", "standardwebhooks_verify.py", &delivery(&own, received)).await;
    assert_eq!(verdicts.lines().collect::<Vec<_>>(), ["ok"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_livekits_own_sdk_verifies_with_its_own_key() {
    let tenant = Tenant::open().await;
    let more = "    sign: [livekit, standard]\n    livekit_sign: {key: APItenant, secret: a-secret-of-the-tenants-own-0001}\n";
    let world = World::at(Clock::system(), &with(&tenant, more), &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    let received = &tenant.wait_for(1).await[0];
    assert!(received.header("webhook-signature").starts_with("v1,"));
    let body = std::str::from_utf8(&received.body).expect("text");
    let post = |secret: &str, body: &str| {
        let authorization = received.header("authorization");
        json!({ "key": "APItenant", "secret": secret, "authorization": authorization, "body": body })
            .to_string()
            + "\n"
    };
    let right = "a-secret-of-the-tenants-own-0001";
    let input = [
        post(right, body),
        post(crate::spec::world::SECRET, body),
        post(right, &body.replace("EV_1", "EV_2")),
    ];
    let judged = judge("python", "livekit_receive.py", &input.concat()).await;
    let judged: Vec<_> = judged.lines().collect();
    assert_eq!(judged[0], "participant_joined");
    assert!(!judged[1].contains("participant") && judged[2].contains("hash mismatch"), "{judged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn extra_headers_and_wanted_events_and_secrets_from_elsewhere() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    std::fs::write(world.path("key"), "from-a-file\n").expect("written");
    let more = "    headers: {X-Api-Key: {file: key}, x-fixed: 'yes'}\n    events: {exclude: [participant_left]}\n    \
                secret: ${SWITCHHOOK_TEST_SECRET}\n";
    world.stop().await;
    world.hooks(&with(&tenant, more));
    // The environment of a process of its own: the test's is shared.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .arg("check")
        .args(["--allow-http", "--allow-network", "127.0.0.0/8"])
        .arg(world.path("hooks.yaml"))
        .env("SWITCHHOOK_TEST_SECRET", "whsec_dGhlLXNlY3JldC1vZi10ZXN0cy1hbG9uZS0wMDAx")
        .spawn()
        .expect("check");
    assert!(child.wait().expect("its end").success());
    world.hooks(&with(
        &tenant,
        &more.replace("${SWITCHHOOK_TEST_SECRET}", "whsec_dGhlLXNlY3JldC1vZi10ZXN0cy1hbG9uZS0wMDAx"),
    ));
    world.start().await;
    let left = joined("EV_1", "c", "a.example").replace("participant_joined", "participant_left");
    assert_eq!(world.post(&left).await.status, 200);
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    let received = tenant.wait_for(1).await;
    assert_eq!((received[0].id(), received[0].header("switchhook-sequence")), ("EV_2", "1"));
    assert_eq!((received[0].header("x-api-key"), received[0].header("x-fixed")), ("from-a-file", "yes"));
    let story = world.story("EV_1", |story| story["state"] == "unrouted").await;
    assert_eq!((&story["reason"], &story["domain"]), (&json!("filtered"), &json!("a.example")));
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_retry_and_age_are_the_hooks_own() {
    let (slow, failing) =
        (Tenant::answering([Reply::Hang]).await, Tenant::answering(vec![Reply::Status(500); 9]).await);
    let hooks = format!(
        "defaults:\n  timeout: 2s\n  retry: {{initial: 1m, max_age: 10m}}\n{}    retry: {{factor: 1}}\n",
        table(&[("slow.example", &slow), ("failing.example", &failing)])
    );
    let world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "slow.example")).await.status, 200);
    assert_eq!(world.post(&joined("EV_2", "c", "failing.example")).await.status, 200);
    slow.wait_for(1).await;
    let tried = |count: usize| {
        move |story: &Value| story["attempts"].as_array().is_some_and(|all| all.len() == count)
    };
    world.story("EV_2", tried(1)).await;
    world.clock.advance(Duration::from_secs(3));
    let story = world.story("EV_1", tried(1)).await;
    assert_eq!(story["attempts"][0]["error"], "timeout");
    slow.release();
    // A minute and never more than that, ±20 %, until it is ten minutes old.
    for tries in 2..=4 {
        world.clock.advance(Duration::from_secs(72));
        world.story("EV_2", tried(tries)).await;
    }
    world.clock.advance(Duration::from_secs(600));
    let story = world.story("EV_2", |story| story["state"] == "dead").await;
    assert_eq!(story["reason"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_the_file_pauses_waits_until_the_file_lets_it_go() {
    let tenant = Tenant::open().await;
    let other = Tenant::open().await;
    let beside = format!("  - host: b.example\n    url: {}\n", other.url());
    let paused = with(&tenant, "    paused: true\n") + &beside;
    let mut world = World::at(Clock::system(), &paused, &[]).await;
    // Another tenant's delivery: what was posted before would have gone out by now.
    let dispatched = async |world: &World, id: &str| {
        assert_eq!(world.post(&joined(id, id, "b.example")).await.status, 200);
        world.story(id, |story| story["state"] == "delivered").await;
    };
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    dispatched(&world, "EV_b1").await;
    let (status, problem) = world.api_post("/v1/hooks/a.example/resume").await;
    assert_eq!((status, &problem["title"]), (409, &json!("Paused by the hooks file")));
    world.stop().await;
    world.start().await;
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    dispatched(&world, "EV_b2").await;
    assert_eq!(tenant.count(), 0);
    world.hooks(&(with(&tenant, "") + &beside));
    tenant.wait_for(2).await;
    assert_eq!(tenant.ids(), ["EV_1", "EV_2"]);
    world.hooks(&paused);
    world.reloaded(2).await;
    assert_eq!(world.post(&joined("EV_3", "c", "a.example")).await.status, 200);
    dispatched(&world, "EV_b3").await;
    assert_eq!(tenant.count(), 2);
}

/// What was routed to a hook that is gone still goes out as it was wanted there.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_hooks_last_deliveries_are_redacted_all_the_same() {
    let tenant = Tenant::answering([Reply::Status(500)]).await;
    let mut world = World::at(
        Clock::system(),
        &with(&tenant, "    redact: [room.name]\n    retry: {initial: 2s}\n"),
        &[],
    )
    .await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    world.hooks("hooks: []\n");
    world.stop().await;
    world.start().await;
    let received = tenant.wait_for(2).await;
    let event: Value = serde_json::from_slice(&received[1].body).expect("JSON");
    assert_eq!(event["room"], json!({ "sid": "RM_c" }));
}

#[test]
fn the_full_sample_has_every_key_and_no_fault() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hooks.full.yaml");
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .arg("check")
        .arg(&path)
        .env("ACME_SECRET", "whsec_dGhlLXNlY3JldC1vZi10ZXN0cy1hbG9uZS0wMDAx")
        .env("GLOBEX_KEY", "a-key-of-the-tenants-own-0002")
        .output()
        .expect("check");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let text = std::fs::read_to_string(&path).expect("the sample");
    for (key, ..) in KEYS {
        let key = key.split('.').next_back().expect("a key");
        // `include` is told beside `exclude`.
        assert!(key == "include" || text.contains(&format!("{key}:")), "{key}");
    }
    // Each file of the examples that needs nothing works as it is.
    let root = path.parent().and_then(std::path::Path::parent).expect("the root");
    assert!(faults(&std::fs::read_to_string(root.join("hooks.yaml")).expect("the sample")).is_empty());
}
