//! A router starts on a store that cannot be written, or waits for one that cannot be read: real file systems, real locks
//! and real permissions.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use super::disk::Disk;
use super::file_system::{FileSystem, Locker, close, damage};
use super::health::{AT_ONCE, acknowledged_within, degraded_by, delivered, readiness, stopped, until_ready};
use crate::world::{PATIENCE, Process, Reply, Tenant, World, as_ordinary_user, event, joined, table};

/// What happens between two runs of a router.
struct Between<'a> {
    end: fn(&mut Process),
    spoil: &'a dyn Fn(&FileSystem),
    mend: &'a dyn Fn(&FileSystem),
    fault: &'a str,
}

fn stop(process: &mut Process) {
    process.stop();
}

fn kill(process: &mut Process) {
    process.child.kill().expect("killed");
    process.child.wait().expect("its end");
}

/// A call begins, and an event of another waits for its receiver. The router starts on a store that cannot be written,
/// with one hook more; everything is delivered, in order, and stored once the store is well.
async fn starts_from_memory(between: Between<'_>) {
    let tenant = Tenant::open().await;
    let slow = Tenant::answering([Reply::Status(503)]).await;
    let world = stopped(&table(&[("a.example", &tenant), ("slow.example", &slow)])).await;
    let disk = FileSystem::new(&world, "6m");
    let mut process = disk.start(&world);
    process.post(joined("EV_1", "c", "a.example")).await;
    // Stored: what is killed before would be delivered once more.
    delivered("EV_1", &world, &process).await;
    process.post(joined("EV_waits", "w", "slow.example")).await;
    slow.wait_for(1).await;
    // The log is longer than when the tables were made: what is killed leaves no room in it for further commits.
    for n in 0..60 {
        process.post(event(&format!("EV_held_{n}"), "room_started", &format!("held-{n}"))).await;
    }
    (between.end)(&mut process);
    (between.spoil)(&disk);

    let new = Tenant::open().await;
    world.hooks(&table(&[("a.example", &tenant), ("slow.example", &slow), ("new.example", &new)]));
    let process = disk.start(&world);
    degraded_by(between.fault, &world, &process).await;
    acknowledged_within(AT_ONCE, &process, event("EV_2", "track_published", "c")).await;
    acknowledged_within(AT_ONCE, &process, joined("EV_3", "n", "new.example")).await;
    assert_eq!(tenant.wait_for(2).await[1].header("switchhook-sequence"), "2");
    assert_eq!(new.wait_for(1).await[0].id(), "EV_3");
    // What was pending before the start is delivered, too.
    assert_eq!(slow.wait_for(2).await[1].id(), "EV_waits");
    assert_eq!(readiness(&process).await.1["store"]["fault"], between.fault);

    (between.mend)(&disk);
    until_ready(&process).await;
    assert_eq!(delivered("EV_2", &world, &process).await["sequence"], 2);
    delivered("EV_3", &world, &process).await;
    delivered("EV_waits", &world, &process).await;
    drop(process);
    let process = disk.start(&world);
    acknowledged_within(PATIENCE, &process, event("EV_4", "room_finished", "c")).await;
    assert_eq!(tenant.wait_for(3).await[2].header("switchhook-sequence"), "3");
    delivered("EV_4", &world, &process).await;
    assert_eq!((tenant.count(), new.count(), slow.count()), (3, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_was_stopped_starts_on_a_full_disk() {
    let _turn = crate::turn().await;
    let spoil = |disk: &FileSystem| {
        close(&disk.path("switchhook.db"));
        disk.fill();
    };
    let mend = &FileSystem::empty;
    starts_from_memory(Between { end: stop, spoil: &spoil, mend, fault: "full" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_was_killed_starts_on_a_full_disk() {
    let _turn = crate::turn().await;
    let (spoil, mend) = (&FileSystem::fill, &FileSystem::empty);
    starts_from_memory(Between { end: kill, spoil, mend, fault: "full" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_was_killed_starts_on_a_full_disk_without_the_index_of_its_log() {
    let _turn = crate::turn().await;
    let spoil = |disk: &FileSystem| {
        std::fs::remove_file(disk.path("switchhook.db-shm")).expect("removed");
        disk.fill();
    };
    let mend = &FileSystem::empty;
    starts_from_memory(Between { end: kill, spoil: &spoil, mend, fault: "full" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_was_stopped_starts_on_a_disk_that_is_mounted_read_only() {
    let _turn = crate::turn().await;
    let spoil = |disk: &FileSystem| {
        close(&disk.path("switchhook.db"));
        disk.remount("ro");
    };
    let mend = &|disk: &FileSystem| disk.remount("rw");
    starts_from_memory(Between { end: stop, spoil: &spoil, mend, fault: "read_only" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_was_killed_starts_on_a_disk_that_is_mounted_read_only() {
    let _turn = crate::turn().await;
    let (spoil, mend) = (&|disk: &FileSystem| disk.remount("ro"), &|disk: &FileSystem| disk.remount("rw"));
    starts_from_memory(Between { end: kill, spoil, mend, fault: "read_only" }).await;
}

/// Permissions of the data directory, and of the files in it.
fn permit(world: &World, directory: u32, file: u32) {
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
    };
    let data = world.path("data");
    mode(&data, 0o700);
    for entry in std::fs::read_dir(&data).expect("a folder") {
        mode(&entry.expect("an entry").path(), file);
    }
    mode(&data, directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_user_may_not_write_starts_and_writes_as_soon_as_it_may() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    std::fs::set_permissions(world.dir.path(), Permissions::from_mode(0o755)).expect("permissions");
    let program = world.path("switchhook");
    std::fs::copy(Process::BINARY, &program).expect("the program");
    close(&world.path("data/switchhook.db"));
    permit(&world, 0o555, 0o444);
    let process = Process::spawn(&world, &mut as_ordinary_user(&program));
    degraded_by("read_only", &world, &process).await;
    acknowledged_within(AT_ONCE, &process, joined("EV_1", "c", "a.example")).await;
    tenant.wait_for(1).await;
    permit(&world, 0o777, 0o666);
    until_ready(&process).await;
    assert_eq!(delivered("EV_1", &world, &process).await["sequence"], 1);
    assert_eq!(tenant.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_starts_while_another_process_holds_the_write_lock() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    let locker = Locker::new(&world, &["BEGIN IMMEDIATE"]);
    let process = Process::start(&world);
    degraded_by("locked", &world, &process).await;
    for n in 1..=3 {
        acknowledged_within(AT_ONCE, &process, joined(&format!("EV_{n}"), "c", "a.example")).await;
    }
    tenant.wait_for(3).await;
    drop(locker);
    until_ready(&process).await;
    assert_eq!(delivered("EV_3", &world, &process).await["sequence"], 3);
    assert_eq!(tenant.ids(), ["EV_1", "EV_2", "EV_3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_read_at_the_start_is_not_replaced_by_an_empty_one_when_it_is_gone() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    let locker = Locker::new(&world, &["BEGIN IMMEDIATE"]);
    let process = Process::start(&world);
    degraded_by("locked", &world, &process).await;
    let (database, away) = (world.path("data/switchhook.db"), world.path("away"));
    std::fs::rename(&database, &away).expect("renamed");
    drop(locker);
    let said = process.line(|line| line["fault"] == "moved").await;
    assert!(said["error"].as_str().is_some_and(|said| said.contains("put the file back")), "{said}");
    acknowledged_within(AT_ONCE, &process, joined("EV_1", "c", "a.example")).await;
    assert!(!database.exists());
    std::fs::rename(&away, &database).expect("renamed");
    until_ready(&process).await;
    tenant.wait_for(1).await;
    assert_eq!(delivered("EV_1", &world, &process).await["sequence"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_opening_the_store_takes_long_the_router_lives_and_livekit_is_asked_to_come_again() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    let disk = Disk::new(&world);
    disk.is("hang");
    let opens = "the store is still being opened: the router answers 503 until then. A large database of an older release \
                 takes minutes; if there is none, the disk is slow";
    let process = disk.start_until(opens, &world);
    let answer = reqwest::get(format!("http://{}/healthz", process.address)).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let (status, told) = readiness(&process).await;
    assert_eq!((status, &told["status"], &told["store"]["fault"]), (503, &"starting".into(), &"slow".into()));
    assert!(
        told["store"]["fix"].as_str().is_some_and(|fix| fix.contains("Do not stop the router")),
        "{told}"
    );
    assert_eq!(process.try_post(joined("EV_1", "c", "a.example")).await, Some(503));
    disk.is("0");
    process.line(|line| line["msg"] == "ready").await;
    until_ready(&process).await;
    process.post(joined("EV_1", "c", "a.example")).await;
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_waits_for_a_store_that_cannot_be_read_and_livekit_is_asked_to_come_again() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    let statements = ["PRAGMA locking_mode = EXCLUSIVE", "UPDATE progress SET seq = seq"];
    let locker = Locker::new(&world, &statements);
    let waits = "the store cannot be read: the router waits for it and answers 503 until then";
    let process = Process::spawn_until(waits, &world, &mut Command::new(Process::BINARY));
    let status = async |listener: &str, path: &str| {
        let answer = reqwest::get(format!("http://{listener}{path}")).await.expect("an answer");
        answer.status().as_u16()
    };
    assert_eq!(status(&process.address, "/healthz").await, 200);
    assert_eq!(status(&process.api_address, "/v1/hooks").await, 503);
    let (status, told) = readiness(&process).await;
    assert_eq!(
        (status, &told["status"], &told["store"]["fault"]),
        (503, &"starting".into(), &"locked".into())
    );
    for n in 0..20 {
        let began = Instant::now();
        assert_eq!(process.try_post(joined(&format!("EV_{n}"), "c", "a.example")).await, Some(503));
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    drop(locker);
    process.line(|line| line["msg"] == "ready").await;
    until_ready(&process).await;
    process.post(joined("EV_1", "c", "a.example")).await;
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_does_not_wait_for_a_damaged_store_and_names_the_commands_that_help() {
    let _turn = crate::turn().await;
    let world = stopped("hooks: []\n").await;
    damage(&world);
    let config = switchhook::Config::from_args(world.args()).expect("a configuration");
    let fault = switchhook::Service::start(config, world.clock.clone()).await.err().expect("a fault");
    let (said, data) = (fault.to_string(), world.path("data").display().to_string());
    assert!(said.contains(&format!("switchhook store check --data {data}")), "{said}");
    assert!(said.contains(&format!("switchhook store recover --data {data}")), "{said}");
}
