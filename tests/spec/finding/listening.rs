//! `switchhook listen --from`: a tenant's events on a laptop.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use switchhook::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::spec::delivering::signatures::{delivery, secret};
use crate::spec::world::{
    Client, PATIENCE, Process, Tenant, World, event, joined, judge, misbehaving, searched, table,
};

fn listen(args: &[&str]) -> Command {
    let mut command = Command::new(Process::BINARY);
    command.arg("listen").args(args).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The exit code of a command that ends by itself, and what it has printed.
async fn ended(args: &[&str]) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(PATIENCE, listen(args).output()).await;
    let output = searched(args, output.expect("it ends in time").expect("switchhook"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_from_brings_a_signed_event_to_a_laptop_and_the_tenant_gets_it_too() {
    let (acme, laptop, globex) = (Tenant::open().await, Tenant::open().await, Tenant::open().await);
    let hooks = table(&[("b.example", &globex), ("a.example", &acme)]) + "    redact: [room.name]\n";
    let world = World::at(Clock::system(), &hooks, &[]).await;
    let own = secret(&world, "a.example").await;
    let token = Client::tenant(&world, "a.example", &[]).token;
    let (url, forward) = (world.api_url(""), laptop.url());
    let _listening = listen(&["--from", &url, "--token", &token, "--forward", &forward]).spawn().expect("it");
    world.measures("stream_readers 1").await;
    world.post(&event("EV_1", "room_started", "größe")).await;
    world.post(&joined("EV_2", "größe", "a.example")).await;
    world.post(&joined("EV_3", "other", "b.example")).await;
    world.post(&event("EV_4", "room_finished", "größe")).await;
    let (here, there) = (laptop.wait_for(3).await, acme.wait_for(3).await);
    assert_eq!(laptop.ids(), ["EV_1", "EV_2", "EV_4"], "in the call's order, and nothing of another tenant");
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(here.body, there.body);
        for (name, value) in there.headers.iter().filter(|(name, _)| name.as_str().starts_with("switchhook-"))
        {
            assert_eq!(here.header(name.as_str()), value.to_str().expect("text"), "{name}");
        }
    }
    let input: String = here.iter().map(|received| delivery(&own, received)).collect();
    let said = judge("python", "standardwebhooks_verify.py", &input).await;
    assert_eq!(said.lines().collect::<Vec<_>>(), ["ok", "ok", "ok"]);
    globex.wait_for(1).await;
}

/// What a router would write of an event.
fn written(id: &str) -> String {
    let headers =
        json!({ "webhook-id": id, "webhook-timestamp": "1795240012", "switchhook-event": "room_started" });
    let request = json!({ "headers": headers, "body": "{}", "is_base64": false });
    let told = json!({
        "what": "received", "at": "2026-11-21T05:46:52.110Z", "id": id, "event": "room_started", "nearest": [],
        "request": request, "of_a_newer_router": true,
    });
    format!("event: received\ndata: {told}\n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_comes_back_says_what_is_not_repeated_and_ends_with_its_token() {
    let count = Arc::new(AtomicUsize::new(0));
    let answers = [
        format!(": hello\n\n{}", written("EV_1")),
        format!("event: lost\ndata: {{\"count\":7}}\n\n{}", written("EV_2")),
        "event: end\ndata: {\"reason\":\"revoked\"}\n\n".to_owned(),
    ];
    let (url, _serving) = misbehaving(move |mut stream| {
        let answer = answers[count.fetch_add(1, Ordering::SeqCst).min(2)].clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
        }
    })
    .await;
    let (code, out, err) = ended(&["--from", &url, "--token", "a-token", "--json"]).await;
    let ids: Vec<_> = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect();
    let ids: Vec<_> = ids.iter().map(|line| (line["event_id"].as_str(), line["answer"].is_null())).collect();
    assert_eq!(ids, [(Some("EV_1"), true), (Some("EV_2"), true)], "{err}");
    assert_eq!(code, Some(1));
    let (_, listed) = err.split_once("switchhook deliveries --url ").expect("what lists it");
    let listed: Vec<_> = listed.lines().next().expect("a line").split(' ').collect();
    let times = [listed[2], listed[4]].map(|time| time.parse::<jiff::Timestamp>().expect("a time"));
    assert!((listed[1], listed[3]) == ("--since", "--until") && times[0] <= times[1], "{listed:?}");
    for said in ["trying again", "is not repeated here", "left out 7", "accepts the token no more: revoked"] {
        assert!(err.contains(said), "{said}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listener_may_not_do_is_said_and_ends_it() {
    let world = World::with(&[]).await;
    let url = world.api_url("");
    let readers: Vec<_> = {
        let client = Client::tenant(&world, "acme", &[]);
        let args = ["--from", &url, "--token", &client.token];
        (0..8).map(|_| listen(&args).spawn().expect("switchhook")).collect()
    };
    world.measures("stream_readers 8").await;
    let token = Client::tenant(&world, "acme", &[]).token;
    let nowhere = "http://127.0.0.1:1";
    for (args, code, said) in [
        (vec!["--from", &url, "--token", "nonsense"], 1, "401"),
        (vec!["--from", &url, "--token", &token], 1, "429"),
        (vec!["--from", nowhere, "--token", &token], 1, "no router answers"),
        (vec!["--from", &url], 2, "a URL that is given needs a token"),
        (vec!["--tenant", "acme", "--secret", "whsec_c2VjcmV0"], 2, "give one of them"),
        (vec!["--from", &url, "--token", &token, "--listen", "127.0.0.1:0"], 2, "cannot be used with"),
        (vec!["--from", &url, "--token", &token, "--fail-first", "2"], 2, "cannot be used with"),
    ] {
        let (found, _, err) = ended(&args).await;
        assert_eq!(found, Some(code), "{args:?}: {err}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
    drop(readers);
    world.measures("stream_readers 0").await;
}

/// The lines that a listener prints of events, as many as these.
async fn lines(listening: &mut Child, count: usize) -> Vec<String> {
    let out = listening.stdout.as_mut().expect("its output");
    let mut read = BufReader::new(out).lines();
    let mut found = Vec::new();
    while found.len() < count {
        let line = tokio::time::timeout(PATIENCE, read.next_line()).await.expect("a line in time");
        let line = line.expect("text").expect("it goes on");
        if line.contains("room_started") || line.contains("participant_joined") {
            found.push(line);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_listener_says_whose_each_event_is_and_what_was_not_forwarded() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant), ("b.example", &tenant)]).await;
    let (url, token) = (world.api_url(""), world.operator_token());
    let from = ["--from", &url, "--token", &token, "--forward", "http://127.0.0.1:1/hook"];
    let mut plain = listen(&from).spawn().expect("it");
    let mut json = listen(&[&from[..], &["--json"]].concat()).spawn().expect("it");
    // The tenant only narrows it down: the secret is for checking.
    let own = secret(&world, "a.example").await;
    let narrow = [&from[..], &["--tenant", "a.example", "--secret", &own]].concat();
    let mut narrow = listen(&narrow).spawn().expect("it");
    world.measures("stream_readers 3").await;
    world.post(&joined("EV_1", "c", "b.example")).await;
    world.post(&joined("EV_2", "d", "a.example")).await;
    let said = lines(&mut plain, 2).await;
    for (line, tenant) in said.iter().zip(["b.example", "a.example"]) {
        assert!(line.trim_end().ends_with(&format!("{tenant}  not forwarded: refused")), "{line}");
    }
    let line: Value = serde_json::from_str(&lines(&mut json, 1).await[0]).expect("JSON");
    let found = ["event_id", "tenant", "answer", "not_forwarded"].map(|name| &line[name]);
    assert_eq!(found, [&json!("EV_1"), &json!("b.example"), &Value::Null, &json!("refused")]);
    let said = lines(&mut narrow, 1).await;
    assert!(said[0].contains("verified") && !said[0].contains(".example"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_ends_when_it_is_interrupted() {
    let world = World::with(&[]).await;
    let token = world.operator_token();
    let mut listening =
        listen(&["--from", &world.api_url(""), "--token", &token]).spawn().expect("switchhook");
    world.measures("stream_readers 1").await;
    let id = listening.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.expect("kill").success());
    let status = tokio::time::timeout(PATIENCE, listening.wait()).await;
    assert!(status.expect("it ends").expect("its end").success());
}
