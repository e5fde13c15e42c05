//! The doctor beside a running router, and beside what one has left.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::server::{LiveKit, Place};
use crate::spec::world::{Client, KEY, SECRET, Tenant, World, as_ordinary_user, joined, table, token_of};

/// What the command prints beside a world's router.
async fn doctor(world: &World, args: &[&str]) -> Vec<serde_json::Value> {
    let hooks = world.path("hooks.yaml").display().to_string();
    let fixed = ["doctor", "--hooks", &hooks, "--allow-http", "--allow-network", "127.0.0.0/8", "--json"];
    let said = world.command(&[&fixed[..], args].concat()).await;
    assert_eq!(said.err, "");
    said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn has(findings: &[serde_json::Value], check: &str) -> bool {
    findings.iter().any(|finding| finding["check"] == check)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_says_whether_livekit_has_reached_it() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let findings = doctor(&world, &[]).await;
    assert!(has(&findings, "no_event_yet") && !has(&findings, "router_not_running"), "{findings:#?}");

    let body = joined("EV_1", "c", "a.example");
    let now = world.clock.unix().seconds();
    assert_eq!(world.post_signed(&body, &token_of("APIother", SECRET, &body, now)).await.status, 401);
    let findings = doctor(&world, &[]).await;
    let refused = findings.iter().find(|finding| finding["check"] == "events_refused").expect("a finding");
    assert_eq!(refused["severity"], "problem", "{refused}");
    assert!(refused["what"].as_str().is_some_and(|what| what.contains("unknown_key")), "{refused}");
    assert!(refused["why"].as_str().is_some_and(|why| why.contains("webhook.api_key")), "{refused}");

    assert_eq!(world.post_signed(&body, &token_of(KEY, "guess", &body, now)).await.status, 401);
    assert_eq!(world.post(&body).await.status, 200);
    world.story("EV_1", |story| story["state"] == "delivered").await;
    let findings = doctor(&world, &[]).await;
    assert!(!has(&findings, "no_event_yet"), "{findings:#?}");
    let refused = findings.iter().find(|finding| finding["check"] == "events_refused").expect("a finding");
    assert_eq!(refused["severity"], "warning", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_the_api_count_and_a_faulty_file_is_said_by_the_router() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let spec = json!({ "url": tenant.url(), "tenant": "acme", "trunks": ["ST_ryBV2FLg8wev"], "numbers": ["+15550999"] });
    assert_eq!(Client::operator(&world).put("/v1/hooks/b.example", &spec).await.status, 201);
    let livekit = LiveKit::recorded().await;
    std::fs::write(world.path("keys"), format!("{KEY}: {SECRET}\n")).expect("keys");
    let (url, keys) = (livekit.url(), world.path("keys").display().to_string());
    let asked = ["--livekit-url", &url, "--keys-file", &keys];
    let findings = doctor(&world, &asked).await;
    let lost = findings.iter().find(|finding| finding["check"] == "number_without_trunk").expect("a finding");
    assert_eq!(lost["id"], "b.example");
    // One tenant has the trunk of the direct rule: only the other rule lets tenants meet.
    let meet: Vec<_> = findings.iter().filter(|finding| finding["check"] == "tenants_can_meet").collect();
    assert!(meet.len() == 1 && meet[0]["id"] == "SDR_YqZC9VFFKr2X", "{meet:#?}");

    world.hooks("hooks:\n  - nonsense\n");
    world.measures("degraded{reason=\"hooks\"} 1").await;
    let findings = doctor(&world, &[]).await;
    assert!(!has(&findings, "hooks_file") && has(&findings, "router_degraded"), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_runs_needs_neither_its_file_nor_its_flags_given_again() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    // Its hooks are plain http to a private address, which the doctor's own flags do not allow.
    let file = world.path("hooks.yaml").display().to_string();
    for file in [&*file, "none.yaml"] {
        let said = world.command(&["doctor", "--hooks", file]).await;
        assert!(said.out.contains("ready; 1 hook; no call yet"), "{}", said.out);
        assert!(!said.out.contains("problem") && !said.out.contains("hooks file"), "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_router_is_needs_no_token() {
    let world = World::with(&[]).await;
    let url = world.api_url("").replace("http://", "http://user:hunter2@");
    let told = Place::with("hooks: []\n").doctor(&[], &["--url", &url]).await;
    assert!(told.out.starts_with("router") && told.out.contains("  ready\n"), "{}", told.out);
    assert!(!told.out.contains("does not answer") && !told.out.contains("hunter2"), "{}", told.out);
    assert!(told.out.contains("give --token, or set SWITCHHOOK_TOKEN"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_its_data_directory_is_looked_at() {
    let mut world = World::at(switchhook::Clock::system(), &table(&[]), &[]).await;
    world.stop().await;
    let data = world.path("data").display().to_string();
    let place = Place::with(&table(&[]));
    let told = place.doctor(&[], &["--data", &data]).await;
    assert!(told.out.contains("does not run here; its store can be read"), "{}", told.out);
    assert!(!told.out.contains("problem"), "{}", told.out);
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let told = place.doctor(&[], &["--data", &data, "--json"]).await;
    assert!(
        told.code == 1 && told.only("data_open_to_others")["what"].to_string().contains("mode 755"),
        "{}",
        told.out
    );
    std::fs::create_dir(world.path("other")).expect("a folder");
    std::fs::write(world.path("other/switchhook.db"), "no database").expect("a file");
    let other = world.path("other").display().to_string();
    let told = place.doctor(&[], &["--data", &other, "--json"]).await;
    assert_eq!(told.only("store_unreadable")["severity"], "problem");
    let told = place.doctor(&[], &["--data", "none"]).await;
    assert!(told.out.contains("there is no data directory yet"), "{}", told.out);
}

#[test]
fn of_a_closed_data_directory_it_is_not_said_that_no_router_runs() {
    let (place, mode) = (Place::with("hooks: []\n"), |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    });
    let path = |name: &str| place.dir.path().join(name);
    std::fs::copy(env!("CARGO_BIN_EXE_switchhook"), path("switchhook")).expect("a copy");
    std::fs::create_dir(path("data")).expect("a folder");
    mode(place.dir.path(), 0o755);
    mode(&path("data"), 0o000);
    let doctor = as_ordinary_user(&path("switchhook"))
        .args(["doctor", "--json", "--hooks", "none.yaml"])
        .current_dir(place.dir.path())
        .output()
        .expect("switchhook");
    mode(&path("data"), 0o700);
    let told = String::from_utf8(doctor.stdout).expect("text");
    assert!(doctor.status.code() == Some(1) && told.contains("data_closed"), "{told}");
    for guess in ["router_not_running", "store_unreadable", "hooks_file"] {
        assert!(!told.contains(guess), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_named_must_answer() {
    let place = Place::with("hooks: []\n");
    let told = place.doctor(&[], &["--url", "http://127.0.0.1:9", "--token", "x", "--json"]).await;
    assert!(
        told.code == 1 && told.only("router_away")["what"].to_string().contains("no router answers"),
        "{}",
        told.out
    );
}
