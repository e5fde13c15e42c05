//! The official libraries of LiveKit and of CloudEvents take what tenants receive.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::recorded::{HOSTS, all, hooks, recordings, rows, tenants, text};
use crate::spec::world::{KEY, Received, SECRET, Tenant, World, joined, judge, table};

/// What the tenants receive of all recorded calls, when their hooks have these keys more.
async fn of_all_recordings(keys: &str) -> Vec<Received> {
    let (tenants, folder) = (tenants().await, recordings());
    let line = |line: &str| {
        let keys = if line.trim_start().starts_with("url: ") { keys } else { "" };
        format!("{line}\n{keys}")
    };
    let hooks: String = hooks(&folder, &tenants).lines().map(line).collect();
    let world = World::at(Clock::system(), &hooks, &[]).await;
    for post in all(&folder).values().flatten() {
        assert_eq!(world.post(text(post, "body")).await.status, 200);
    }
    let (rows, mut received) = (rows(&folder), Vec::new());
    for (host, tenant) in HOSTS.iter().zip(&tenants) {
        received.extend(tenant.wait_for(rows.iter().filter(|row| row[3] == *host).count()).await);
    }
    assert!(received.len() > 300, "{}", received.len());
    received
}

/// LiveKit's bodies by their event's id.
fn bodies() -> BTreeMap<String, Value> {
    let all = all(&recordings());
    let events = all.values().flatten().map(|post| serde_json::from_str(text(post, "body")).expect("JSON"));
    events.map(|event: Value| (event["id"].as_str().expect("an id").to_owned(), event)).collect()
}

/// A tenant's own key, and its secret.
const OWN: [&str; 2] = ["APItenant", "a-secret-of-the-tenants-own-0001"];

/// A delivery as the `WebhookReceiver`s of LiveKit's SDKs take it: the raw body and the header.
fn post(secret: &str, received: &Received, body: &str) -> String {
    let authorization = received.header("authorization");
    json!({ "key": OWN[0], "secret": secret, "authorization": authorization, "body": body }).to_string()
        + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn livekits_sdks_receive_every_recorded_event_and_refuse_a_changed_one() {
    let keys = format!("    sign: [livekit]\n    livekit_sign: {{key: {}, secret: {}}}\n", OWN[0], OWN[1]);
    let received = of_all_recordings(&keys).await;
    let (mut input, mut expected) = (String::new(), Vec::new());
    for received in &received {
        assert!(received.headers.get("webhook-signature").is_none());
        let body = std::str::from_utf8(&received.body).expect("text");
        let changed = body.replacen("EV_", "EV-", 1);
        let cases = [(OWN[1], body, true), (OWN[1], &changed, false), (SECRET, body, false)];
        for (secret, body, is_taken) in cases {
            input += &post(secret, received, body);
            expected.push(is_taken.then(|| received.header("switchhook-event").to_owned()));
        }
    }
    for (program, script) in [("python", "livekit_receive.py"), ("node", "livekit_receive.js")] {
        let said = judge(program, script, &input).await;
        assert_eq!(said.lines().count(), expected.len());
        for (said, expected) in said.lines().zip(&expected) {
            match expected {
                Some(name) => assert_eq!(said, name, "{script}"),
                // Faults have more words than names of events.
                None => assert!(said.contains(": "), "{script}: {said}"),
            }
        }
    }
}

/// A delivery as the CloudEvents SDKs take it.
fn message(received: &Received) -> String {
    let value = |value: &reqwest::header::HeaderValue| value.to_str().expect("text").to_owned();
    let headers: BTreeMap<_, _> =
        received.headers.iter().map(|(name, content)| (name.as_str(), value(content))).collect();
    let body = std::str::from_utf8(&received.body).expect("text");
    json!({ "headers": headers, "body": body }).to_string() + "\n"
}

/// What each SDK reads of the deliveries.
async fn parsed(received: &[Received]) -> Vec<Value> {
    let input: String = received.iter().map(message).collect();
    let mut all = Vec::new();
    for (program, script) in [("python", "cloudevents_parse.py"), ("node", "cloudevents_parse.js")] {
        let said = judge(program, script, &input).await;
        assert_eq!(said.lines().count(), received.len(), "{script}");
        all.extend(said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    all
}

fn time(text: &Value) -> jiff::Timestamp {
    text.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{text} is no time"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cloudevents_sdks_parse_every_recorded_event() {
    let received = of_all_recordings("    format: cloudevents\n").await;
    let bodies = bodies();
    // Each delivery as both SDKs have read it.
    for (read, received) in parsed(&received).await.iter().zip(received.iter().chain(&received)) {
        let id = received.id();
        assert_eq!(received.header("content-type"), "application/cloudevents+json");
        let name = bodies[id]["event"].as_str().expect("a name");
        let expected = [
            ("specversion", json!("1.0")),
            ("id", json!(id)),
            ("type", json!(format!("io.livekit.{name}"))),
            ("source", json!(format!("/livekit/{KEY}"))),
            ("subject", json!(received.header("switchhook-call"))),
            ("datacontenttype", json!("application/json")),
            ("data", bodies[id].clone()),
        ];
        for (key, value) in expected {
            assert_eq!(read[key], value, "{key} of {read:#}");
        }
        let at = received.header("switchhook-received-at").parse().expect("a time");
        assert_eq!(time(&read["time"]), at);
    }
}

/// Hostile names still make CloudEvents; an event without a room has no subject.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_event_holds_its_cloud_event_is_valid() {
    let tenant = Tenant::open().await;
    let hooks = table(&[("a.example", &tenant)]) + "    format: cloudevents\n";
    let world = World::at(Clock::system(), &hooks, &[]).await;
    let mut hostile: Value = serde_json::from_str(&joined("EV_1", "c", "a.example")).expect("JSON");
    (hostile["room"]["sid"], hostile["event"]) = (json!("RM_\u{1b}\u{9b}\r\n\u{202e}"), json!("a\u{0}b"));
    let mut roomless: Value = serde_json::from_str(&joined("EV_2", "c", "a.example")).expect("JSON");
    roomless["room"] = json!({});
    for body in [&hostile, &roomless] {
        assert_eq!(world.post(&body.to_string()).await.status, 200);
    }
    let received = tenant.wait_for(2).await;
    for read in parsed(&received).await {
        let (subject, kind) = match read["id"].as_str() {
            Some("EV_1") => (json!("RM_%1B%C2%9B%0D%0A%E2%80%AE"), "io.livekit.a%00b"),
            _ => (Value::Null, "io.livekit.participant_joined"),
        };
        assert_eq!((&read["subject"], &read["type"]), (&subject, &json!(kind)), "{read:#}");
    }
}
