//! What operators see and touch.

use std::process::{Command, Output};

use serde_json::Value;

use crate::spec::world::{
    KEY, Process, Reply, SECRET, Tenant, World, as_ordinary_user, event, joined, livekit_token, searched,
};

fn switchhook(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchhook"));
    let output = command.args(args).env_clear().current_dir(std::env::temp_dir()).output();
    searched(args, output.expect("switchhook"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_told_on_both_listeners() {
    let world = World::with(&[]).await;
    for base in [world.url(""), world.api_url("")] {
        let health = reqwest::get(format!("{base}/healthz")).await.expect("an answer");
        assert_eq!(health.status(), 200);
        let ready: Value =
            reqwest::get(format!("{base}/readyz")).await.expect("an answer").json().await.expect("JSON");
        assert_eq!(ready["status"], "ready");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_operators_token_nothing_is_told() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let paths = ["/metrics", "/v1/events/EV_1", "/v1/tenants/a.example/secret"];
    for path in paths {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let bare = client.get(world.api_url(path)).send().await.expect("an answer");
        assert_eq!(bare.status(), 401, "{path}");
        let claims = serde_json::json!({ "aud": "switchhook", "scope": "admin", "jti": "x", "exp": 4_000_000_000_i64 });
        let forged = client.get(world.api_url(path)).bearer_auth(crate::spec::world::sign(&claims, "guess"));
        assert_eq!(forged.send().await.expect("an answer").status(), 401, "{path}");
        let expired = serde_json::json!({ "aud": "switchhook", "scope": "admin", "jti": "x", "exp": 1 });
        let secret = std::fs::read_to_string(world.path("data/api.secret")).expect("the secret");
        let old = client.get(world.api_url(path)).bearer_auth(crate::spec::world::sign(&expired, &secret));
        assert_eq!(old.send().await.expect("an answer").status(), 401, "{path}");
        // LiveKit's own tokens open nothing here.
        let livekit = client.get(world.api_url(path)).bearer_auth(livekit_token("", 1));
        assert_eq!(livekit.send().await.expect("an answer").status(), 401, "{path}");
    }
    assert_eq!(world.api("/v1/events/EV_none").await.0, 404);
    assert_eq!(world.api("/v1/tenants/No-Body/secret").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_what_happened() {
    let tenant = Tenant::answering([Reply::Status(500)]).await;
    let world = World::at(
        switchhook::Clock::system(),
        &crate::spec::world::table(&[("a.example", &tenant)]),
        &["--metrics-open"],
    )
    .await;
    for (id, host) in [("EV_1", "a.example"), ("EV_1", "a.example"), ("EV_2", "nobody.example")] {
        assert_eq!(world.post(&joined(id, "c", host)).await.status, 200);
    }
    assert_eq!(world.post(r#"{"event":"new_one","id":"EV_3"}"#).await.status, 200);
    assert_eq!(world.post("no JSON").await.status, 200);
    world.story("EV_1", |story| story["state"] == "delivered").await;
    let metrics =
        reqwest::get(world.api_url("/metrics")).await.expect("an answer").text().await.expect("text");
    let expected = [
        r#"switchhook_events_received_total{event="participant_joined"} 3"#,
        r#"switchhook_events_received_total{event="other"} 2"#,
        r#"switchhook_events_received_total{event="room_started"} 0"#,
        r#"switchhook_events_duplicate_total 1"#,
        r#"switchhook_events_routed_total{rule="domain"} 1"#,
        r#"switchhook_events_unrouted_total{reason="no_hook"} 1"#,
        r#"switchhook_events_unrouted_total{reason="no_call"} 1"#,
        r#"switchhook_events_unrouted_total{reason="unreadable"} 1"#,
        r#"switchhook_ack_duration_seconds_count 5"#,
        r#"switchhook_attempts_total{outcome="failed",status_class="5xx"} 1"#,
        r#"switchhook_attempts_total{outcome="delivered",status_class="2xx"} 1"#,
        r#"switchhook_retries_total 1"#,
        r#"switchhook_delivery_duration_seconds_count 1"#,
        r#"switchhook_pending_deliveries{tenant="a.example"} 0"#,
        r#"switchhook_hooks 1"#,
        r#"switchhook_degraded{reason="store"} 0"#,
    ];
    for line in expected {
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
}

/// A tenant's secret, as the command prints it.
fn secret_of(world: &World, tenant: &str) -> String {
    let data = world.path("data").display().to_string();
    let secret = String::from_utf8(switchhook(&["secret", tenant, "--data", &data]).stdout).expect("text");
    assert!(secret.starts_with("whsec_"), "{secret}");
    secret
}

#[tokio::test(flavor = "multi_thread")]
async fn grep_tells_an_events_whole_story_in_the_log() {
    let tenant = Tenant::answering([Reply::Status(503)]).await;
    let mut world = World::with(&[]).await;
    world.stop().await;
    let url = format!("{}?token=the-token-of-a-logged-url", tenant.url());
    world.hooks(&format!("hooks:\n  - host: a.example\n    tenant: acme\n    url: {url}\n"));
    let mut router = Process::start(&world);
    for (id, host) in [("EV_1", "a.example"), ("EV_2", "aa.example")] {
        let dialled = r#""sip.ruleID":"SDR_x","sip.trunkPhoneNumber":"+1 555 0101""#;
        router.post(joined(id, "c", host).replace(r#""sip.ruleID":"SDR_x""#, dialled)).await;
    }
    router.line(|line| line["msg"] == "delivered").await;
    let secret = secret_of(&world, "acme");
    router.stop();

    let mut story: Vec<_> = router.lines().into_iter().filter(|line| line["event_id"] == "EV_1").collect();
    // The request's task tells of the receipt, the dispatcher's of attempts: on a busy machine the
    // first attempt may be through before the request's task is.
    story.sort_by_key(|line| line["attempt"].as_u64());
    let messages: Vec<_> = story.iter().map(|line| line["msg"].as_str().unwrap_or_default()).collect();
    assert_eq!(messages, ["received", "attempt failed", "delivered"]);
    assert_eq!((&story[0]["rule"], &story[0]["tenant"]), (&Value::from("domain"), &Value::from("acme")));
    assert_eq!((&story[1]["status"], &story[1]["attempt"]), (&Value::from(503), &Value::from(1)));
    assert!(story[1]["next_in_ms"].as_i64().expect("a number") > 0);
    assert_eq!((&story[2]["url"], &story[2]["attempt"]), (&Value::from(tenant.url()), &Value::from(2)));
    let of_second = |msg: &str| {
        router
            .lines()
            .into_iter()
            .find(|line| line["event_id"] == "EV_2" && line["msg"] == msg)
            .expect("a line")
    };
    // The number came with another domain than before.
    let changed = of_second("domain_changed");
    let told = ["number", "before_domain", "before_tenant", "domain"].map(|key| changed[key].clone());
    assert_eq!(told, ["15550101", "a.example", "acme", "aa.example"].map(Value::from));
    let unrouted = of_second("unrouted");
    assert_eq!((&unrouted["msg"], &unrouted["reason"]), (&Value::from("unrouted"), &Value::from("no_hook")));
    assert_eq!(unrouted["nearest"], serde_json::json!(["a.example"]));
    let text = std::fs::read_to_string(world.path("log")).expect("the log");
    for hushed in ["the-token-of", SECRET, secret.trim()] {
        assert!(!text.contains(hushed), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_url_that_was_posted_to_also_where_a_call_keeps_an_older_one() {
    let before = Tenant::answering([Reply::Status(200), Reply::Status(500)]).await;
    let after = Tenant::open().await;
    let mut world = World::with(&[]).await;
    world.stop().await;
    let table = |url: String| format!("hooks:\n  - host: a.example\n    url: {url}\n");
    world.hooks(&table(format!("{}?token=the-token-of-an-older-url", before.url())));
    let router = Process::start(&world);
    let told = async |id: &str, msg: &str| {
        router.line(|line| line["event_id"] == id && line["msg"] == msg).await["url"].clone()
    };
    router.post(joined("EV_1", "c", "a.example")).await;
    assert_eq!(told("EV_1", "delivered").await, before.url());
    world.hooks(&table(after.url()));
    router.line(|line| line["msg"] == "hooks reloaded").await;
    router.post(event("EV_2", "room_finished", "c")).await;
    assert_eq!(told("EV_2", "attempt failed").await, before.url());
    // What has failed follows the corrected URL.
    assert_eq!(told("EV_2", "delivered").await, after.url());
    assert_eq!(
        (before.ids(), after.ids()),
        (vec!["EV_1".to_owned(), "EV_2".to_owned()], vec!["EV_2".to_owned()])
    );
}

#[test]
fn what_is_wrong_with_a_start_is_said_in_one_line_with_the_right_code() {
    let usage = switchhook(&["--no-such-flag"]);
    assert_eq!(usage.status.code(), Some(2));
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("hooks.yaml"), "hooks: []\n").expect("hooks");
    std::fs::write(path("keys.yaml"), format!("{KEY}: {SECRET}\n")).expect("keys");
    let (hooks, keys, data) = (path("hooks.yaml"), path("keys.yaml"), path("data"));

    let no_keys = switchhook(&["--hooks", &hooks, "--data", &data]);
    assert_eq!(no_keys.status.code(), Some(78));
    let advice = "switchhook: cannot start\n  no LiveKit key. Set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or --keys-file, or try --dev.\n";
    assert_eq!(stderr(&no_keys), advice);

    let no_data = switchhook(&["--hooks", &hooks, "--keys-file", &keys, "--data", "/proc/nowhere"]);
    assert_eq!(no_data.status.code(), Some(78));
    assert!(
        stderr(&no_data).contains("the data directory /proc/nowhere cannot be written"),
        "{}",
        stderr(&no_data)
    );

    let no_hooks = switchhook(&["--hooks", &path("none.yaml"), "--keys-file", &keys, "--data", &data]);
    assert_eq!(no_hooks.status.code(), Some(78));
    assert!(stderr(&no_hooks).contains("none.yaml"), "{}", stderr(&no_hooks));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let args = ["--hooks", &hooks, "--keys-file", &keys, "--data", &data, "--listen", &address];
    let in_use = switchhook(&args);
    assert_eq!(in_use.status.code(), Some(1));
    assert!(stderr(&in_use).contains(&format!("cannot listen on {address}")), "{}", stderr(&in_use));

    let exposed = switchhook(&["--dev", "--hooks", &hooks, "--data", &data, "--listen", "0.0.0.0:0"]);
    assert_eq!(exposed.status.code(), Some(78));
    assert!(stderr(&exposed).contains("--dev listens on loopback only"), "{}", stderr(&exposed));
}

#[test]
fn a_data_directory_that_belongs_to_somebody_else_ends_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let allow = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    };
    std::fs::write(path("hooks.yaml"), "hooks: []\n").expect("hooks");
    std::fs::write(path("keys.yaml"), format!("{KEY}: {SECRET}\n")).expect("keys");
    std::fs::copy(env!("CARGO_BIN_EXE_switchhook"), path("switchhook")).expect("the program");
    std::fs::create_dir(path("data")).expect("a folder");
    allow(dir.path(), 0o755);
    allow(&path("data"), 0o555);
    let start = as_ordinary_user(&path("switchhook"))
        .args(["--hooks", "hooks.yaml", "--keys-file", "keys.yaml", "--data", "data"])
        .current_dir(dir.path())
        .output()
        .expect("switchhook");
    assert_eq!(start.status.code(), Some(78), "{}", stderr(&start));
    let told = "the data directory data cannot be written: data/lock: Permission denied";
    assert!(stderr(&start).contains(told), "{}", stderr(&start));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_belongs_to_one_router_and_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with(&[]).await;
    let (hooks, keys) = (world.path("hooks.yaml"), world.path("keys.yaml"));
    let data = world.path("data");
    let shown = |path: &std::path::Path| path.display().to_string();
    let second =
        switchhook(&["--hooks", &shown(&hooks), "--keys-file", &shown(&keys), "--data", &shown(&data)]);
    assert_eq!(second.status.code(), Some(78));
    assert!(stderr(&second).contains("in use by another switchhook"), "{}", stderr(&second));
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in ["api.secret", "master.secret"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[test]
fn help_reads_well() {
    let help = switchhook(&["--help"]);
    let text = String::from_utf8(help.stdout).expect("text");
    for word in ["serve", "demo", "send", "listen", "secret", "--hooks", "SWITCHHOOK_HOOKS", "--dev"] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

/// The sample beside the README is what a first start uses.
#[test]
fn the_sample_hook_table_is_without_fault() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("keys.yaml"), format!("{KEY}: {SECRET}\n")).expect("keys");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/hooks.yaml");
    let args = ["--hooks", sample, "--keys-file", &path("keys.yaml"), "--data", &path("data")];
    assert!(switchhook::Config::from_args(args).is_ok());
}

/// What LiveKit would take for delivered must leave a trace here.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_to_the_wrong_path_or_with_too_large_a_body_is_counted() {
    let world = World::at(switchhook::Clock::system(), "hooks: []\n", &["--metrics-open"]).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let wrong = client.post(world.url("/webhooks")).send().await.expect("an answer");
    assert_eq!(wrong.status(), 404);
    assert_eq!(world.post(&"x".repeat((1 << 20) + 1)).await.status, 413);
    let slash = livekit_token("{}", world.clock.unix().seconds());
    let slash = client.post(world.url("/webhook/")).header("authorization", slash).body("{}");
    assert_eq!(slash.send().await.expect("an answer").status(), 200);
    let metrics =
        reqwest::get(world.api_url("/metrics")).await.expect("an answer").text().await.expect("text");
    for reason in ["not_found", "too_large"] {
        let line = format!("switchhook_events_rejected_total{{reason=\"{reason}\"}} 1");
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
}

#[test]
fn secrets_that_are_none_and_misspelt_switches_end_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("hooks.yaml"), "hooks: []\n").expect("hooks");
    std::fs::write(path("keys.yaml"), format!("{KEY}: {SECRET}\n")).expect("keys");
    std::fs::create_dir(path("data")).expect("a folder");
    std::fs::write(path("data/api.secret"), "").expect("written");
    let start = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchhook"));
        command.args([
            "--hooks",
            &path("hooks.yaml"),
            "--keys-file",
            &path("keys.yaml"),
            "--data",
            &path("data"),
        ]);
        command.env_clear().env(name, value).output().expect("switchhook")
    };
    let empty = start("NOTHING", "");
    assert_eq!(empty.status.code(), Some(78));
    assert!(stderr(&empty).contains("api.secret holds less than 32 characters"), "{}", stderr(&empty));
    std::fs::remove_file(path("data/api.secret")).expect("removed");
    let missing = start("SWITCHHOOK_MASTER_SECRET", "/nowhere/of/more/than/32/characters/master.secret");
    assert_eq!(missing.status.code(), Some(78));
    assert!(stderr(&missing).contains("/nowhere/of/more"), "{}", stderr(&missing));
    assert_eq!(start("SWITCHHOOK_ALLOW_HTTP", "fasle").status.code(), Some(2));
}
