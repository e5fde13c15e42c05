//! What a restart between two events of a call, or in the middle of a load, must not change.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::world::{Process, Tenant, World, event, joined, livekit_token};

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
