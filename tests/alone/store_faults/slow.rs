//! Slow is not gone, and gone is not lost: whole recorded calls over a disk that is slow, fails or is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::disk::Disk;
use super::sender::{Sent, send};
use crate::world::recorded::{HOSTS, all, delivered_right, hooks, recordings, tenants, text};
use crate::world::{PATIENCE, Process, Tenant, World, event, joined, table};

/// A world whose router runs on a faulty disk, as a process.
async fn world(hooks: &str) -> (World, Disk) {
    let mut world = World::at(switchhook::Clock::system(), hooks, &[]).await;
    world.stop().await;
    let disk = Disk::new(&world);
    (world, disk)
}

fn bodies(played: &BTreeMap<String, Vec<Value>>) -> Vec<String> {
    played.values().flatten().map(|post| text(post, "body").to_owned()).collect()
}

/// Every recorded call, sent as LiveKit would, while `meanwhile` is done to the disk.
async fn recorded_calls(mode: &str, meanwhile: impl AsyncFnOnce(&Disk)) -> (Sent, World, Process) {
    let (tenants, folder) = (tenants().await, recordings());
    let (world, disk) = world(&hooks(&folder, &tenants)).await;
    let process = disk.start(&world);
    disk.is(mode);
    let played = all(&folder);
    let (sent, ()) = tokio::join!(send(&process, bodies(&played)), meanwhile(&disk));
    assert_eq!((&sent.dropped[..], &sent.refused[..]), (&[][..], &[][..]), "{:?}", sent.longest);
    assert!(sent.longest < Duration::from_secs(6), "{:?}", sent.longest);
    delivered_right(&folder, &HOSTS, &tenants, &played).await;
    disk.is("0");
    (sent, world, process)
}

/// Waits until all is written.
pub async fn written(world: &World, process: &Process) {
    let began = Instant::now();
    let url = format!("http://{}/readyz", process.address);
    loop {
        let told: Value = reqwest::get(&url).await.expect("an answer").json().await.expect("JSON");
        if told["status"] == "ready" {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{told} {}", world.dir.path().display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_arrive_right_while_each_commit_takes_a_tenth_of_a_second() {
    let _turn = crate::turn().await;
    recorded_calls("0.1", async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_arrive_right_while_each_commit_takes_a_second() {
    let _turn = crate::turn().await;
    recorded_calls("1", async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute: `tests/run --stage store-faults`"]
async fn recorded_calls_arrive_right_while_each_commit_takes_three_seconds() {
    let _turn = crate::turn().await;
    recorded_calls("3", async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_arrive_right_from_a_disk_that_errs_and_comes_back() {
    let _turn = crate::turn().await;
    for mode in ["fail", "full"] {
        let errs = async |disk: &Disk| {
            // It errs from time to time while the calls come, and in between it does not.
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                disk.is("0");
                tokio::time::sleep(Duration::from_millis(100)).await;
                disk.is(mode);
            }
            disk.is("0");
        };
        let (_, world, process) = recorded_calls(mode, errs).await;
        written(&world, &process).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes more than a minute: `tests/run --stage store-faults`"]
async fn recorded_calls_arrive_right_while_the_disk_is_silent_for_a_minute() {
    let _turn = crate::turn().await;
    let (_, world, process) = recorded_calls("hang", async |disk| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        disk.is("0");
    })
    .await;
    written(&world, &process).await;
}

/// LiveKit drops what is older than 30 s when its turn comes.
#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_events_of_a_room_at_once_none_is_dropped_while_each_commit_takes_three_seconds() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let (world, disk) = world(&table(&[("a.example", &tenant)])).await;
    let process = disk.start(&world);
    disk.is("3");
    let began = Instant::now();
    let sent = send(&process, (0..20).map(|n| joined(&format!("EV_{n}"), "c", "a.example"))).await;
    assert_eq!((&sent.dropped[..], &sent.refused[..]), (&[][..], &[][..]));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    let received = tenant.wait_for(20).await;
    disk.is("0");
    let ids: Vec<_> = (0..20).map(|n| format!("EV_{n}")).collect();
    assert_eq!(tenant.ids(), ids);
    let numbers: Vec<_> = received.iter().map(|one| one.header("switchhook-sequence")).collect();
    assert_eq!(numbers, (1..=20).map(|n: u32| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_begins_while_the_store_is_away_is_delivered_whole_and_known_afterwards() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let (world, disk) = world(&table(&[("a.example", &tenant)])).await;
    let process = disk.start(&world);
    process.post(event("EV_0", "room_started", "before")).await;
    disk.is("hang");
    // The first one finds out that the store is silent; from then on no request waits for it.
    process.post(event("EV_1", "room_started", "c")).await;
    let began = Instant::now();
    for body in [
        event("EV_2", "participant_joined", "c"),
        joined("EV_3", "c", "a.example"),
        event("EV_4", "track_published", "c"),
        event("EV_5", "room_finished", "c"),
        joined("EV_6", "before", "a.example"),
    ] {
        process.post(body).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let told = |received: &[crate::world::Received]| -> Vec<(String, String)> {
        let mut told: Vec<_> = received
            .iter()
            .map(|one| {
                (
                    one.header("switchhook-call").to_owned(),
                    format!("{} {}", one.header("switchhook-sequence"), one.id()),
                )
            })
            .collect();
        // Calls go in parallel.
        told.sort_by(|a, b| a.0.cmp(&b.0));
        told
    };
    let received = tenant.wait_for(7).await;
    let c =
        ["1 EV_1", "2 EV_2", "3 EV_3", "4 EV_4", "5 EV_5"].map(|told| ("RM_c".to_owned(), told.to_owned()));
    let before = ["1 EV_0", "2 EV_6"].map(|told| ("RM_before".to_owned(), told.to_owned()));
    assert_eq!(told(&received), [&before[..], &c[..]].concat());
    // A duplicate is one also now.
    process.post(event("EV_4", "track_published", "c")).await;
    disk.is("0");
    written(&world, &process).await;
    let (_, timeline) = world.api_at(&format!("http://{}/v1/calls/RM_c", process.api_address)).await;
    let events = timeline["events"].as_array().expect("events");
    let states: Vec<_> = events.iter().map(|event| (&event["id"], &event["sequence"])).collect();
    assert_eq!(states.len(), 5, "{timeline:#}");
    let (_, story) = world.api_at(&format!("http://{}/v1/events/EV_3", process.api_address)).await;
    assert_eq!((&story["rule"], &story["sequence"]), (&"domain".into(), &3.into()), "{story:#}");
    assert_eq!(tenant.count(), 7);
}

/// While commits take a second, a kill -9 loses only what was acknowledged as not durable, and the log says which
/// events these are.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_on_a_slow_disk_loses_nothing_that_was_acknowledged_as_durable() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let (world, disk) = world(&table(&[("a.example", &tenant)])).await;
    let mut durable = BTreeSet::new();
    for round in 0..4 {
        let process = disk.start(&world);
        disk.is(if round % 2 == 0 { "0.3" } else { "1" });
        let bodies = (0..6).flat_map(|call| {
            (0..40).map(move |n| {
                joined(&format!("EV_{round}_{call}_{n}"), &format!("c{round}_{call}"), "a.example")
            })
        });
        // It is killed while events come.
        let _ = tokio::time::timeout(Duration::from_millis(2500), send(&process, bodies)).await;
        let lines = process.lines();
        drop(process);
        let received = lines.iter().filter(|line| line["msg"] == "received" && line["durable"].is_null());
        durable.extend(received.map(|line| line["event_id"].as_str().expect("an id").to_owned()));
    }
    disk.is("0");
    let _process = disk.start(&world);
    let began = Instant::now();
    let lost = || -> Vec<_> {
        let ids: BTreeSet<_> = tenant.ids().into_iter().collect();
        durable.difference(&ids).cloned().collect()
    };
    while !lost().is_empty() {
        assert!(began.elapsed() < PATIENCE, "{} lost: {:?}", lost().len(), lost());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(durable.len() > 20, "{}", durable.len());
}
