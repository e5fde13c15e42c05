//! The database's files are removed, replaced or cut off beneath a router that runs: what was acknowledged before and
//! after survives a kill -9.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::disk::Disk;
use super::slow::written;
use crate::world::{PATIENCE, Process, Reply, Tenant, World, event, joined};

/// A router as a process whose tenant does not answer: what comes stays pending until the router is killed.
struct Pending {
    world: World,
    tenant: Tenant,
    /// Every event that was acknowledged.
    ids: BTreeSet<String>,
}

impl Pending {
    async fn new() -> Self {
        let tenant = Tenant::answering([Reply::Hang]).await;
        let mut world = World::with(&[("a.example", &tenant)]).await;
        world.stop().await;
        Self { world, tenant, ids: BTreeSet::new() }
    }

    fn data(&self) -> PathBuf {
        self.world.path("data")
    }

    /// Posts events of one call that are acknowledged.
    async fn post(&mut self, router: &Process, count: usize) {
        for _ in 0..count {
            let id = format!("EV_{}", self.ids.len());
            let body = if self.ids.is_empty() {
                joined(&id, "c", "a.example")
            } else {
                event(&id, "track_published", "c")
            };
            router.post(body).await;
            self.ids.insert(id);
        }
    }

    /// Kills the router and starts another one, which delivers all that was acknowledged.
    async fn survives_a_kill_9(&self, router: Process) -> Process {
        drop(router);
        let router = Process::start(&self.world);
        let began = Instant::now();
        let lost = || -> Vec<_> {
            let came: BTreeSet<_> = self.tenant.ids().into_iter().collect();
            self.ids.difference(&came).cloned().collect()
        };
        while !lost().is_empty() {
            assert!(began.elapsed() < PATIENCE, "{} of {} lost: {:?}", lost().len(), self.ids.len(), lost());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        router
    }
}

/// The database's file, or one that SQLite keeps beside it.
fn file(data: &Path, end: &str) -> PathBuf {
    data.join(format!("switchhook.db{end}"))
}

fn remove(data: &Path, ends: &[&str]) {
    ends.iter().for_each(|end| fs::remove_file(file(data, end)).expect("removed"));
}

/// What happens to the files.
type Fault = fn(&Path);

const FAULTS: [(&str, Fault); 7] = [
    ("the database is removed", |data| remove(data, &[""])),
    ("all of its files are removed", |data| remove(data, &["", "-wal", "-shm"])),
    ("its log is removed", |data| remove(data, &["-wal"])),
    ("the index of its log is removed", |data| remove(data, &["-shm"])),
    ("another file is put in its place", |data| {
        fs::write(data.join("other"), "not a database").expect("written");
        fs::rename(data.join("other"), file(data, "")).expect("replaced");
    }),
    ("another file is put in its log's place", |data| {
        fs::write(data.join("other"), "not a log").expect("written");
        fs::rename(data.join("other"), file(data, "-wal")).expect("replaced");
    }),
    ("the directory is renamed", |data| fs::rename(data, data.with_extension("old")).expect("renamed")),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_before_and_after_the_files_are_gone_survives_a_kill_9() {
    let _turn = crate::turn().await;
    for (what, fault) in FAULTS {
        println!("{what}");
        let mut pending = Pending::new().await;
        let router = Process::start(&pending.world);
        pending.post(&router, 20).await;
        fault(&pending.data());
        pending.post(&router, 20).await;
        written(&pending.world, &router).await;
        pending.post(&router, 20).await;
        pending.survives_a_kill_9(router).await;
    }
}

fn is_written_back(line: &Value) -> bool {
    line["msg"].as_str().is_some_and(|msg| msg.starts_with("the database is written back to its path"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_traffic_notices_that_its_database_is_removed() {
    let _turn = crate::turn().await;
    let mut pending = Pending::new().await;
    let router = Process::start(&pending.world);
    pending.post(&router, 3).await;
    remove(&pending.data(), &["", "-wal", "-shm"]);
    router.line(is_written_back).await;
    written(&pending.world, &router).await;
    pending.survives_a_kill_9(router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_stopped_right_after_its_database_is_removed_writes_it_back_first() {
    let _turn = crate::turn().await;
    let mut pending = Pending::new().await;
    let mut router = Process::start(&pending.world);
    pending.post(&router, 3).await;
    remove(&pending.data(), &["", "-wal", "-shm"]);
    pending.tenant.release();
    router.stop();
    pending.survives_a_kill_9(router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_the_database_events_stay_in_memory_until_there_is_room() {
    let _turn = crate::turn().await;
    let mut pending = Pending::new().await;
    let disk = Disk::new(&pending.world);
    let router = disk.start(&pending.world);
    pending.post(&router, 3).await;
    disk.is("full");
    remove(&pending.data(), &["", "-wal", "-shm"]);
    pending.post(&router, 3).await;
    let failed =
        |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.contains("cannot be written back"));
    router.line(failed).await;
    let told = readiness(&router).await;
    assert_eq!((&told["status"], &told["unwritten"]), (&"degraded".into(), &3.into()), "{told}");
    assert!(!file(&pending.data(), "").exists());
    disk.is("0");
    written(&pending.world, &router).await;
    pending.survives_a_kill_9(router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_written_back_slowly_requests_are_answered_from_memory() {
    let _turn = crate::turn().await;
    let mut pending = Pending::new().await;
    let disk = Disk::new(&pending.world);
    let router = disk.start(&pending.world);
    pending.post(&router, 3).await;
    disk.is("1");
    remove(&pending.data(), &["", "-wal", "-shm"]);
    for number in 0..20 {
        let began = Instant::now();
        pending.post(&router, 1).await;
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        // Meanwhile a new call is decided from what is still open, and delivered.
        let (id, call) = (format!("EV_new_{number}"), format!("d{number}"));
        router.post(joined(&id, &call, "a.example")).await;
        pending.ids.insert(id);
    }
    let new = |line: &&Value| line["event_id"].as_str().is_some_and(|id| id.starts_with("EV_new"));
    let lines = router.lines();
    let undecided: Vec<_> = lines.iter().filter(new).filter(|line| line["msg"] == "undecided").collect();
    assert!(undecided.is_empty(), "{undecided:#?}");
    disk.is("0");
    written(&pending.world, &router).await;
    pending.survives_a_kill_9(router).await;
}

/// What `/readyz` says.
async fn readiness(router: &Process) -> Value {
    let url = format!("http://{}/readyz", router.address);
    reqwest::get(&url).await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_to_nothing_is_said_and_so_is_what_the_next_start_misses() {
    let _turn = crate::turn().await;
    let mut pending = Pending::new().await;
    let mut router = Process::start(&pending.world);
    pending.post(&router, 20).await;
    fs::File::create(file(&pending.data(), "")).expect("cut off");
    pending.post(&router, 3).await;
    let told = readiness(&router).await;
    assert_eq!((&told["status"], &told["unwritten"]), (&"degraded".into(), &3.into()), "{told}");
    let lines = router.lines();
    let mut last = lines.iter().filter(|line| line["msg"] == "received").skip(20);
    assert!(last.all(|line| line["durable"] == false), "{lines:#?}");
    let said = |line: &Value| line["error"].as_str().is_some_and(|error| error.contains("was cut off"));
    router.line(said).await;
    pending.tenant.release();
    router.stop();
    let router = Process::start(&pending.world);
    let gone = |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.starts_with("the database is gone"));
    let line = router.line(gone).await;
    assert_eq!(line["state"], "empty");
    assert!(line["signs"].as_str().is_some_and(|signs| signs.contains("operator.token of 20")), "{line}");
    let told = readiness(&router).await;
    assert_eq!(told["reasons"], serde_json::json!(["new_database"]));
    assert_eq!(router.try_post(joined("EV_new", "d", "a.example")).await, Some(200));
}

/// `cp other.db switchhook.db` beneath a router that runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_overwritten_is_said_and_never_mixed_with_the_other_one() {
    let _turn = crate::turn().await;
    let mut other = Pending::new().await;
    let mut router = Process::start(&other.world);
    other.post(&router, 50).await;
    other.tenant.release();
    router.stop();
    let mut pending = Pending::new().await;
    let router = Process::start(&pending.world);
    pending.post(&router, 20).await;
    fs::copy(file(&other.data(), ""), file(&pending.data(), "")).expect("overwritten");
    pending.post(&router, 3).await;
    let aside = |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.contains("its log is set aside"));
    assert_eq!(router.line(aside).await["log"], "switchhook.db.overwritten-wal");
    let said = |line: &Value| {
        line["fault"] == "moved"
            && line["error"].as_str().is_some_and(|error| error.contains("store restore"))
    };
    router.line(said).await;
    let told = readiness(&router).await;
    let found = (&told["status"], &told["store"]["fault"], &told["unwritten"]);
    assert_eq!(found, (&"degraded".into(), &"moved".into(), &3.into()), "{told}");
    let lines = router.lines();
    let mut last = lines.iter().filter(|line| line["msg"] == "received").skip(20);
    assert!(last.all(|line| line["durable"] == false), "{lines:#?}");
    drop(router);
    assert_eq!(
        fs::read(file(&pending.data(), "")).expect("a file"),
        fs::read(file(&other.data(), "")).expect("a file")
    );
    let router = Process::start(&pending.world);
    assert_eq!(router.try_post(joined("EV_new", "d", "a.example")).await, Some(200));
    assert_eq!(readiness(&router).await["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_removed_is_made_again_with_its_secrets_its_lock_and_its_database() {
    let _turn = crate::turn().await;
    let mut pending = Pending::new().await;
    let router = Process::start(&pending.world);
    pending.post(&router, 3).await;
    let names = ["master.secret", "api.secret"];
    let data = pending.data();
    let read = || names.map(|name| fs::read_to_string(data.join(name)).unwrap_or_default());
    let before = read();
    fs::remove_dir_all(&data).expect("removed");
    pending.post(&router, 3).await;
    let again = |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.contains("its lock is made again"));
    let line = router.line(again).await;
    written(&pending.world, &router).await;
    assert_eq!(read(), before, "{line}");
    let second = std::process::Command::new(Process::BINARY).arg("serve").args(pending.world.args()).output();
    let refused = String::from_utf8(second.expect("switchhook").stderr).expect("text");
    assert!(refused.contains("in use by another switchhook"), "{refused}");
    pending.survives_a_kill_9(router).await;
}
