//! After an answer of 200, nothing is lost: not by a kill -9, not by a restart under load.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::world::{Process, Reply, Tenant, World, event, joined, livekit_token, table};

/// Rounds of the kill -9 test: `SWITCHHOOK_KILL_ROUNDS=200 cargo test --test alone kill_9` for more.
fn rounds() -> usize {
    let asked = std::env::var("SWITCHHOOK_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(10)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_moment_loses_nothing_that_was_acknowledged_and_keeps_the_order_of_calls() {
    let _turn = crate::turn().await;
    let hosts = ["a.example", "b.example", "c.example"];
    let tenants = [Tenant::open().await, Tenant::open().await, Tenant::open().await];
    let hooks: Vec<_> = hosts.into_iter().zip(&tenants).collect();
    let mut world = World::with(&[]).await;
    world.stop().await;
    world.hooks(&table(&hooks));
    let mut acknowledged: Vec<BTreeMap<String, Vec<String>>> = vec![BTreeMap::new(); hosts.len()];
    for round in 0..rounds() {
        // Now and then a receiver fails, so that retries are under way when the end comes.
        tenants.iter().for_each(|tenant| tenant.reply(Reply::Status(500)));
        let process = Process::start(&world);
        let mut calls = JoinSet::new();
        for call in 0..9 {
            calls.spawn(post_call(process.address.clone(), round, call, hosts[call % 3]));
        }
        // Somewhere between the first events and the last.
        tokio::time::sleep(Duration::from_millis(20 + 37 * (round as u64 % 7))).await;
        drop(process);
        while let Some(posted) = calls.join_next().await {
            let (call, ids) = posted.expect("a call");
            acknowledged[call % 3].insert(format!("RM_{round}-{call}"), ids);
        }
    }
    let _process = Process::start(&world);
    for (tenant, calls) in tenants.iter().zip(&acknowledged) {
        let due: BTreeSet<_> = calls.values().flatten().collect();
        let began = std::time::Instant::now();
        while !due.iter().all(|id| tenant.ids().contains(id)) {
            assert!(began.elapsed() < crate::world::PATIENCE, "lost: {:?}", {
                let came = tenant.ids();
                due.iter().filter(|id| !came.contains(id)).collect::<Vec<_>>()
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Repeats carry the same id and body; leaving them out, every call came in its order.
        let mut bodies = BTreeMap::new();
        let mut came: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for received in tenant.received() {
            let (id, body) = (received.id().to_owned(), received.body.clone());
            let known = bodies.entry(id.clone()).or_insert_with(|| body.clone());
            assert_eq!(*known, body);
            let ids = came.entry(received.header("switchhook-call").to_owned()).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        for (call, ids) in calls {
            let came = came.get(call).into_iter().flatten().filter(|id| ids.contains(id));
            assert_eq!(came.collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>(), "{call}");
        }
    }
}

/// Posts the events of one call one after the other until the router is gone; gives the ids that
/// were acknowledged.
async fn post_call(address: String, round: usize, call: usize, host: &'static str) -> (usize, Vec<String>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let now = switchhook::Clock::system().unix().seconds();
    let mut ids = Vec::new();
    for event in 0.. {
        let id = format!("EV_{round}_{call}_{event:04}");
        let body = joined(&id, &format!("{round}-{call}"), host);
        let request = client
            .post(format!("http://{address}/webhook"))
            .header("authorization", livekit_token(&body, now))
            .body(body);
        match request.send().await {
            Ok(answer) if answer.status() == 200 => ids.push(id),
            _ => break,
        }
    }
    (call, ids)
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
