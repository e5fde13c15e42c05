//! After an answer of 200, nothing is lost and nothing changes its place: not by a kill -9, not by a restart
//! under load.

mod expected;
mod receiver;
mod script;
mod sender;

use axum::http::StatusCode;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::expected::Expected;
use self::receiver::{Arrival, Receiver};
use self::script::{At, TENANTS};
use self::sender::{Router, Start, late_host};
use crate::world::{Process, Tenant, World, event, joined, livekit_token};

/// Rounds of the kill -9 test: `SWITCHHOOK_KILL_ROUNDS=500 cargo test --test alone kill_9` for more.
fn rounds() -> usize {
    let asked = std::env::var("SWITCHHOOK_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(40)
}

/// Senders of each kind at once.
const LINES: usize = 12;

/// All that comes after the last start has come within this time.
const REST: Duration = Duration::from_secs(60);

/// The receivers, in the order of [`At`].
struct Receivers {
    all: [Receiver; TENANTS],
    /// The failing one fails.
    down: Arc<AtomicBool>,
    /// Calls of which dead letters are taken.
    opened: Arc<Mutex<HashSet<String>>>,
}

impl Receivers {
    async fn open() -> Self {
        let (down, opened) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<HashSet<String>>>::default());
        let (is_down, is_open) = (Arc::clone(&down), Arc::clone(&opened));
        // Every fourth event fails at first, too, so that retries are under way at all times.
        let fails_at_first = |one: &Arrival| one.attempt == 1 && one.body.is_multiple_of(4);
        let all = [
            Receiver::open(|_| true).await,
            Receiver::open(|_| true).await,
            Receiver::open(move |one| !is_down.load(Ordering::Relaxed) && !fails_at_first(one)).await,
            Receiver::open(|_| true).await,
            // It lives, so that no breaker keeps what is too old from being given up.
            Receiver::refusing(StatusCode::NOT_FOUND, move |one| {
                is_open.lock().expect("calls").contains(&one.call)
            })
            .await,
        ];
        Self { all, down, opened }
    }

    fn url(&self, at: At) -> &str {
        self.all[at as usize].url()
    }

    /// The hook table with the hosts that have come late so far.
    fn table(&self, start: usize) -> String {
        let hook = |host: &str, at: At| format!("  - {{host: {host}, url: '{}'}}\n", self.url(at));
        let dead = format!(
            "  - {{host: dead.example, url: '{}', order_wait: 0s, retry: {{initial: 300ms, max_age: 1s}}}}\n",
            self.url(At::Letters)
        );
        let hosts = [("one.example", At::One), ("two.example", At::Two), ("failing.example", At::Failing)];
        let hosts: String = hosts.into_iter().map(|(host, at)| hook(host, at)).collect();
        let late: String = (0..start).map(|number| hook(&late_host(number), At::Late)).collect();
        format!("defaults: {{retry: {{initial: 50ms, max: 1s}}}}\nhooks:\n{hosts}{dead}{late}")
    }

    /// Waits until all that was posted has been taken.
    async fn take(&self, expected: &Expected) {
        let began = std::time::Instant::now();
        for (tenant, receiver) in self.all.iter().enumerate() {
            loop {
                let missing = expected.missing(tenant, &receiver.arrivals());
                if missing.is_empty() {
                    break;
                }
                let lost = missing.len();
                assert!(began.elapsed() < REST, "{lost} of {} lost: {missing:?}", expected.count(tenant));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Starts the router and tells it to the senders.
fn start(world: &World, number: usize, is_last: bool, starts: &watch::Sender<Option<Start>>) -> Process {
    let process = Process::start(world);
    let is_fault =
        |line: &Value| line["msg"].as_str().is_some_and(|msg| msg.starts_with("hooks file unusable"));
    assert_eq!(process.lines().into_iter().find(is_fault), None);
    let (address, api_address) = (process.address.clone(), process.api_address.clone());
    starts.send_replace(Some(Start { number, address, api_address, is_last }));
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_9_at_any_moment_loses_nothing_and_keeps_order_and_sequence() {
    let _turn = crate::turn().await;
    let receivers = Receivers::open().await;
    let mut world = World::with(&[]).await;
    world.stop().await;
    let world = Arc::new(world);
    let (expected, (starts, started)) = (Arc::new(Expected::default()), watch::channel(None));
    let router = Router::new(Arc::clone(&world), started, Arc::clone(&expected));
    let mut senders = JoinSet::new();
    for round in 0..rounds() {
        world.hooks(&receivers.table(round));
        // Down for a round at a time: far less than an event may hold its call.
        receivers.down.store(round % 3 == 1, Ordering::Relaxed);
        let process = start(&world, round, false, &starts);
        if round == 0 {
            for line in 0..LINES {
                senders.spawn(sender::calls(router.clone(), line));
                senders.spawn(sender::early_callers(router.clone(), line));
            }
            senders.spawn(sender::late_hosts(router.clone()));
            let opened = Arc::clone(&receivers.opened);
            let open = move |call: &str| {
                opened.lock().expect("calls").insert(call.to_owned());
            };
            senders.spawn(sender::letters(router.clone(), Arc::new(open)));
        }
        // Somewhere between the take-over and long after it.
        tokio::time::sleep(Duration::from_millis(5 + 89 * (round as u64 % 11))).await;
        drop(process);
    }
    world.hooks(&receivers.table(rounds()));
    receivers.down.store(false, Ordering::Relaxed);
    let process = start(&world, rounds(), true, &starts);
    tokio::time::timeout(REST, senders.join_all()).await.expect("every call ends");
    receivers.take(&expected).await;
    let mut faults = Vec::new();
    for (tenant, receiver) in receivers.all.iter().enumerate() {
        faults.extend(expected.faults(tenant, &receiver.arrivals()));
    }
    let shown = &faults[..faults.len().min(20)];
    assert!(faults.is_empty(), "{} faults: {shown:#?}", faults.len());
    let events: usize = (0..receivers.all.len()).map(|tenant| expected.count(tenant)).sum();
    counts(&world, &process, events).await;
}

/// Waits until usage has each of these events once, received and delivered.
async fn counts(world: &World, process: &Process, events: usize) {
    let (url, began) = (format!("http://{}/v1/usage", process.api_address), std::time::Instant::now());
    loop {
        let (_, page) = world.api_at(&url).await;
        let totals = &page["totals"];
        assert_eq!(totals["events"], events, "{page:#}");
        if totals["deliveries"] == events {
            return;
        }
        assert!(began.elapsed() < REST, "{page:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_room_started_and_the_caller_keeps_what_is_held_and_its_place() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    world.stop().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = async |process: &Process, body: String| {
        let token = livekit_token(&body, world.clock.unix().seconds());
        let url = format!("http://{}/webhook", process.address);
        let answer = client.post(url).header("authorization", token).body(body).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
    };
    for call in 0..3 {
        let id = |n: usize| format!("EV_{call}_{n}");
        let call = format!("c{call}");
        let process = Process::start(&world);
        post(&process, event(&id(1), "room_started", &call)).await;
        post(&process, event(&id(2), "participant_joined", &call)).await;
        drop(process);
        let process = Process::start(&world);
        post(&process, joined(&id(3), &call, "a.example")).await;
        drop(process);
        let process = Process::start(&world);
        post(&process, event(&id(4), "room_finished", &call)).await;
        let came = || {
            let mut came = Vec::new();
            for one in
                tenant.received().iter().filter(|one| one.header("switchhook-call") == format!("RM_{call}"))
            {
                let told = (one.id().to_owned(), one.header("switchhook-sequence").to_owned());
                if !came.contains(&told) {
                    came.push(told);
                }
            }
            came
        };
        let began = std::time::Instant::now();
        while came().len() < 4 {
            assert!(began.elapsed() < crate::world::PATIENCE, "{:?}", came());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(came(), (1..=4).map(|n| (id(n), n.to_string())).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_loses_no_event_of_a_sender_that_retries_as_livekit_does() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    world.stop().await;
    // A fixed port, as a LiveKit would post to.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
    let file = world.path("load.jsonl");
    let (calls, events) = (20, 60);
    let mut text = String::new();
    for event in 0..events {
        for call in 0..calls {
            let body = joined(&format!("EV_{call}_{event}"), &format!("call-{call}"), "a.example");
            // Two seconds of load in all.
            let at = f64::from(event) * 2.0 / f64::from(events);
            text += &(serde_json::json!({ "at": at, "body": body }).to_string() + "\n");
        }
    }
    std::fs::write(&file, text).expect("written");
    let start = |world: &World| {
        let mut args = world.args();
        args[1] = format!("127.0.0.1:{port}");
        Command::new(env!("CARGO_BIN_EXE_switchhook")).arg("serve").args(args).stdout(Stdio::null()).spawn()
    };
    let world = Arc::new(world);
    let mut first = start(&world).expect("switchhook");
    let sending = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["send", "--speed", "1", "--url", &format!("http://127.0.0.1:{port}/webhook")])
        .args(["--key", crate::world::KEY, "--secret", crate::world::SECRET])
        .arg(&file)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut sending = sending.expect("send");
    tokio::time::sleep(Duration::from_millis(900)).await;
    let ended = Command::new("kill").arg(first.id().to_string()).status().expect("SIGTERM");
    assert!(ended.success() && first.wait().expect("its end").success());
    let mut second = start(&world).expect("switchhook");
    let sent = tokio::time::timeout(Duration::from_secs(40), sending.wait()).await.expect("in time");
    assert!(sent.expect("send").success(), "every event was acknowledged");
    let due = usize::try_from(calls * events).expect("few");
    tenant.wait_for(due).await;
    second.kill().expect("killed");
    second.wait().expect("gone");
    let mut last = BTreeMap::new();
    for id in tenant.ids() {
        let (call, event) = id[3..].split_once('_').expect("two parts");
        let event: i32 = event.parse().expect("a number");
        let before = last.insert(call.to_owned(), event).unwrap_or(-1);
        assert!(event >= before, "call {call}: {event} after {before}");
    }
    let distinct: BTreeSet<_> = tenant.ids().into_iter().collect();
    assert_eq!(distinct.len(), due);
}
