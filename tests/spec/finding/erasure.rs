//! A tenant's data is erased.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use switchhook::{Clock, UnixMillis};

use crate::spec::world::recorded::{HOSTS, all, hooks, recordings, rows, tenants, text};
use crate::spec::world::{Client, PATIENCE, Process, RECORDED, Tenant, World, event, joined, table};

/// When the release of version 1 left its directory.
const LEFT_AT: UnixMillis = UnixMillis(1_795_742_875_000);

/// The report, once all is erased; time is moved until then.
async fn erased(world: &World, tenant: &str) -> Value {
    let began = Instant::now();
    loop {
        let (status, told) = world.api(&format!("/v1/tenants/{tenant}/data")).await;
        assert_eq!(status, 200, "{told:#}");
        if !told["done_at"].is_null() {
            return told;
        }
        assert!(began.elapsed() < PATIENCE, "{told:#}");
        world.clock.advance(Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// All texts of a body that say something: keys of JSON and short words say nothing.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.len() >= 6 => drop(found.insert(text.clone())),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

/// The data directory as another process copies it: to open and close the database's file here would drop the locks
/// that this process has on it.
fn copied(world: &World) -> Vec<(PathBuf, String)> {
    let copy = tempfile::tempdir().expect("a folder");
    let copying =
        std::process::Command::new("cp").arg("-r").arg(world.path("data")).arg(copy.path()).status();
    assert!(copying.expect("cp").success());
    let files = std::fs::read_dir(copy.path().join("data")).expect("files");
    files
        .map(|file| {
            let path = file.expect("a file").path();
            let bytes = std::fs::read(&path).expect("bytes");
            (path, String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

/// Where any of these texts is found.
fn found(world: &World, texts: &BTreeSet<String>) -> Vec<String> {
    let files = copied(world);
    let places = files.iter().flat_map(|(path, all)| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        texts.iter().filter(|text| all.contains(text.as_str())).map(move |text| format!("{name}: {text}"))
    });
    places.collect()
}

fn open(world: &World) -> Connection {
    Connection::open(world.path("data/switchhook.db")).expect("the database")
}

/// All rows of a query, as text.
fn all_rows(store: &Connection, sql: &str) -> Vec<String> {
    let mut statement = store.prepare(sql).expect("a query");
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
        let cells: Vec<Cell> = (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        Ok(format!("{cells:?}"))
    };
    statement.query_map([], row).expect("rows").collect::<Result<_, _>>().expect("rows")
}

/// What belongs to other tenants, and the hooks.
fn others(world: &World, tenant: &str) -> BTreeSet<String> {
    let (store, mut all) = (open(world), BTreeSet::new());
    let of_others = format!("(SELECT seq FROM events WHERE tenant <> '{tenant}')");
    for sql in [
        format!("SELECT * FROM events WHERE tenant <> '{tenant}' ORDER BY seq"),
        format!("SELECT * FROM bodies WHERE seq IN {of_others} ORDER BY seq"),
        format!("SELECT * FROM attempts WHERE seq IN {of_others} ORDER BY seq"),
        format!("SELECT * FROM calls WHERE tenant <> '{tenant}' ORDER BY call"),
        format!("SELECT * FROM participants WHERE tenant <> '{tenant}' ORDER BY call, participant"),
        format!("SELECT number, domain, tenant, seen_at FROM numbers WHERE tenant <> '{tenant}'"),
        "SELECT * FROM hooks ORDER BY id".to_owned(),
    ] {
        all.extend(all_rows(&store, &sql));
    }
    all
}

/// What only the tenant's events say: their texts without those of anybody else's, of the hook table, and of calls in
/// progress.
fn own_texts(tenant: &str, played: &BTreeMap<String, Vec<Value>>) -> BTreeSet<String> {
    let whose: BTreeMap<_, _> =
        rows(&recordings()).into_iter().map(|row| (row[1].clone(), row[3].clone())).collect();
    let (mut own, mut other, mut live) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for post in played.values().flatten() {
        let body: Value = serde_json::from_str(text(post, "body")).expect("JSON");
        let is_own = whose.get(body["id"].as_str().expect("an id")).is_some_and(|host| host == tenant);
        texts(&body, if is_own { &mut own } else { &mut other });
        let call: &mut BTreeSet<String> = live.entry(body["room"]["sid"].to_string()).or_default();
        if body["event"] == "room_finished" {
            call.insert("over".into());
        }
        texts(&body["room"]["sid"], call);
        texts(&body["room"]["name"], call);
        texts(&body["participant"]["sid"], call);
    }
    let in_progress = live.values().filter(|call| !call.contains("over")).flatten();
    let kept: BTreeSet<_> = other.iter().chain(in_progress).cloned().collect();
    let table = HOSTS.iter().map(ToString::to_string);
    let made = [joined("EV_others_1", "others_room", "nobody.example")];
    let all: Vec<String> = kept.into_iter().chain(table).chain(made).collect();
    // LiveKit's own words are in the descriptions of this program, too.
    let is_word = |text: &String| text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let is_others = |text: &String| all.iter().any(|other| other.contains(text.as_str()));
    own.into_iter().filter(|text| !is_word(text) && !is_others(text)).collect()
}

/// The report says what was erased, and what stays.
fn tells_all(report: &Value, acme: &str) {
    let counts = &report["erased"];
    let delivered = rows(&recordings()).iter().filter(|row| row[3] == acme).count();
    assert_eq!(counts["delivered"], json!(delivered), "{report:#}");
    let without_hook = counts["unrouted"].as_u64().zip(counts["held"].as_u64()).map(|(a, b)| a + b);
    assert_eq!((&counts["pending"], without_hook), (&json!(1), Some(3)), "{report:#}");
    let shared = counts["shared"].as_array().expect("a list");
    assert!(shared.iter().any(|call| call["tenant"] == HOSTS[1]), "{report:#}");
    let stays: Vec<_> =
        report["stays"].as_array().expect("a list").iter().map(|stays| stays["what"].as_str()).collect();
    for what in ["hooks", "audit", "log lines", "ids of calls", "shared calls"] {
        assert!(stays.contains(&Some(what)), "{stays:?}");
    }
}

/// Of the audit log who, what and when stay.
async fn has_no_details(world: &World, acme: &str) {
    let (_, audit) = world.api(&format!("/v1/audit?tenant={acme}")).await;
    let records = audit["entries"].as_array().expect("entries");
    assert_eq!(records[0]["action"], "tenant.erase", "{audit:#}");
    for record in &records[1..] {
        assert_eq!((record["before"].is_null(), record["after"].is_null()), (true, true), "{record:#}");
        assert_eq!((record["actor"].as_str(), record["action"].is_string()), (Some("operator"), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_had_is_found_nowhere_and_others_keep_all_of_theirs() {
    let tenants = tenants().await;
    let (folder, acme) = (recordings(), HOSTS[0]);
    let world = World::at(Clock::manual(RECORDED), &hooks(&folder, &tenants), &[]).await;
    let played = all(&folder);
    for post in played.values().flatten() {
        assert_eq!(world.post(text(post, "body")).await.status, 200);
    }
    for (host, tenant) in HOSTS.iter().zip(&tenants) {
        tenant.wait_for(rows(&folder).iter().filter(|row| row[3] == *host).count()).await;
    }
    // A hook that was removed, one that is paused, and a call in progress.
    let operator = Client::operator(&world);
    for host in ["old.acme.example", "paused.acme.example"] {
        let hook = json!({ "url": tenants[0].url(), "tenant": acme, "paused": host.starts_with("paused") });
        let put = operator.put(&format!("/v1/hooks/{host}"), &hook).await;
        assert_eq!(put.status, 201, "{}", put.body);
    }
    assert_eq!(operator.delete("/v1/hooks/old.acme.example").await.status, 204);
    for body in [
        event("EV_own_secret_0", "room_started", "own_secret_room"),
        joined("EV_own_secret_1", "own_secret_room", "old.acme.example"),
        event("EV_own_secret_3", "room_finished", "own_secret_room"),
        joined("EV_own_secret_2", "own_secret_paused", "paused.acme.example"),
        event("EV_others_0", "room_started", "others_room"),
        joined("EV_others_1", "others_room", "nobody.example"),
    ] {
        assert_eq!(world.post(&body).await.status, 200);
    }
    let mut own = own_texts(acme, &played);
    own.extend(["own_secret_room", "EV_own_secret_0", "EV_own_secret_1"].map(str::to_owned));
    assert!(own.len() > 300, "{}", own.len());
    let waits = format!("SELECT 1 FROM events WHERE state = 0 AND tenant <> '{acme}'");
    let began = Instant::now();
    while !all_rows(&open(&world), &waits).is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?}", all_rows(&open(&world), &waits));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = (found(&world, &own).len(), others(&world, acme));
    assert!(before.0 > 300, "{}", before.0);

    let begun = operator.delete(&format!("/v1/tenants/{acme}/data")).await;
    assert_eq!((begun.status, &begun.body["done_at"]), (202, &Value::Null), "{}", begun.body);
    let again = operator.delete(&format!("/v1/tenants/{acme}/data")).await;
    assert_eq!((again.status, &again.body["asked_at"]), (202, &begun.body["asked_at"]));
    let report = erased(&world, acme).await;

    assert_eq!(found(&world, &own), Vec::<String>::new());
    // Of the call in progress its id and its name are left.
    let calls = all_rows(&open(&world), "SELECT call, room FROM calls WHERE instr(call, 'own_secret') > 0");
    assert_eq!(calls, [r#"[Text("RM_own_secret_paused"), Text("own_secret_paused")]"#]);
    let after = others(&world, acme);
    let changed: Vec<_> = before.1.symmetric_difference(&after).collect();
    assert_eq!(changed, Vec::<&String>::new());
    for id in ["EV_others_0", "EV_others_1"] {
        assert_eq!(world.api(&format!("/v1/events/{id}")).await.0, 200);
    }

    tells_all(&report, acme);
    has_no_details(&world, acme).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_call_in_progress_reaches_its_tenant_and_is_new_data() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    let number = joined("EV_1", "live", "a.example")
        .replace("sip.ruleID\":\"SDR_x\"", "sip.ruleID\":\"SDR_x\",\"sip.trunkPhoneNumber\":\"+15550100\"");
    assert_eq!(world.post(&number).await.status, 200);
    tenant.wait_for(1).await;
    assert_eq!(Client::operator(&world).delete("/v1/tenants/a.example/data").await.status, 202);
    let report = erased(&world, "a.example").await;
    let counts = ["delivered", "bare_calls", "numbers"].map(|what| report["erased"][what].clone());
    assert_eq!(counts, [json!(1), json!(1), json!(1)], "{report:#}");
    assert_eq!(found(&world, &["+15550199", "15550100"].map(str::to_owned).into()), Vec::<String>::new());
    // Found by the room's name, which goes with the call's end.
    let by_name = json!({ "event": "egress_started", "room": { "name": "live" }, "id": "EV_2" }).to_string();
    for body in [by_name, event("EV_3", "room_finished", "live")] {
        assert_eq!(world.post(&body).await.status, 200);
    }
    let calls = all_rows(&open(&world), "SELECT call, room FROM calls");
    assert_eq!(calls, [r#"[Text("RM_live"), Null]"#]);
    let came = tenant.wait_for(3).await;
    let numbers: Vec<_> = came.iter().map(|one| one.header("switchhook-sequence").to_owned()).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    // The secret is renewed, and the older one signs beside it.
    assert_eq!(came[2].header("webhook-signature").split(' ').count(), 2);
    let secrets = world.api("/v1/tenants/a.example/secret").await.1;
    assert_eq!(secrets["secrets"].as_array().map(Vec::len), Some(2), "{secrets}");
    assert_eq!(world.api("/v1/events/EV_1").await.0, 404);
    assert_eq!(world.api("/v1/events/EV_2").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hook_left_that_was_deleted_now_is_found_nowhere_after_the_erasure() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let world = World::with_moved_time(&[("b.example", &other)]).await;
    let operator = Client::operator(&world);
    let hook = json!({ "url": tenant.url(), "tenant": "acme" });
    assert_eq!(operator.put("/v1/hooks/a.example", &hook).await.status, 201);
    // A call of its own, and a participant in another tenant's.
    for body in [
        joined("EV_cut_1", "cut_room", "a.example"),
        joined("EV_kept_1", "kept_room", "b.example"),
        joined("EV_cut_2", "kept_room", "a.example"),
    ] {
        assert_eq!(world.post(&body).await.status, 200);
    }
    tenant.wait_for(2).await;
    assert_eq!(operator.delete("/v1/hooks/a.example?now=true").await.status, 204);
    let left = joined("EV_cut_2", "kept_room", "a.example")
        .replace("participant_joined", "participant_left")
        .replace(r#""id":"EV_cut_2""#, r#""id":"EV_cut_3""#);
    for body in [
        event("EV_cut_4", "track_unpublished", "cut_room"),
        left,
        event("EV_cut_5", "room_finished", "cut_room"),
        event("EV_kept_2", "room_finished", "kept_room"),
    ] {
        assert_eq!(world.post(&body).await.status, 200);
    }
    for id in ["EV_cut_3", "EV_cut_4", "EV_cut_5"] {
        let story = world.api(&format!("/v1/events/{id}")).await.1;
        assert_eq!((&story["state"], &story["reason"]), (&json!("unrouted"), &json!("hook_removed")));
    }
    assert_eq!(world.api("/v1/calls?tenant=acme").await.1["calls"], json!([]));
    let (unrouted, _) = (world.api("/v1/unrouted").await.1, other.wait_for(2).await);
    assert!(unrouted.to_string().contains("hook_removed"), "{unrouted}");

    assert_eq!(operator.delete("/v1/tenants/acme/data").await.status, 202);
    let report = erased(&world, "acme").await;
    let counts = ["delivered", "unrouted", "calls"].map(|what| report["erased"][what].clone());
    assert_eq!(counts, [json!(2), json!(3), json!(1)], "{report:#}");
    assert_eq!(found(&world, &["EV_cut_", "cut_room"].map(str::to_owned).into()), Vec::<String>::new());
    assert!(!found(&world, &["EV_kept_2".to_owned()].into()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_erase_and_only_what_there_may_be() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let own = Client::tenant(&world, "a.example", &["a.example"]);
    for answer in
        [own.delete("/v1/tenants/a.example/data").await, own.get("/v1/tenants/a.example/data").await]
    {
        assert_eq!(answer.refused(), (403, "scope-too-small"));
    }
    let operator = Client::operator(&world);
    assert_eq!(operator.delete("/v1/tenants/a.exmaple/data").await.status, 404);
    assert_eq!(operator.get("/v1/tenants/a.example/data").await.status, 404);
    let said = world.command(&["tenants", "erase", "a.example"]).await;
    assert_eq!(said.code, Some(1), "nobody answers: {}", said.err);
    let said = world.command(&["tenants", "erase", "a.example", "--yes"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.starts_with("erased: all that the store had of a.example at "), "{}", said.out);
    assert!(said.out.contains("log lines: outside of the data directory"), "{}", said.out);
    // Asked how far it is, nothing is erased again.
    let before = world.api("/v1/tenants/a.example/data").await.1;
    let status = world.command(&["tenants", "erase", "a.example", "--status"]).await;
    assert_eq!((status.code, &status.out), (Some(0), &said.out), "{}", status.err);
    assert_eq!(world.api("/v1/tenants/a.example/data").await.1, before);
    let status = world.command(&["tenants", "erase", "b.example", "--status"]).await;
    assert_eq!(status.code, Some(1), "nothing of it was erased: {}", status.out);
    let begun = world.command(&["tenants", "erase", "a.example", "--yes", "--no-wait"]).await;
    assert!(begun.out.contains(": `switchhook tenants erase a.example --status` shows"), "{}", begun.out);
}

/// What is posted of two tenants before an erasure is killed again and again.
async fn post_all(process: &Process, calls: usize) {
    for call in 0..calls {
        let host = if call % 4 == 0 { "b.example" } else { "a.example" };
        let name = format!("{host}_{call}");
        process.post(joined(&format!("EV_{call}_1"), &name, host)).await;
        process.post(event(&format!("EV_{call}_2"), "room_finished", &name)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_is_killed_again_and_again_goes_on() {
    let (a, b) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[("a.example", &a), ("b.example", &b)]).await;
    world.stop().await;
    let mut process = Process::start(&world);
    post_all(&process, 400).await;
    b.wait_for(200).await;
    a.wait_for(600).await;
    let begun = Client::of_process(&world, &process).delete("/v1/tenants/a.example/data").await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let (mut steps, began) = (BTreeSet::new(), Instant::now());
    let report = loop {
        let told = Client::of_process(&world, &process).get("/v1/tenants/a.example/data").await.body;
        let place = (told["step"].to_string(), told["erased"]["delivered"].to_string());
        if !told["done_at"].is_null() {
            break told;
        }
        assert!(began.elapsed() < 3 * PATIENCE, "{told:#}");
        // Killed at each place where it is seen, the first time.
        if steps.insert(place) {
            drop(process);
            process = Process::start(&world);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(steps.len() >= 3, "{steps:?}");
    let counts =
        ["delivered", "pending", "calls"].map(|what| report["erased"][what].as_u64().expect("a number"));
    assert_eq!((counts[0] + counts[1], counts[2]), (600, 300), "{report:#}");
    assert_eq!(found(&world, &["a.example_".to_owned()].into()), Vec::<String>::new());
    assert!(!found(&world, &["b.example_".to_owned()].into()).is_empty());
    let store = open(&world);
    assert_eq!(
        all_rows(&store, "SELECT count(*) FROM events WHERE tenant = 'b.example'"),
        ["[Integer(200)]"]
    );
    assert_eq!(all_rows(&store, "PRAGMA integrity_check"), ["[Text(\"ok\")]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_older_releases_are_removed_once_their_history_is_copied() {
    let tenant = Tenant::open().await;
    let hooks = table(&[("a.example", &tenant), ("c.example", &tenant)]);
    let mut world = World::at(Clock::manual(LEFT_AT), &hooks, &[]).await;
    world.stop().await;
    let left = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/v1"));
    for file in ["switchhook.db-wal", "switchhook.db-shm", "hooks.last"] {
        let _ = std::fs::remove_file(world.path("data").join(file));
    }
    for file in ["switchhook.db", "master.secret"] {
        std::fs::copy(left.join(file), world.path("data").join(file)).expect("copied");
    }
    world.start().await;
    assert!(world.path("data/switchhook.db.v1").exists());
    let of_a = ["EV_a1", "RM_a"].map(str::to_owned).into();
    assert!(!found(&world, &of_a).is_empty());
    assert_eq!(Client::operator(&world).delete("/v1/tenants/a.example/data").await.status, 202);
    let report = erased(&world, "a.example").await;
    assert_eq!(report["erased"]["backups"], json!(["switchhook.db.v1"]), "{report:#}");
    assert!(!world.path("data/switchhook.db.v1").exists());
    assert_eq!(found(&world, &["EV_a1".to_owned()].into()), Vec::<String>::new());
}
