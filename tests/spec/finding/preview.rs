//! What an edit of the hook table would have done.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{
    Client, RECORDED, Tenant, World, event, joined, livekit_token, recorded, searched, table,
};

/// What `switchhook check` printed, and its exit code.
struct Checked {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Checked {
    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Each difference: calls, what was dialled, from, to, and why.
    fn moved(&self) -> Vec<Value> {
        let moved = self.lines().into_iter().filter(|line| line.get("why").is_some());
        let dialled = |line: &Value| {
            let kinds = ["domain", "number", "trunk", "url_of"].map(|kind| line[kind].clone());
            kinds.into_iter().find(|kind| !kind.is_null())
        };
        let told =
            |line: Value| json!([line["calls"], dialled(&line), line["before"], line["after"], line["why"]]);
        let mut moved: Vec<_> = moved.map(told).collect();
        moved.sort_by_key(ToString::to_string);
        moved
    }

    fn summary(&self) -> Value {
        self.lines().into_iter().find(|line| line.get("hooks").is_some()).expect("a summary")
    }
}

/// Tries this table on the past calls of a world.
async fn try_table(world: &World, hooks: &str, extra: &[&str]) -> Checked {
    let file = world.path("hooks.new.yaml");
    std::fs::write(&file, hooks).expect("a file");
    check(world, &[&[file.to_str().expect("text"), "--against"], extra].concat()).await
}

/// Runs `switchhook check`; behind `--against` comes the world's data directory.
async fn check(world: &World, args: &[&str]) -> Checked {
    let data = world.path("data").display().to_string();
    let args = args.iter().flat_map(|arg| [Some(*arg), (*arg == "--against").then_some(data.as_str())]);
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["check", "--allow-network", "127.0.0.0/8", "--allow-http"])
        .args(args.flatten())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("switchhook");
    let output = searched(&["check"], output);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Checked { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

async fn post(world: &World, body: &str) {
    assert_eq!(world.post(body).await.status, 200);
}

/// A call that is over: a caller who dialled `domain` and, if it is not empty, `number`.
async fn call(world: &World, name: &str, domain: &str, number: &str) {
    caller(world, name, domain, number).await;
    post(world, &event(&format!("EV_{name}_3"), "room_finished", name)).await;
}

/// The same while it is live.
async fn caller(world: &World, name: &str, domain: &str, number: &str) {
    post(world, &event(&format!("EV_{name}_1"), "room_started", name)).await;
    let mut body: Value = serde_json::from_str(&joined(&format!("EV_{name}_2"), name, domain)).expect("JSON");
    if !number.is_empty() {
        body["participant"]["attributes"]["sip.trunkPhoneNumber"] = json!(number);
    }
    post(world, &body.to_string()).await;
    body["event"] = json!("participant_left");
    body["id"] = json!(format!("EV_{name}_4"));
    post(world, &body.to_string()).await;
}

/// An entry of the hooks file.
fn entry(host: &str, tenant: &str, rest: &str, receiver: &Tenant) -> String {
    format!("  - host: \"{host}\"\n    url: {}\n    tenant: {tenant}\n{rest}", receiver.url())
}

const NUMBERS: &str = "    numbers: [\"+1 555-0102\"]\n";

/// One call is live.
async fn calls_of_all_kinds(world: &World) {
    for name in ["a", "b", "c"] {
        call(world, name, "calls.acme.example", "").await;
    }
    caller(world, "live", "calls.acme.example", "").await;
    call(world, "n", "edge.example", "15550102").await;
    call(world, "p", "passed.example", "").await;
    call(world, "w", "sub.wild.example", "").await;
    call(world, "v", "other.wild.example", "").await;
    call(world, "typo", "calls.acme-typo.example", "").await;
    call(world, "g", "voice.globex.example", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_tried_on_past_calls_and_each_difference_has_its_cause() {
    let to = Tenant::open().await;
    let before = [
        entry("calls.acme.example", "acme", "", &to),
        entry("voice.globex.example", "globex", NUMBERS, &to),
        entry("passed.example", "acme", "", &to),
        entry("*.wild.example", "wild", "", &to),
    ];
    let world = World::at(Clock::system(), &format!("hooks:\n{}", before.concat()), &[]).await;
    calls_of_all_kinds(&world).await;
    world.story("EV_g_3", |story| story["state"] == "delivered").await;
    let after = [
        entry("voice.globex.example", "globex", "", &to),
        entry("main.acme.example", "acme", NUMBERS, &to),
        entry("passed.example", "initech", "", &to),
        entry("*.wild.example", "wild", "", &to),
        entry("sub.wild.example", "acme", "", &to),
        entry("calls.acme-typo.example", "acme", "", &to),
    ];
    let after = format!("hooks:\n{}", after.concat());
    let tried = try_table(&world, &after, &["--json"]).await;
    assert_eq!((tried.code, tried.err.as_str()), (Some(0), ""), "{}", tried.out);
    let expected = [
        json!([1, "calls.acme-typo.example", null, "acme", "the host was added"]),
        json!([1, "passed.example", "acme", "initech", "the host belongs to another tenant"]),
        json!([1, "15550102", "globex", "acme", "numbers of main.acme.example"]),
        json!([
            1,
            "sub.wild.example",
            "wild",
            "acme",
            "sub.wild.example is more specific than *.wild.example"
        ]),
        json!([3, "calls.acme.example", "acme", null, "the host was removed"]),
    ];
    let mut expected = expected.to_vec();
    expected.sort_by_key(ToString::to_string);
    assert_eq!(tried.moved(), expected);
    let summary = tried.summary();
    let counts = ["hooks", "added", "changed", "removed", "calls", "live"].map(|key| summary[key].as_u64());
    assert_eq!(counts, [6, 3, 2, 1, 10, 1].map(Some), "{summary}");

    let told = try_table(&world, &after, &[]).await;
    assert!(
        told.out.contains("hooks.new.yaml: no fault, 6 hooks (1 removed, 2 changed, 3 added)"),
        "{}",
        told.out
    );
    assert!(told.out.contains("of the 10 calls of the last"), "{}", told.out);
    assert!(told.out.contains("acme → nobody (no_hook)"), "{}", told.out);
    assert!(told.out.contains("1 call is live now and keeps its destination"), "{}", told.out);

    // The router runs on, and the table in force changes nothing.
    let same = try_table(&world, &format!("hooks:\n{}", before.concat()), &["--json"]).await;
    assert!(same.moved().is_empty(), "{}", same.out);
    post(&world, &joined("EV_next", "next", "calls.acme.example")).await;
    world.story("EV_next", |story| story["tenant"] == "acme").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_outlive_the_history_for_as_long_as_the_setting_says() {
    let acme = Tenant::open().await;
    let keep = ["--keep-facts", "3d"];
    let table = table(&[("calls.acme.example", &acme)]);
    let world = World::at(Clock::manual(RECORDED), &table, &keep).await;
    call(&world, "old", "calls.acme.example", "").await;
    call(&world, "last", "calls.acme.example", "").await;
    let hour = Duration::from_secs(3600);
    world.story_later(Duration::from_secs(1), "EV_last_3", |story| story["state"] == "delivered").await;
    world.story_later(hour, "EV_old_2", |story| story["status"] == 404).await;
    let none = "hooks: []\n";
    let tried = try_table(&world, none, &["--json"]).await;
    let moved = json!([2, "calls.acme.example", "calls.acme.example", null, "the host was removed"]);
    assert_eq!(tried.moved(), [moved]);
    world.clock.advance(Duration::from_secs(2 * 24 * 3600));
    loop {
        world.clock.advance(hour);
        let calls = try_table(&world, none, &["--json"]).await.summary()["calls"].clone();
        if calls == 0 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_the_api_stay_in_force_beside_the_file() {
    let to = Tenant::open().await;
    let world = World::with(&[("calls.acme.example", &to)]).await;
    let operator = Client::operator(&world);
    let hook = json!({ "url": to.url(), "tenant": "globex", "numbers": ["+15550102"] });
    assert_eq!(operator.put("/v1/hooks/voice.globex.example", &hook).await.status, 201);
    call(&world, "n", "edge.example", "15550102").await;
    call(&world, "g", "voice.globex.example", "").await;
    world.story("EV_g_3", |story| story["state"] == "delivered").await;
    let tried = try_table(&world, &table(&[("calls.acme.example", &to)]), &["--json"]).await;
    assert!(tried.moved().is_empty(), "{}", tried.out);
    // The file takes the number and the host.
    let file =
        entry("calls.acme.example", "acme", NUMBERS, &to) + &entry("voice.globex.example", "acme", "", &to);
    let tried = try_table(&world, &format!("hooks:\n{file}"), &["--json"]).await;
    let expected = [
        json!([1, "15550102", "globex", "acme", "numbers of calls.acme.example"]),
        json!([1, "voice.globex.example", "globex", "acme", "the host belongs to another tenant"]),
    ];
    assert_eq!(tried.moved(), expected);
    assert!(tried.lines().iter().any(|line| line["shadows"] == "voice.globex.example"), "{}", tried.out);
    // Without the secret that seals them, nothing is guessed.
    std::fs::rename(world.path("data/master.secret"), world.path("master.secret")).expect("moved");
    let tried = try_table(&world, &table(&[("calls.acme.example", &to)]), &[]).await;
    assert!(tried.code == Some(1) && tried.err.contains("the master secret is needed"), "{}", tried.err);
    let secret = world.path("master.secret").display().to_string();
    let given = ["--master-secret-file", &secret, "--json"];
    let tried = try_table(&world, &table(&[("calls.acme.example", &to)]), &given).await;
    assert!(tried.code == Some(0) && tried.moved().is_empty(), "{} {}", tried.out, tried.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_in_force_would_do_as_well_is_no_effect_of_the_edit() {
    let to = Tenant::open().await;
    let world = World::with(&[("calls.acme.example", &to)]).await;
    call(&world, "t", "later.example", "").await;
    world.story("EV_t_3", |story| story["state"] == "unrouted" || story["state"] == "held").await;
    let later = table(&[("calls.acme.example", &to), ("later.example", &to)]);
    world.hooks(&later);
    world.reloaded(1).await;
    let tried = try_table(&world, &later, &[]).await;
    let (by_edit, before) = tried.out.split_once("so they would with the table in force").expect("two parts");
    assert!(by_edit.contains("nothing would have gone elsewhere"), "{}", tried.out);
    assert!(before.contains("nobody → later.example"), "{}", tried.out);
    // What is replayed goes where it went then.
    let replay = json!({ "unrouted": true, "domain": "later.example" });
    assert_eq!(world.api_send("/v1/replays", &replay).await.0, 200);
    world.story("EV_t_4", |story| story["tenant"] == "later.example").await;
    let tried = try_table(&world, &later, &[]).await;
    assert!(!tried.out.contains("so they would with the table in force"), "{}", tried.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_go_where_they_went() {
    let folder = recorded::recordings();
    let tenants = recorded::tenants().await;
    let hooks = recorded::hooks(&folder, &tenants);
    let world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    let mut last = String::new();
    for recording in recorded::all(&folder).into_values() {
        for posted in recording {
            let body = posted["body"].as_str().expect("a body");
            post(&world, body).await;
            let event: Value = serde_json::from_str(body).expect("JSON");
            last = event["id"].as_str().expect("an id").to_owned();
        }
    }
    world.story(&last, |story| story.get("state").is_some()).await;
    let tried = try_table(&world, &hooks, &["--json"]).await;
    assert!(tried.moved().is_empty(), "{}", tried.out);
    assert!(tried.summary()["calls"].as_u64() > Some(3), "{}", tried.out);
    let tried = try_table(&world, "hooks: []\n", &["--json"]).await;
    assert!(
        tried.moved().iter().all(|moved| moved[3].is_null()) && tried.moved().len() >= 3,
        "{}",
        tried.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_faults_and_a_folder_without_a_store_are_refused() {
    let to = Tenant::open().await;
    let world = World::with(&[("calls.acme.example", &to)]).await;
    let faulty = try_table(&world, "hooks:\n  - host: a b\n", &[]).await;
    assert!(faulty.code == Some(1) && faulty.out.contains("nothing loaded"), "{}", faulty.out);
    let none = try_table(&world, &table(&[("calls.acme.example", &to)]), &[]).await;
    assert!(
        none.code == Some(0) && none.out.contains("no call with a SIP participant is kept"),
        "{}",
        none.out
    );
    let (file, folder) = (world.path("hooks.new.yaml"), world.path("nothing"));
    let [file, folder] = [&file, &folder].map(|path| path.display().to_string());
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["check", &file, "--against", &folder, "--allow-network", "127.0.0.0/8", "--allow-http"])
        .output()
        .await
        .expect("switchhook");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("no switchhook.db in it"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_a_tenants_url_and_calls_that_an_entry_cuts_off_are_foreseen() {
    let to = Tenant::open().await;
    let before =
        entry("calls.acme.example", "acme", "", &to) + &entry("voice.globex.example", "globex", "", &to);
    let world = World::at(Clock::system(), &format!("hooks:\n{before}"), &[]).await;
    let by_url = joined("EV_url", "url", "elsewhere.example");
    let token = livekit_token(&by_url, world.clock.unix().seconds());
    assert_eq!(world.post_to("/webhook/livekit/acme", &by_url, &token).await.status, 200);
    post(&world, &event("EV_url_end", "room_finished", "url")).await;
    caller(&world, "live", "voice.globex.example", "").await;
    world.story("EV_live_4", |story| story["state"] == "delivered").await;
    world.story("EV_url", |story| story["tenant"] == "acme").await;
    // The host passes to another tenant: with `now: true`, calls in progress are nobody's from then on.
    let passed = |rest: &str| format!("hooks:\n{}", entry("voice.globex.example", "initech", rest, &to));
    let keeping = try_table(&world, &passed(""), &["--json"]).await;
    let no_url = json!([1, "acme", "acme", null, "calls.acme.example was removed"]);
    assert_eq!(keeping.moved(), std::slice::from_ref(&no_url), "{}", keeping.out);
    assert_eq!(keeping.summary()["live"], 1);
    let cutting = try_table(&world, &passed("    now: true\n"), &["--json"]).await;
    let cut = json!([1, "voice.globex.example", "globex", null, "`now: true` cuts calls in progress off"]);
    assert_eq!(cutting.moved(), [no_url, cut], "{}", cutting.out);
    assert_eq!(cutting.summary()["live"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_older_release_is_named_as_one() {
    let to = Tenant::open().await;
    let mut world = World::with(&[("calls.acme.example", &to)]).await;
    world.stop().await;
    let store = rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the store");
    store.execute_batch("DROP TABLE facts").expect("as it was");
    let hooks = table(&[("calls.acme.example", &to)]);
    let older = try_table(&world, &hooks, &[]).await;
    assert!(older.code == Some(1) && older.err.contains("made by an older Switchhook"), "{}", older.err);
    store.pragma_update(None, "user_version", 99).expect("a version");
    drop(store);
    let newer = try_table(&world, &hooks, &[]).await;
    assert!(newer.code == Some(1) && newer.err.contains("made by a newer Switchhook"), "{}", newer.err);
}
