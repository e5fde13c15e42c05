//! The hook table, edited while calls run.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{PATIENCE, Reply, Tenant, World, joined, searched, secrets, table};

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_file_changes_nothing_and_is_said_to_be_faulty() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    let degraded = async |world: &World| -> Value {
        reqwest::get(world.url("/readyz")).await.expect("an answer").json().await.expect("JSON")
    };
    world.hooks("hooks:\n  - host: b.example\n    url: nonsense\n");
    let began = Instant::now();
    while degraded(&world).await["reasons"] != json!(["hooks"]) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.arrives("a.example", &tenant).await;

    // At the start, too, and with no file at all, the last good table serves.
    world.stop().await;
    world.start().await;
    world.arrives("a.example", &tenant).await;
    world.stop().await;
    fs::remove_file(world.path("hooks.yaml")).expect("removed");
    world.start().await;
    assert_eq!(degraded(&world).await["status"], "degraded");
    world.arrives("a.example", &tenant).await;

    // Mended, even to what it was: all is well again.
    world.hooks(&table(&[("a.example", &tenant)]));
    let began = Instant::now();
    while degraded(&world).await["status"] != "ready" {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, metrics) = world.api("/metrics").await;
    assert!(metrics.as_str().expect("text").contains("switchhook_reloads_total{result=\"ok\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_no_longer_be_read_is_named_in_the_log_and_read_again_once_it_can_be() {
    let (first, second) = (Tenant::open().await, Tenant::open().await);
    let world = World::with_moved_time(&[("a.example", &first)]).await;
    // Root may read whatever its mode is; a missing file is as unreadable to everybody.
    fs::remove_file(world.path("hooks.yaml")).expect("removed");
    let file = world.path("hooks.yaml").display().to_string();
    let texts = ["the file cannot be read", &*file];
    let ten_seconds_pass = async {
        loop {
            world.clock.advance(Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = world.logs(&texts) => {}
        () = ten_seconds_pass => {}
    }
    world.arrives("a.example", &first).await;
    world.hooks(&table(&[("a.example", &second)]));
    world.arrives("a.example", &second).await;
}

/// A secret that was mounted and is not: the last good table knows what it was.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_table_serves_also_when_a_secret_it_refers_to_is_gone() {
    const SECRET: &str = "whsec_dGhlLXNlY3JldC1vZi10ZXN0cy1hbG9uZS0wMDAx";
    let tenant = Tenant::open().await;
    let mut world = World::with(&[]).await;
    world.stop().await;
    fs::write(world.path("acme.secret"), SECRET).expect("written");
    let url = tenant.url();
    world.hooks(&format!("hooks:\n  - {{host: a.example, url: '{url}', secret: {{file: acme.secret}}}}\n"));
    world.start().await;
    world.arrives("a.example", &tenant).await;
    world.stop().await;
    let kept = fs::read(world.path("data/hooks.last")).expect("kept");
    assert!(!kept.windows(6).any(|part| part == b"whsec_"), "in clear");
    fs::remove_file(world.path("acme.secret")).expect("removed");
    world.start().await;
    let ready: Value =
        reqwest::get(world.url("/readyz")).await.expect("an answer").json().await.expect("JSON");
    assert_eq!(ready["reasons"], json!(["hooks"]));
    world.arrives("a.example", &tenant).await;
    let last = tenant.received().pop().expect("a delivery");
    let webhook = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    webhook.verify(&last.body, &last.headers).expect("signed with the secret that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_paused_or_fails_goes_on_at_once_when_its_url_is_corrected() {
    let (gone, right) = (Tenant::answering([Reply::Status(410)]).await, Tenant::open().await);
    let world = World::at(Clock::system(), &table(&[("a.example", &gone)]), &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["attempts"].as_array().is_some_and(|all| all.len() == 1)).await;
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    world.hooks(&table(&[("a.example", &right)]));
    right.wait_for(2).await;
    assert_eq!(right.ids(), ["EV_1", "EV_2"]);
    assert_eq!(gone.count(), 1);
}

#[test]
fn check_names_every_fault_and_exits_1() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hooks.yaml");
    let check = |text: &str, args: &[&str]| {
        fs::write(&path, text).expect("written");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook"));
        let output = command.arg("check").arg(&path).args(args).env_clear().output().expect("check");
        let output = searched(&["check"], output);
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let faulty = "hooks:\n  - host: calls acme.com\n    url: http://10.0.0.7/hook\n    colour: red\n";
    let (code, said) = check(faulty, &[]);
    assert_eq!(code, Some(1));
    for part in
        ["3 faults, nothing loaded", "2:11  host", "3:10  url", "--allow-network 10.0.0.0/8", "4:5  colour"]
    {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let (code, said) = check(faulty, &["--json"]);
    assert_eq!((code, said.lines().count()), (Some(1), 3), "{said}");
    let fine = "hooks:\n  - host: a.example\n    url: http://10.0.0.7/hook\n";
    let (code, said) = check(fine, &["--allow-http", "--allow-network", "10.0.0.0/8"]);
    assert!(code == Some(0) && said.contains("1 hook, no fault"), "{said}");
}

/// Runs `switchhook explain --json` with a table of its own.
fn explain(hooks: &str, args: &[&str]) -> Value {
    secrets::register_hooks(hooks);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hooks.yaml");
    fs::write(&path, hooks).expect("written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook"));
    let output =
        command.arg("explain").args(args).arg("--json").arg("--hooks").arg(&path).env_clear().output();
    let output = searched(&["explain"], output.expect("explain"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn explain_gives_the_rule_or_the_reason_and_its_fix() {
    let hooks = "hooks:
  - {host: calls.drsmith.com, url: 'https://a.example/x?token=the-token-of-an-explained-url', tenant: drsmith, numbers: ['+1555']}
  - {host: '*.acme.com', url: 'https://b.example', tenant: acme}
";
    let rich = r#""Dr. Smith" <sip:+1555@Calls.DrSmith.com:5060;user=phone>;tag=SCL_x"#;
    let told = explain(hooks, &["--to", rich]);
    let expected = [
        ("outcome", "routed"),
        ("rule", "domain"),
        ("source", "sip.h.to"),
        ("domain", "calls.drsmith.com"),
        ("host", "calls.drsmith.com"),
        ("tenant", "drsmith"),
        ("url", "https://a.example/x"),
        ("value", rich),
    ];
    for (key, value) in expected {
        assert_eq!(told[key], value, "{key}: {told:#}");
    }
    assert!(told["reason"].is_null() && told["nearest"].is_null());

    let told = explain(hooks, &["--x-to-ip", "A.b.ACME.com"]);
    assert_eq!((&told["host"], &told["source"]), (&Value::from("*.acme.com"), &Value::from("sip.h.x-to-ip")));
    let told = explain(hooks, &["--x-to-ip", "10.0.0.1", "--number", "1 555"]);
    assert_eq!((&told["rule"], &told["tenant"]), (&Value::from("number"), &Value::from("drsmith")));
    let told = explain(
        &format!("{hooks}  - {{host: '*', url: 'https://c.example', tenant: rest}}\n"),
        &["--x-to-ip", "x.y"],
    );
    assert_eq!((&told["host"], &told["rule"]), (&Value::from("*"), &Value::from("domain")));

    // An X-To-IP without a hook never falls through to To.
    let told = explain(hooks, &["--x-to-ip", "calls.drsmiht.com", "--to", rich]);
    assert_eq!((&told["outcome"], &told["reason"]), (&Value::from("unrouted"), &Value::from("no_hook")));
    assert_eq!(told["nearest"], json!(["calls.drsmith.com"]));
    assert!(told["fix"].as_str().expect("a fix").contains("add the host"));
    assert_eq!(explain(hooks, &["--x-to-ip", "not a host", "--to", ""])["reason"], "bad_domain");
    assert_eq!(explain(hooks, &["--trunk", "ST_x"])["reason"], "no_domain");
    assert_eq!(explain(hooks, &["--to", rich, "--to-fallback", "false"])["reason"], "no_domain");
}

/// Each event of recorded calls is explained as `expected.tsv` says, given what came before it.
#[test]
fn explain_knows_calls_by_what_came_before() {
    let folder = crate::spec::world::recorded::recordings();
    let hooks = fs::read_to_string(folder.join("hooks.yaml")).expect("a table");
    let dir = tempfile::tempdir().expect("a folder");
    let (event, before) = (dir.path().join("event.json"), dir.path().join("before.jsonl"));
    let expected = crate::spec::world::recorded::rows(&folder);
    for name in ["two-tenants-one-room", "recorded-call", "web-egress", "outbound-only"] {
        let posts = crate::spec::world::recorded::recording(&folder.join(format!("{name}.jsonl")));
        let mut earlier = String::new();
        for post in &posts {
            let body = post["body"].as_str().expect("a body");
            fs::write(&event, body).expect("written");
            fs::write(&before, &earlier).expect("written");
            let paths = [&event, &before].map(|path| path.to_str().expect("a path"));
            let told = explain(&hooks, &[paths[0], "--after", paths[1]]);
            let id = serde_json::from_str::<Value>(body).expect("JSON")["id"].clone();
            let row = expected.iter().find(|row| row[0] == name && row[1] == id).expect("a row");
            match told["outcome"].as_str().expect("an outcome") {
                "routed" => {
                    assert_eq!((&told["host"], &told["rule"]), (&json!(row[3]), &json!(row[4])), "{row:?}");
                }
                // Whose it is comes later.
                "held" => assert!(row[4] == "call" || row[4] == "no_call", "{row:?}"),
                _ => assert_eq!(told["reason"], row[4], "{row:?}"),
            }
            earlier += &(serde_json::to_string(post).expect("JSON") + "\n");
        }
    }
    fs::write(&event, r#"{"event":"room_started","room":{"sid":"RM_x"},"id":"EV_x"}"#).expect("written");
    let path = event.to_str().expect("a path");
    let told = explain(&hooks, &[path]);
    assert_eq!(told["outcome"], "held");
    let acme = explain(&hooks, &["--x-to-ip", "calls.acme.example"])["tenant"].clone();
    let told = explain(&hooks, &[path, "--at", acme.as_str().expect("a tenant")]);
    assert_eq!((&told["rule"], &told["tenant"]), (&json!("url"), &acme));
}

/// Undoes the escapes of the conformance table's first column.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match (byte, byte == b'\\') {
            (_, true) => match bytes.next().expect("an escape") {
                b't' => b'\t',
                b'r' => b'\r',
                b'n' => b'\n',
                b'x' => {
                    let hex = [bytes.next().expect("hex"), bytes.next().expect("hex")];
                    u8::from_str_radix(std::str::from_utf8(&hex).expect("hex"), 16).expect("hex")
                }
                other => other,
            },
            _ => byte,
        });
    }
    out
}

/// Every row of the conformance table, through the command, as an event LiveKit would post.
#[test]
fn explain_reads_domains_as_the_conformance_table_says() {
    let rows = include_str!("../../data/sip_domains.tsv").lines().filter(|line| !line.starts_with("# "));
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("event.json");
    let mut read = 0;
    for row in rows.map(|line| line.split('\t').collect::<Vec<_>>()) {
        read += 1;
        let Ok(value) = String::from_utf8(unescaped(row[0])) else {
            // No JSON holds it: LiveKit cannot post it.
            assert_eq!(row[1], "invalid");
            continue;
        };
        let event = json!({
            "event": "participant_joined",
            "participant": { "kind": "SIP", "attributes": { "sip.ruleID": "x", "sip.h.x-to-ip": value } },
        });
        fs::write(&path, event.to_string()).expect("written");
        let told = explain("hooks: []\n", &[path.to_str().expect("a path")]);
        let expected = if row[1] == "invalid" { Value::Null } else { row[1].into() };
        assert_eq!(told["domain"], expected, "{row:?}");
    }
    assert!(read > 150, "{read} rows");
}

/// The log says what `explain` says.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_gives_the_header_read_and_the_reason_with_its_fix() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    world.hooks("hooks:\n  - {host: '*.acme.com', url: 'https://127.0.0.1', tenant: acme}\n");
    let log = fs::File::create(world.path("log")).expect("a file");
    let mut router = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(world.args())
        .args(["--log", "json"])
        .stdout(log)
        .spawn()
        .expect("switchhook");
    let line = async |told: &dyn Fn(&Value) -> bool| loop {
        let text = fs::read_to_string(world.path("log")).expect("the log");
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.into_iter().find(told) {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let ready = line(&|line| line["msg"] == "ready").await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (id, attribute, value) in [
        ("EV_1", "x-to-ip", "a.ACME.com"),
        ("EV_2", "x-to-ip", "no host"),
        ("EV_3", "x-to-ip", "x.acmee.com"),
        ("EV_4", "other", "x"),
    ] {
        let body = joined(id, id, value).replace("sip.h.x-to-ip", &format!("sip.h.{attribute}"));
        let token = crate::spec::world::livekit_token(&body, Clock::system().unix().seconds());
        let url = format!("http://{}/webhook", ready["listen"].as_str().expect("an address"));
        client.post(url).header("authorization", token).body(body).send().await.expect("an answer");
    }
    let of = async |id: &str| line(&|line| line["event_id"] == id && line["msg"] != "attempt failed").await;
    let routed = of("EV_1").await;
    assert_eq!((&routed["rule"], &routed["source"]), (&Value::from("domain"), &Value::from("sip.h.x-to-ip")));
    let bad = of("EV_2").await;
    assert_eq!((&bad["reason"], &bad["value"]), (&Value::from("bad_domain"), &Value::from("no host")));
    for (id, reason, words) in [
        ("EV_2", "bad_domain", "X-To-IP"),
        ("EV_3", "no_hook", "add the host"),
        ("EV_4", "no_domain", "include_headers"),
    ] {
        let told = of(id).await;
        assert_eq!(told["reason"], reason);
        assert!(told["fix"].as_str().expect("a fix").contains(words), "{told}");
    }
    let ended = std::process::Command::new("kill").arg(router.id().to_string()).status().expect("SIGTERM");
    assert!(ended.success() && router.wait().expect("its end").success());
}
