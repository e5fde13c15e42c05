//! The store fails while the router runs: LiveKit is answered, deliveries go on, the router says why, and everything is
//! stored when the store is back.

use std::time::{Duration, Instant};

use super::disk::Disk;
use super::file_system::{FileSystem, Locker};
use super::health::{AT_ONCE, acknowledged_within, degraded_by, delivered, readiness, stopped, until_ready};
use crate::world::{PATIENCE, Process, Tenant, World, event, joined, table};

/// The first event while the store fails may wait for it as long as `--patience` says, and a little more.
const WITH_PATIENCE: Duration = Duration::from_secs(6);

/// The store fails from `spoil` until what that gives is mended; the events of a call that come meanwhile are delivered
/// and stored.
async fn costs_no_event<T>(
    fault: &str,
    (tenant, world, process): (&Tenant, &World, &Process),
    spoil: impl FnOnce() -> T,
    mend: impl FnOnce(T),
) {
    process.post(joined("EV_1", "c", "a.example")).await;
    let spoilt = spoil();
    acknowledged_within(WITH_PATIENCE, process, event("EV_2", "track_published", "c")).await;
    degraded_by(fault, world, process).await;
    acknowledged_within(AT_ONCE, process, event("EV_3", "track_published", "c")).await;
    tenant.wait_for(3).await;
    mend(spoilt);
    until_ready(process).await;
    assert_eq!(delivered("EV_3", world, process).await["sequence"], 3);
    assert_eq!(tenant.ids(), ["EV_1", "EV_2", "EV_3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_locks_for_a_while_costs_no_event() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    let process = Process::start(&world);
    let lock = || Locker::new(&world, &["BEGIN IMMEDIATE"]);
    costs_no_event("locked", (&tenant, &world, &process), lock, drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_errs_for_a_while_costs_no_event() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    let disk = Disk::new(&world);
    let process = disk.start(&world);
    costs_no_event("io", (&tenant, &world, &process), || disk.is("fail"), |()| disk.is("0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_a_while_costs_no_event() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let world = stopped(&table(&[("a.example", &tenant)])).await;
    let disk = FileSystem::new(&world, "6m");
    let process = disk.start(&world);
    process.post(joined("EV_0", "c", "a.example")).await;
    tenant.wait_for(1).await;
    for round in 0..2 {
        disk.fill();
        for n in 1..=30 {
            let body = event(&format!("EV_{round}_{n}"), "track_published", "c");
            // The first one finds out; a log that is reused may take some more.
            acknowledged_within(WITH_PATIENCE, &process, body).await;
        }
        let began = Instant::now();
        while readiness(&process).await.1["store"]["fault"] != "full" {
            assert!(began.elapsed() < PATIENCE, "{:?}", readiness(&process).await);
            let body = format!("EV_{round}_x{}", began.elapsed().as_nanos());
            process.post(event(&body, "track_published", "c")).await;
        }
        let known = format!("EV_{round}_known");
        acknowledged_within(AT_ONCE, &process, event(&known, "track_published", "c")).await;
        disk.empty();
        until_ready(&process).await;
    }
    let last = tenant.count() + 1;
    process.post(event("EV_last", "room_finished", "c")).await;
    let received = tenant.wait_for(last).await;
    let numbers: Vec<_> = received.iter().map(|one| one.header("switchhook-sequence").to_owned()).collect();
    assert_eq!(numbers, (1..=last).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(delivered("EV_last", &world, &process).await["sequence"], last);
}
