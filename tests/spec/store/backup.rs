//! The database is backed up and restored.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{done, refused};
use crate::spec::world::{Client, Process, Received, Reply, Tenant, World, event, joined, table};

const STEP: Duration = Duration::from_millis(100);

/// What tells one delivery of an event from another event's.
fn told(received: &Received) -> (String, String, Vec<u8>) {
    let number = received.header("switchhook-sequence").to_owned();
    (received.id().to_owned(), number, received.body.to_vec())
}

async fn post(world: &World, body: &str) {
    assert_eq!(world.post(body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_at_a_backup_comes_again_after_its_restore_with_its_id_number_and_body() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    post(&world, &joined("EV_1", "first", "a.example")).await;
    tenant.wait_for(1).await;
    world.story("EV_1", |story| story["state"] == "delivered").await;
    tenant.reply(Reply::Status(503));
    post(&world, &event("EV_2", "track_published", "first")).await;
    let before = told(&tenant.wait_for(2).await[1]);
    world.story("EV_2", |story| story["tries"] == 1).await;
    let backup = world.path("backup.db").display().to_string();
    let made: Value =
        serde_json::from_str(&done(&world, &["backup", &backup, "--json"]).await).expect("JSON");
    assert_eq!((&made["events"], &made["pending"], &made["hooks"]), (&json!(2), &json!(1), &json!(1)));

    world.advance_until(STEP, || tenant.count() == 3).await;
    post(&world, &event("EV_3", "track_published", "first")).await;
    tenant.wait_for(4).await;
    world.story("EV_3", |story| story["state"] == "delivered").await;
    let running = refused(&world, &["restore", &backup, "--yes"]).await;
    assert!(running.contains("a router uses") && running.contains("stop it first"), "{running}");
    world.stop().await;
    let unasked = refused(&world, &["restore", &backup]).await;
    assert!(unasked.contains("2 events (1 pending)") && unasked.contains("give --yes"), "{unasked}");
    let restored = done(&world, &["restore", &backup, "--yes"]).await;
    assert!(restored.contains("set aside: ") && restored.contains("switchhook.db.replaced"), "{restored}");

    world.start().await;
    world.advance_until(STEP, || tenant.count() == 5).await;
    assert_eq!(told(&tenant.received()[4]), before);
    assert_eq!((before.0.as_str(), before.1.as_str()), ("EV_2", "2"));
    // What came after the backup is not known; new events go on behind what is.
    assert_eq!(world.api("/v1/events/EV_3").await.0, 404);
    world.story("EV_2", |story| story["state"] == "delivered").await;
    post(&world, &event("EV_4", "track_published", "first")).await;
    let last = told(&tenant.wait_for(6).await[5]);
    assert_eq!((last.0.as_str(), last.1.as_str()), ("EV_4", "3"));
    // What was set aside can be put back.
    world.stop().await;
    let aside = world.path("data/switchhook.db.replaced").display().to_string();
    done(&world, &["restore", &aside, "--yes"]).await;
    world.start().await;
    world.story("EV_3", |story| story["state"] == "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_names_what_it_lacks_and_replaces_no_file_unasked() {
    let world = World::with(&[]).await;
    let file = world.path("backup.db");
    let name = file.display().to_string();
    let told = done(&world, &["backup", &name]).await;
    for part in
        ["and checked: ", "0 events (0 pending)", "master.secret", "api.secret", "hooks.yaml", "keys.yaml"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let there = refused(&world, &["backup", &name]).await;
    assert!(there.contains("exists. Replace it?") && there.contains("give --yes"), "{there}");
    done(&world, &["backup", &name, "--force"]).await;
    let beside = world.path("data/switchhook.db").display().to_string();
    let beside = refused(&world, &["backup", &beside, "--yes"]).await;
    assert!(beside.contains("name another folder"), "{beside}");
    let nowhere = world.path("nowhere/backup.db").display().to_string();
    let nowhere = refused(&world, &["backup", &nowhere]).await;
    assert!(nowhere.contains("No such file"), "{nowhere}");
    assert_eq!(fs::read_dir(world.dir.path()).expect("a folder").count(), 4, "nothing half is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_names_the_erasures_that_must_be_asked_for_again() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[("acme.example", &tenant)]).await;
    post(&world, &joined("EV_1", "first", "acme.example")).await;
    world.story("EV_1", |story| story["state"] == "delivered").await;
    let backup = world.path("backup.db").display().to_string();
    done(&world, &["backup", &backup]).await;
    let asked = Client::operator(&world).delete("/v1/tenants/acme.example/data").await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    world.stop().await;
    let restored = done(&world, &["restore", &backup, "--yes"]).await;
    assert!(restored.contains("  switchhook tenants erase acme.example "), "{restored}");
    let aside = world.path("data/switchhook.db.replaced").display().to_string();
    let back: Value =
        serde_json::from_str(&done(&world, &["restore", &aside, "--yes", "--json"]).await).expect("JSON");
    assert_eq!((&back["erasures"], &back["set_aside"]), (&json!([]), &json!("switchhook.db.replaced.2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_that_another_master_secret_sealed_are_named_before_a_restore() {
    let tenant = Tenant::open().await;
    let hooks = format!("{}    headers: {{x-key: hush}}\n", table(&[("a.example", &tenant)]));
    let mut world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    let backup = world.path("backup.db").display().to_string();
    done(&world, &["backup", &backup]).await;
    world.stop().await;
    let fine = done(&world, &["restore", &backup, "--yes"]).await;
    assert!(!fine.contains("master"), "{fine}");
    let secret = world.path("data/master.secret");
    fs::write(&secret, "another-master-secret-of-more-than-32-characters").expect("a secret");
    let warned = done(&world, &["restore", &backup, "--yes"]).await;
    assert!(warned.contains("does not open 1 hook of the backup: a.example"), "{warned}");
    fs::remove_file(&secret).expect("removed");
    let warned = done(&world, &["restore", &backup, "--yes"]).await;
    assert!(warned.contains("There is no master.secret"), "{warned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_router_under_load_holds_every_event_that_was_acknowledged_before() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    world.stop().await;
    let router = Process::start(&world);
    let backup = |name: &str| world.path(name).display().to_string();
    let mut acknowledged = 0;
    for round in 0..3 {
        for n in 0..40 {
            router.post(joined(&format!("EV_{round}_{n}"), &format!("call-{round}-{n}"), "a.example")).await;
            acknowledged += 1;
        }
        let file = backup(&format!("{round}.db"));
        let (making, more) = (["backup", &file, "--json"], joined("EV_more", "more", "a.example"));
        let (made, posted) = tokio::join!(done(&world, &making), router.try_post(more));
        assert_eq!(posted, Some(200));
        let made: Value = serde_json::from_str(&made).expect("JSON");
        assert!(made["events"].as_u64() >= Some(acknowledged), "{made}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_a_running_router_is_not_restored_while_it_is_written() {
    let mut running = World::with(&[]).await;
    let mut stopped = World::with(&[]).await;
    stopped.stop().await;
    let live = running.path("data/switchhook.db").display().to_string();
    let told = refused(&stopped, &["restore", &live, "--yes"]).await;
    assert!(told.contains("switchhook store backup FILE --data") && told.contains("a router uses"), "{told}");
    running.stop().await;
    done(&stopped, &["restore", &live, "--yes"]).await;
}
