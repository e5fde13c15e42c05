//! A damaged database is found and repaired.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{done, refused};
use crate::spec::world::{Reply, Tenant, World, event, joined, table};

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
        "the hook of a.example is not in force",
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
