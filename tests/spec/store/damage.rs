//! A damaged database is found and repaired.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{done, refused};
use crate::spec::finding::keep::store;
use crate::spec::world::{Client, Process, Reply, Tenant, World, event, joined, table};

const PAGE: usize = 4096;

/// Changes the bytes of the database of a router that does not run.
fn damage(world: &World, change: impl FnOnce(&mut [u8])) {
    let file = world.path("data/switchhook.db");
    let mut bytes = fs::read(&file).expect("a database");
    change(&mut bytes);
    fs::write(file, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_database_has_no_finding_also_beside_a_running_router() {
    let tenant = Tenant::open().await;
    let hooks = format!("{}    keep: 1h\n", table(&[("a.example", &tenant)]));
    let world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    assert_eq!(world.post(&joined("EV_1", "first", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "delivered").await;
    let told = done(&world, &["check"]).await;
    assert!(told.contains("no damage (checked in ") && told.contains("1 event (0 pending)"), "{told}");
    let told: Value = serde_json::from_str(&done(&world, &["check", "--json"]).await).expect("JSON");
    assert_eq!(told["findings"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_is_named_with_its_hook_its_event_and_its_call() {
    let tenant = Tenant::open().await;
    let hooks = format!("{}    keep: 1h\n", table(&[("a.example", &tenant)]));
    let mut world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    assert_eq!(world.post(&joined("EV_1", "first", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "delivered").await;
    world.stop().await;
    fs::write(world.path("data/master.secret"), "another-master-secret-of-more-than-32-characters")
        .expect("a secret");
    let told = refused(&world, &["check"]).await;
    for part in [
        "2 findings",
        "another master secret sealed its settings",
        "the hook of a.example is not in force with this master secret",
        "EV_1 of RM_first cannot be sent again",
        "second line",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_recovery_all_that_waited_is_delivered_with_its_id_and_number() {
    let tenant = Tenant::answering((0..3).map(|_| Reply::Status(503))).await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    for n in 0..3 {
        assert_eq!(
            world.post(&joined(&format!("EV_{n}"), &format!("call-{n}"), "a.example")).await.status,
            200
        );
        world.story(&format!("EV_{n}"), |story| story["tries"] == 1).await;
    }
    assert_eq!(world.post(&event("EV_next", "track_published", "call-0")).await.status, 200);
    world.stop().await;
    let before = tenant.count();
    // The file's header and the whole table of tables.
    damage(&world, |bytes| bytes[..PAGE].fill(0x5a));
    let found = refused(&world, &["check"]).await;
    assert!(found.contains("→ stop the router, then: switchhook store recover"), "{found}");
    let unasked = refused(&world, &["recover"]).await;
    assert!(unasked.contains("give --yes"), "{unasked}");
    let told = done(&world, &["recover", "--yes"]).await;
    for part in ["4 events (4 pending)", "events", "switchhook.db.damaged", "same webhook-id"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    done(&world, &["check"]).await;

    world.start().await;
    world.advance_until(Duration::from_millis(100), || tenant.count() >= before + 4).await;
    let received = tenant.received();
    let again = |id: &str| received.iter().filter(|event| event.id() == id).collect::<Vec<_>>();
    for id in ["EV_0", "EV_1", "EV_2"] {
        let all = again(id);
        assert!(all.len() >= 2, "{id}");
        assert_eq!(all[0].body, all[1].body);
        assert_eq!(all[0].header("switchhook-sequence"), all[1].header("switchhook-sequence"));
    }
    assert_eq!(again("EV_next")[0].header("switchhook-sequence"), "2");
    // The call goes on where it was.
    assert_eq!(world.post(&event("EV_last", "track_unpublished", "call-0")).await.status, 200);
    world.advance_until(Duration::from_millis(100), || tenant.ids().contains(&"EV_last".to_owned())).await;
    let last = tenant.received().into_iter().find(|event| event.id() == "EV_last").expect("the last");
    assert_eq!(last.header("switchhook-sequence"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_read_a_backup_is_asked_for() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    damage(&world, |bytes| bytes.fill(0xa5));
    let _ = fs::remove_file(world.path("data/switchhook.db-wal"));
    let told = refused(&world, &["recover", "--yes"]).await;
    assert!(told.contains("no row can be read: restore a backup"), "{told}");
    assert_eq!(fs::read(world.path("data/switchhook.db")).expect("a file")[0], 0xa5, "nothing is changed");
}

/// The database's file as it is on disk, without a log.
fn folded(world: &World) {
    store(world).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("folded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_only_readers_meet_is_named_in_readyz_and_events_are_stored_all_the_same() {
    let tenant = Tenant::answering([Reply::Status(503)]).await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["tries"] == 1).await;
    world.stop().await;
    folded(&world);
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'";
    let root: u32 = store(&world).query_row(root, [], |row| row.get(0)).expect("a page");
    damage(&world, |bytes| bytes[(root as usize - 1) * PAGE..][..PAGE].fill(0));
    world.start().await;
    for _ in 0..3 {
        assert_eq!(world.api("/v1/events/EV_1").await.0, 503);
    }
    let ready = world.ready().await.1;
    assert_eq!(ready["reasons"], json!(["unreadable"]), "{ready:#}");
    assert_eq!(
        (&ready["store"]["fault"], &ready["store"]["unreadable"]),
        (&json!("damaged"), &json!(["events"]))
    );
    assert!(ready["store"]["fix"].to_string().contains("store recover"), "{ready:#}");
    world.measures("store_unreadable_total{kind=\"damaged\"} 3").await;
    world.logs(&["a part of the store cannot be read", "events"]).await;
    let told = world.command(&["health"]).await;
    assert!(told.success && told.out.contains("some of its store (damaged: events)"), "{}", told.out);
    // Nothing is acknowledged from memory.
    assert_eq!(world.post(&joined("EV_2", "d", "a.example")).await.status, 200);
    world.advance_until(Duration::from_secs(1), || tenant.ids().contains(&"EV_2".to_owned())).await;
    assert_eq!(world.ready().await.1["unwritten"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_fix_that_a_check_names_it_finds_nothing_more() {
    let tenant = Tenant::answering([Reply::Status(503), Reply::Status(503)]).await;
    let mut world = World::with_moved_time(&[]).await;
    let hook = json!({ "url": tenant.url() });
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    assert_eq!(acme.put("/v1/hooks/calls.acme.example", &hook).await.status, 201);
    for id in ["EV_1", "EV_2"] {
        assert_eq!(world.post(&joined(id, id, "calls.acme.example")).await.status, 200);
        world.story(id, |story| story["tries"] == 1).await;
    }
    world.stop().await;
    let altered =
        "UPDATE events SET sequence = 7 WHERE id = 'EV_1'; UPDATE hooks SET url = 'http://b.example/'";
    store(&world).execute_batch(altered).expect("altered");

    let found = refused(&world, &["check"]).await;
    for part in [
        "EV_1 cannot be delivered\n    → stop the router, then: switchhook store recover",
        "calls.acme.example is not in force until it is written again\n    → while the router runs: switchhook hooks set \
         calls.acme.example URL --tenant acme",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    let told = done(&world, &["recover", "--yes"]).await;
    for part in ["2 rows of those saved are not as they were stored", "EV_1 is a dead letter now (damaged)"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let found = refused(&world, &["check"]).await;
    assert!(found.contains("1 finding ") && !found.contains("store recover"), "{found}");

    world.start().await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    assert_eq!(acme.put("/v1/hooks/calls.acme.example", &hook).await.status, 200);
    world.story_later(Duration::from_millis(100), "EV_2", |story| story["state"] == "delivered").await;
    world.story("EV_1", |story| story["reason"] == "damaged").await;
    assert_eq!(tenant.count(), 3, "EV_1 does not come again");
    assert!(done(&world, &["check"]).await.contains("no damage"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_altered_of_a_state_or_a_removal_alone_a_recovery_puts_right() {
    let tenant = Tenant::answering([Reply::Status(503)]).await;
    let mut world = World::with_moved_time(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let hook = json!({ "url": tenant.url() });
    assert_eq!(acme.put("/v1/hooks/calls.acme.example", &hook).await.status, 201);
    assert_eq!(world.post(&joined("EV_1", "c", "calls.acme.example")).await.status, 200);
    world.story("EV_1", |story| story["tries"] == 1).await;
    assert_eq!(world.post(&event("EV_2", "room_started", "d")).await.status, 200);
    world.story("EV_2", |story| story["state"] == "held").await;
    world.stop().await;
    let altered = "UPDATE events SET state = 1; UPDATE hooks SET removed_at = 9";
    store(&world).execute_batch(altered).expect("altered");
    let found = refused(&world, &["check"]).await;
    for part in [
        "EV_1 is pending, and its row says otherwise\n    → stop the router, then: switchhook store recover",
        "EV_2 is held, and its row says otherwise",
        "calls.acme.example is in force, and its row says that it is removed",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    let told = done(&world, &["recover", "--yes"]).await;
    for part in ["EV_1 is pending again", "EV_2 is held again", "calls.acme.example is in force again"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(done(&world, &["check"]).await.contains("no damage"));
    world.start().await;
    world.story_later(Duration::from_millis(100), "EV_1", |story| story["state"] == "delivered").await;
    assert_eq!(world.post(&joined("EV_3", "d", "calls.acme.example")).await.status, 200);
    world.story_later(Duration::from_millis(100), "EV_2", |story| story["state"] == "delivered").await;
    assert_eq!(world.ready().await.1["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_its_restore_say_how_many_rows_are_damaged() {
    let tenant = Tenant::answering([Reply::Status(503)]).await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    assert_eq!(world.post(&joined("EV_1", "first", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["tries"] == 1).await;
    world.stop().await;
    store(&world).execute_batch("UPDATE events SET sequence = 7, id = x'ff00'").expect("altered");
    let backup = world.path("backup.db").display().to_string();
    let made: Value =
        serde_json::from_str(&done(&world, &["backup", &backup, "--json"]).await).expect("JSON");
    assert_eq!(made["damaged"], json!(1));
    let made = done(&world, &["backup", &backup, "--yes"]).await;
    assert!(made.contains("1 row is damaged: keep older backups"), "{made}");
    let asked = refused(&world, &["restore", &backup]).await;
    assert!(asked.contains("1 row of the backup is damaged") && asked.contains("give --yes"), "{asked}");
    let restored = done(&world, &["restore", &backup, "--yes", "--json"]).await;
    assert!(restored.contains("\"damaged\":1"), "{restored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_file_that_was_cut_off_the_missing_pages_are_counted_and_lines_stay_short() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    for n in 0..40 {
        let id = format!("EV_with_a_name_of_some_length_{n}");
        assert_eq!(world.post(&joined(&id, &id, "a.example")).await.status, 200);
    }
    world.stop().await;
    store(&world)
        .execute_batch("UPDATE events SET state = 0; DELETE FROM ring; DELETE FROM bodies")
        .expect("lost");
    folded(&world);
    let file = world.path("data/switchhook.db");
    let cut = fs::OpenOptions::new().write(true).open(&file).expect("a file");
    let length = cut.metadata().expect("a size").len();
    cut.set_len(length - PAGE as u64).expect("cut off");
    let told = done(&world, &["recover", "--yes"]).await;
    assert!(told.contains("1 page behind the end of the file: it was cut off"), "{told}");
    assert!(!told.contains("\n0 ") && !told.contains("the disk does not give"), "{told}");
    let named = told.lines().skip_while(|line| !line.contains("events whose")).collect::<Vec<_>>();
    assert!(named.len() > 2 && named.iter().all(|line| line.chars().count() <= 120), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_empty_database_check_and_recover_both_ask_for_a_backup() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    let file = world.path("data/switchhook.db");
    fs::write(&file, "").expect("emptied");
    let _ = fs::remove_file(world.path("data/switchhook.db-wal"));
    let found = refused(&world, &["check"]).await;
    assert!(found.contains("it is empty") && found.contains("→ restore a backup"), "{found}");
    let told = refused(&world, &["recover", "--yes"]).await;
    assert!(told.contains("restore a backup"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_that_a_recovery_sets_aside_is_named() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    fs::write(world.path("data/switchhook.db-wal"), "no log").expect("a file");
    damage(&world, |bytes| bytes[..PAGE].fill(0x5a));
    let told = done(&world, &["recover", "--yes"]).await;
    for part in
        ["switchhook.db.damaged\n", "switchhook.db.damaged-wal\n", "Delete them once they are not needed"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_very_many_damaged_rows_about_tokens_a_start_names_a_thousand() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1010) \
                INSERT INTO revoked_tokens (jti, expires_at, revoked_at, sum) SELECT 'token_' || i, 1, 1, 1 FROM n";
    store(&world).execute(fill, []).expect("rows");
    let process = Process::start(&world);
    let names = |line: &Value| {
        line["msg"]
            .as_str()
            .is_some_and(|msg| msg.contains("all API tokens that were issued before this start"))
    };
    assert_eq!(process.lines().into_iter().filter(names).count(), 1000);
}
