//! A router that is asked to end while everything is under way: it ends by itself within ten seconds, and nothing that
//! it acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::store_faults::disk::Disk;
use crate::world::{Process, Reply, Tenant, World, event, joined};

/// What a stop may take, from the signal to the end of the process.
const WITHIN: Duration = Duration::from_secs(10);

/// All that waits arrives within this time after the next start.
const REST: Duration = Duration::from_secs(60);

/// Senders at once, each with a call of its own.
const LINES: usize = 8;

/// Calls whose caller comes after the restart, and deliveries that wait for their turn.
const HELD: usize = 20;
const BACKLOG: usize = 300;

/// Three tenants: one that takes everything, one that hangs, and one whose deliveries go out slowly.
struct Three {
    busy: Tenant,
    hung: Tenant,
    slow: Tenant,
}

impl Three {
    async fn open() -> Self {
        let hung = Tenant::answering([Reply::Hang, Reply::Hang]).await;
        Self { busy: Tenant::open().await, hung, slow: Tenant::open().await }
    }

    fn all(&self) -> [(&'static str, &Tenant); 3] {
        [("busy.example", &self.busy), ("hung.example", &self.hung), ("slow.example", &self.slow)]
    }

    /// The hook table; the slow one's rate a second.
    fn table(&self, rate: u32) -> String {
        let hook = |(host, tenant): (&str, &Tenant)| {
            let rate = if host == "slow.example" { rate } else { 10_000 };
            format!("  - {{host: {host}, url: '{}', timeout: 30s, rate: {rate}}}\n", tenant.url())
        };
        format!("hooks:\n{}", self.all().map(hook).concat())
    }

    /// How often each event of each tenant has come.
    fn came(&self) -> BTreeMap<String, usize> {
        let mut came = BTreeMap::new();
        for id in self.all().iter().flat_map(|(_, tenant)| tenant.ids()) {
            *came.entry(id).or_default() += 1;
        }
        came
    }
}

/// Asks the process to end.
fn ask_to_end(process: &Process) -> Instant {
    let asked = Instant::now();
    let kill = Command::new("kill").arg(process.child.id().to_string()).status();
    assert!(kill.expect("kill").success());
    asked
}

/// Waits until the process has ended by itself, in time and without a fault.
async fn ends(process: &mut Process, asked: Instant) {
    let status = loop {
        if let Some(status) = process.child.try_wait().expect("a process") {
            break status;
        }
        assert!(asked.elapsed() < 3 * WITHIN, "it does not end: {:?}", process.lines().last());
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let took = asked.elapsed();
    assert!(status.success() && took < WITHIN, "{status} after {took:?}: {:?}", process.lines().last());
}

/// Posts the events of one call, one after the other, until the router is gone: those that it acknowledged.
async fn post_until_the_end(process: Arc<Process>, line: usize, count: Arc<AtomicUsize>) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    for number in 0.. {
        let id = format!("EV_{line}_{number}");
        match process.try_post(joined(&id, &format!("line{line}"), "busy.example")).await {
            Some(200) => acknowledged.insert(id),
            Some(status) => panic!("{id}: {status}"),
            None => break,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// A client of the API that asks and reads no more than the head of the answer.
async fn ask_and_wait(world: &World, process: &Process, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&process.api_address).await.expect("a connection");
    let token = world.operator_token();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.expect("an answer");
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

/// Events that wait when the router is asked to end: their ids.
async fn fill(process: &Process, tenants: &Three) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut posts: Vec<(String, String)> = Vec::new();
    for n in 0..2 {
        let id = format!("EV_hung_{n}");
        posts.push((id.clone(), joined(&id, &format!("hung{n}"), "hung.example")));
    }
    for n in 0..BACKLOG {
        let id = format!("EV_slow_{n}");
        posts.push((id.clone(), joined(&id, &format!("slow{n}"), "slow.example")));
    }
    for n in 0..HELD {
        let id = format!("EV_held_{n}");
        posts.push((id.clone(), event(&id, "room_started", &format!("held{n}"))));
    }
    for (id, body) in posts {
        process.post(body).await;
        ids.insert(id);
    }
    tenants.hung.wait_for(2).await;
    ids
}

/// Waits until each of these has come; what has come too often.
async fn arrive(tenants: &Three, due: &BTreeSet<String>) -> Vec<(String, usize)> {
    let began = Instant::now();
    loop {
        let came = tenants.came();
        let missing: Vec<_> = due.iter().filter(|id| !came.contains_key(*id)).collect();
        if missing.is_empty() {
            return came.into_iter().filter(|(_, times)| *times > 2).collect();
        }
        assert!(began.elapsed() < REST, "{} of {} are lost: {missing:?}", missing.len(), due.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_takes_ten_seconds_at_most_and_loses_nothing_that_was_acknowledged() {
    let _turn = crate::turn().await;
    let tenants = Three::open().await;
    let mut world = World::at(switchhook::Clock::system(), &tenants.table(1), &[]).await;
    world.stop().await;
    let process = Process::start(&world);
    let mut due = fill(&process, &tenants).await;
    let _stream = ask_and_wait(&world, &process, "/v1/stream").await;
    let _list = ask_and_wait(&world, &process, "/v1/deliveries?limit=1000").await;
    let (process, count) = (Arc::new(process), Arc::<AtomicUsize>::default());
    let mut senders = JoinSet::new();
    for line in 0..LINES {
        senders.spawn(post_until_the_end(Arc::clone(&process), line, Arc::clone(&count)));
    }
    while count.load(Ordering::Relaxed) < 500 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = count.load(Ordering::Relaxed);
    let asked = ask_to_end(&process);
    let acknowledged: Vec<_> = senders.join_all().await;
    let mut process = Arc::into_inner(process).expect("no sender is left");
    ends(&mut process, asked).await;
    assert!(count.load(Ordering::Relaxed) > before + 100, "events are acknowledged while attempts finish");
    due.extend(acknowledged.into_iter().flatten());

    // The next start: all of it arrives, what was under way at most once more.
    tenants.hung.release();
    world.hooks(&tenants.table(10_000));
    let process = Process::start(&world);
    for n in 0..HELD {
        let id = format!("EV_caller_{n}");
        process.post(joined(&id, &format!("held{n}"), "busy.example")).await;
        due.insert(id);
    }
    assert_eq!(arrive(&tenants, &due).await, []);
    in_order(&tenants.busy);
}

/// Each call's events came in the order in which they were posted.
fn in_order(tenant: &Tenant) {
    let mut last = BTreeMap::new();
    for one in tenant.received() {
        let (call, number) = (one.header("switchhook-call").to_owned(), one.header("switchhook-sequence"));
        let number: usize = number.parse().expect("a number");
        let before = last.insert(call, number).unwrap_or_default();
        assert!(number == before + 1 || number == before, "{number} came after {before}: {}", one.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_ten_seconds_at_most_also_when_receiver_and_disk_hang() {
    let _turn = crate::turn().await;
    let tenants = Three::open().await;
    let mut world = World::at(switchhook::Clock::system(), &tenants.table(1), &[]).await;
    world.stop().await;
    let disk = Disk::new(&world);
    let mut process = disk.start(&world);
    let due = fill(&process, &tenants).await;
    disk.is("hang");
    process.post(joined("EV_memory", "memory", "busy.example")).await;
    let asked = ask_to_end(&process);
    ends(&mut process, asked).await;
    process.line(|line| line["msg"] == "stopped before the store took everything").await;
    drop(process);

    // What was stored is still there; what was acknowledged from memory is lost, as log and `readyz` said.
    disk.is("0");
    tenants.hung.release();
    world.hooks(&tenants.table(10_000));
    let _process = Process::start(&world);
    let stored = due.into_iter().filter(|id| !id.starts_with("EV_held")).collect();
    assert_eq!(arrive(&tenants, &stored).await, []);
}

/// What the log says of events that are lost is what an operator counts on: each is acknowledged, and of those that a
/// receiver has already none is named as a delivery.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_store_comes_back_says_how_many_events_and_deliveries_are_lost() {
    let _turn = crate::turn().await;
    let (takes, fails) = (Tenant::open().await, Tenant::answering((0..50).map(|_| Reply::Status(500))).await);
    let mut world = World::with(&[("takes.example", &takes), ("fails.example", &fails)]).await;
    world.stop().await;
    let disk = Disk::new(&world);
    let mut process = disk.start(&world);
    disk.is("full");
    process.post(joined("EV_1", "a", "takes.example")).await;
    process.post(event("EV_2", "track_published", "a")).await;
    process.post(joined("EV_3", "b", "fails.example")).await;
    process.post(event("EV_4", "track_published", "b")).await;
    process.post(event("EV_5", "room_started", "held")).await;
    takes.wait_for(2).await;
    fails.wait_for(1).await;
    let asked = ask_to_end(&process);
    ends(&mut process, asked).await;
    let is_it = |line: &serde_json::Value| {
        line["msg"].as_str().is_some_and(|msg| msg.starts_with("stopped before the store came back"))
    };
    let line = process.line(is_it).await;
    assert_eq!((&line["events"], &line["deliveries"]), (&5.into(), &2.into()), "{line}");
    let not_durable = process.lines().into_iter().filter(|line| line["durable"] == false);
    let named: BTreeSet<_> = not_durable.map(|line| line["event_id"].to_string()).collect();
    assert_eq!(named.len(), 5, "{named:?}");
}
