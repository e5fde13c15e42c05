//! The live stream.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use crate::spec::delivering::signatures::{delivery, secret};
use crate::spec::world::{
    Client, PATIENCE, Received, Tenant, World, event, joined, judge, search_answer, table,
};

/// Somebody who reads a stream.
struct Reader {
    response: reqwest::Response,
    text: String,
}

impl Reader {
    /// A reader with this client's token, whose stream has begun.
    async fn open(world: &World, client: &Client, query: &str) -> Self {
        let response = ask(world, client, query).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next server-sent event: its name and its data; none: the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let lines: Vec<_> = block.lines().filter_map(|line| line.split_once(": ")).collect();
                let field =
                    |name: &str| lines.iter().find(|(field, _)| *field == name).map(|(_, text)| *text);
                let found = field("event").zip(field("data"));
                let found =
                    found.map(|(name, data)| (name.to_owned(), serde_json::from_str(data).expect("JSON")));
                self.text = rest.to_owned();
                if found.is_some() {
                    return found;
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something comes");
            let chunk = chunk.ok().flatten()?;
            search_answer("a line of GET /v1/stream", std::str::from_utf8(&chunk).expect("text"));
            self.text += std::str::from_utf8(&chunk).expect("text");
        }
    }

    /// The next event, which has this name. An attempt may come before its event's receipt is: it is skipped.
    async fn expect(&mut self, name: &str) -> Value {
        loop {
            let (found, data) = self.next().await.expect("the stream goes on");
            if found != "attempt" {
                assert_eq!(found, name, "{data}");
                return data;
            }
        }
    }

    /// What the stream holds until an event with this id is received, but for attempts.
    async fn until_received(&mut self, id: &str) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        loop {
            let (name, data) = self.next().await.expect("the stream goes on");
            if name == "received" && data["id"] == id {
                return all;
            }
            if name != "attempt" {
                all.push((name, data));
            }
        }
    }
}

async fn ask(world: &World, client: &Client, query: &str) -> reqwest::Response {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = world.api_url(&format!("/v1/stream{query}"));
    http.get(url).bearer_auth(&client.token).send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_received_routed_and_attempted_is_seen_as_it_happens() {
    let acme = Tenant::open().await;
    let world = World::with(&[("calls.acme.example", &acme)]).await;
    let mut reader = Reader::open(&world, &Client::operator(&world), "").await;
    world.post(&event("EV_1", "room_started", "a")).await;
    let held = reader.expect("held").await;
    assert_eq!((&held["id"], &held["call"], &held["tenant"]), (&json!("EV_1"), &json!("RM_a"), &Value::Null));
    world.post(&joined("EV_2", "a", "calls.acme.example")).await;
    // The first is released before the event that binds its call; attempts may come before.
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(reader.next().await.expect("the stream goes on"));
    }
    let of = |name: &str, id: &str| {
        let found = seen.iter().position(|(found, data)| found == name && data["id"] == id);
        let at = found.unwrap_or_else(|| panic!("{name} {id}: {seen:?}"));
        (at, &seen[at].1)
    };
    let ((freed_at, freed), (came_at, came)) = (of("released", "EV_1"), of("received", "EV_2"));
    assert!(freed_at < came_at, "{seen:?}");
    assert_eq!(
        (&freed["sequence"], &freed["rule"], &freed["tenant"]),
        (&json!(1), &json!("call"), &came["tenant"])
    );
    assert_eq!((&came["sequence"], &came["rule"]), (&json!(2), &json!("domain")));
    assert_eq!((&came["domain"], &came["who"]), (&json!("calls.acme.example"), &json!("sip_+15550199")));
    for id in ["EV_1", "EV_2"] {
        let (_, tried) = of("attempt", id);
        let attempt = &tried["attempt"];
        assert_eq!((&attempt["outcome"], &attempt["status"]), (&json!("delivered"), &json!(200)), "{tried}");
        assert_eq!((&attempt["number"], &attempt["url"]), (&json!(1), &json!(acme.url())), "{tried}");
    }
    world.post(&joined("EV_3", "b", "calls.acmee.example")).await;
    let unrouted = reader.expect("unrouted").await;
    assert_eq!(
        (&unrouted["reason"], &unrouted["nearest"]),
        (&json!("no_hook"), &json!(["calls.acme.example"])),
        "{unrouted}"
    );
    world.post(&joined("EV_3", "b", "calls.acmee.example")).await;
    assert_eq!(reader.expect("duplicate").await["id"], "EV_3");
    world.measures("stream_readers 1").await;
    drop(reader);
    world.measures("stream_readers 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_what_it_asks_for_and_nothing_else_can_be_asked_for() {
    let (acme, globex) = (Tenant::open().await, Tenant::open().await);
    let world = World::with(&[("a.example", &acme), ("b.example", &globex)]).await;
    let operator = Client::operator(&world);
    let queries = ["?tenant=b.example", "?call=RM_b", "?domain=b.example", "?event=room_started"];
    let mut readers = Vec::new();
    for query in queries {
        readers.push(Reader::open(&world, &operator, query).await);
    }
    for (id, call, host) in [("EV_1", "a", "a.example"), ("EV_2", "b", "b.example")] {
        world.post(&joined(id, call, host)).await;
    }
    world.post(&event("EV_3", "room_started", "b")).await;
    for (reader, id) in readers.iter_mut().zip(["EV_2", "EV_2", "EV_2", "EV_3"]) {
        assert_eq!(reader.expect("received").await["id"], id);
    }
    for query in ["?colour=red", "?bodies=perhaps", "?since=now"] {
        assert_eq!(ask(&world, &operator, query).await.status(), 400, "{query}");
    }
    assert_eq!(ask(&world, &Client::with_token(&world, "none".to_owned()), "").await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_nothing_of_another() {
    let (acme, globex) = (Tenant::open().await, Tenant::open().await);
    let hooks = format!(
        "hooks:\n  - {{host: calls.acme.example, tenant: acme, url: '{}'}}\n  - {{host: calls.globex.example, tenant: \
         globex, url: '{}'}}\n",
        acme.url(),
        globex.url()
    );
    let mut world = World::at(Clock::system(), &hooks, &[]).await;
    let client = Client::tenant(&world, "acme", &["*.acme.example"]);
    let mut reader = Reader::open(&world, &client, "?bodies=true").await;
    let mut asked_for_another = Reader::open(&world, &client, "?tenant=globex").await;
    let mut asked_for_its_call = Reader::open(&world, &client, "?call=RM_secretcall").await;
    for (id, call, host) in [
        ("EV_theirs1", "secretcall", "calls.globex.example"),
        ("EV_theirs2", "secretother", "calls.initech.example"),
        ("EV_own1", "secretcall", "calls.acmee.example"),
        ("EV_own2", "secretcall", "caller.acme.example"),
    ] {
        world.post(&joined(id, call, host)).await;
    }
    // Held, and come once more.
    for _ in 0..2 {
        world.post(&event("EV_theirs3", "room_started", "secretheld")).await;
    }
    world.post(&joined("EV_own3", "c", "calls.acme.example")).await;
    let seen = reader.until_received("EV_own3").await;
    let names: Vec<_> = seen.iter().map(|(name, data)| (name.as_str(), data["id"].as_str())).collect();
    assert_eq!(names, [("unrouted", Some("EV_own2"))], "what its token's hosts cover");
    let unrouted = &seen[0].1;
    assert_eq!((&unrouted["call"], &unrouted["room"]), (&Value::Null, &Value::Null), "the call is another's");
    assert_eq!(unrouted["nearest"], json!(["calls.acme.example"]));
    let told = format!("{seen:?}");
    assert!(!told.contains("secret") && !told.contains("globex"), "{told}");
    acme.wait_for(1).await;
    globex.wait_for(1).await;
    world.stop().await;
    for reader in [&mut asked_for_another, &mut asked_for_its_call] {
        let (name, data) = reader.next().await.expect("its end");
        assert_eq!((name.as_str(), &data["reason"]), ("end", &json!("stopping")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_bodies_the_request_comes_as_its_tenant_gets_it_signed_and_redacted() {
    let acme = Tenant::open().await;
    let hooks =
        table(&[("a.example", &acme)]) + "    redact: [room.name]\n    headers: {x-key: a-credential}\n";
    let world = World::at(Clock::system(), &hooks, &[]).await;
    let mut reader = Reader::open(&world, &Client::tenant(&world, "a.example", &[]), "?bodies=true").await;
    world.post(&event("EV_1", "room_started", "größe")).await;
    world.post(&joined("EV_2", "größe", "a.example")).await;
    let own = secret(&world, "a.example").await;
    let got = acme.wait_for(2).await;
    let mut judged = String::new();
    for (id, name) in [("EV_1", "released"), ("EV_2", "received")] {
        let told = loop {
            let (found, data) = reader.next().await.expect("the stream goes on");
            if found == name {
                break data;
            }
            assert_eq!((found.as_str(), &data["request"]), ("attempt", &Value::Null), "{data}");
        };
        assert_eq!(told["id"], id);
        let request = &told["request"];
        let got = got.iter().find(|got| got.id() == id).expect("delivered");
        assert_eq!(request["body"], std::str::from_utf8(&got.body).expect("text"), "as it was delivered");
        let body: Value = serde_json::from_str(request["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(
            (&body["room"]["sid"], &body["room"]["name"]),
            (&json!("RM_größe"), &Value::Null),
            "redacted"
        );
        let headers = request["headers"].as_object().expect("headers");
        let of_now = ["webhook-timestamp", "webhook-signature", "switchhook-attempt"];
        for (name, value) in headers.iter().filter(|(name, _)| !of_now.contains(&name.as_str())) {
            assert_eq!(got.header(name), value, "{name}");
        }
        let ours = ["host", "content-length", "user-agent", "accept", "x-key"];
        let names: HashSet<_> = headers.keys().map(String::as_str).collect();
        let left_out: Vec<_> = got.headers.keys().filter(|name| !names.contains(name.as_str())).collect();
        assert!(left_out.iter().all(|name| ours.contains(&name.as_str())), "{left_out:?}");
        judged += &delivery(&own, &as_received(request));
    }
    let said = judge("python", "standardwebhooks_verify.py", &judged).await;
    assert_eq!(said.lines().collect::<Vec<_>>(), ["ok", "ok"]);
}

/// A request of the stream, as somebody receives it to whom it is passed on.
fn as_received(request: &Value) -> Received {
    let headers = request["headers"].as_object().expect("headers").iter();
    let header = |(name, value): (&String, &Value)| {
        (name.parse().expect("a name"), value.as_str().expect("text").parse().expect("a value"))
    };
    let body = request["body"].as_str().expect("text").to_owned().into();
    Received { path: String::new(), headers: headers.map(header).collect(), body }
}

/// An event of so many bytes.
fn large(id: &str, call: &str, host: &str, bytes: usize) -> String {
    let mut event: Value = serde_json::from_str(&joined(id, call, host)).expect("JSON");
    event["room"]["metadata"] = "x".repeat(bytes).into();
    event.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_loses_with_a_count_and_slows_nobody() {
    let acme = Tenant::open().await;
    let world = World::with(&[("a.example", &acme)]).await;
    let client = Client::tenant(&world, "a.example", &[]);
    let address = world.api_url("").trim_start_matches("http://").parse().expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    let mut slow = socket.connect(address).await.expect("a connection");
    let asked = format!(
        "GET /v1/stream?bodies=true HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        client.token
    );
    slow.write_all(asked.as_bytes()).await.expect("written");
    world.measures("stream_readers 1").await;
    let mut quick = Reader::open(&world, &client, "").await;
    let count = 40;
    for n in 0..count {
        world.post(&large(&format!("EV_{n}"), &format!("call{n}"), "a.example", 100_000)).await;
    }
    acme.wait_for(count).await;
    // Everything is received and attempted once.
    for _ in 0..2 * count {
        assert_ne!(quick.next().await.expect("the stream goes on").0, "lost");
    }
    let mut told = String::new();
    let (mut events, mut lost) = (0, 0);
    while events + lost < 2 * count as u64 {
        let mut some = vec![0; 1 << 20];
        let read = tokio::io::AsyncReadExt::read(&mut slow, &mut some);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("something comes").expect("a stream");
        assert!(read > 0, "{} of {lost} lost", events + lost);
        told += std::str::from_utf8(&some[..read]).expect("text");
        events = ["received", "attempt"]
            .map(|name| told.matches(&format!("event: {name}\n")).count() as u64)
            .iter()
            .sum();
        let counts =
            told.split("event: lost\ndata: {\"count\":").skip(1).filter_map(|rest| rest.split_once('}'));
        lost = counts.map(|(count, _)| count.parse::<u64>().expect("a count")).sum();
    }
    assert!(lost > 0 && events > 0, "{events} events, {lost} lost");
    world.measures(&format!("stream_lost_total {lost}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_65th_reader_is_turned_away() {
    let world = World::with(&[]).await;
    let mut readers = Vec::new();
    for tenant in 0..7 {
        let client = Client::tenant(&world, &format!("t{tenant}"), &[]);
        for _ in 0..8 {
            readers.push(Reader::open(&world, &client, "").await);
        }
        let ninth = ask(&world, &client, "").await;
        assert_eq!((ninth.status().as_u16(), ninth.headers()["retry-after"].as_bytes()), (429, &b"10"[..]));
    }
    let another = Client::tenant(&world, "another", &[]);
    assert_eq!(ask(&world, &another, "").await.status(), 503, "the rest is kept for operators");
    let operator = Client::operator(&world);
    for _ in 0..8 {
        readers.push(Reader::open(&world, &operator, "").await);
    }
    let last = ask(&world, &operator, "").await;
    assert_eq!(last.status(), 503);
    let problem: Value = last.json().await.expect("JSON");
    assert!(problem["detail"].as_str().expect("text").contains("64"), "{problem}");
    // Whoever asks for something else is answered all the same.
    for client in [&operator, &another, &Client::tenant(&world, "t0", &[])] {
        assert_eq!(client.get("/v1/calls").await.status, 200);
    }
    drop(readers.pop());
    world.measures("stream_readers 63").await;
    Reader::open(&world, &operator, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token() {
    let acme = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &acme)]).await;
    let exp = world.clock.unix().seconds() + 7;
    let short = Client::with_claims(&world, &json!({ "sub": "acme", "jti": "short", "exp": exp }));
    let mut expiring = Reader::open(&world, &short, "").await;
    let mut revoked = Reader::open(&world, &Client::tenant(&world, "globex", &[]), "").await;
    let operator = Client::operator(&world);
    let mut lasting = Reader::open(&world, &operator, "").await;
    world.clock.advance(Duration::from_secs(7));
    assert_eq!(expiring.expect("end").await["reason"], "expired");
    assert!(expiring.next().await.is_none());
    let mut watching = Reader::open(&world, &Client::tenant(&world, "a.example", &[]), "?bodies=true").await;
    for tenant in ["globex", "a.example"] {
        let revoke = format!("/v1/tenants/{tenant}/revoke");
        assert_eq!(operator.post(&revoke, &Value::Null).await.status, 200);
    }
    // With the next event, which it would be, and if there is none within 15 s.
    world.post(&joined("EV_1", "a", "a.example")).await;
    let ended = watching.next().await.expect("its end");
    assert_eq!((ended.0.as_str(), &ended.1["reason"]), ("end", &json!("revoked")));
    assert!(watching.next().await.is_none());
    lasting.expect("received").await;
    world.clock.advance(Duration::from_secs(15));
    assert_eq!(revoked.expect("end").await["reason"], "revoked");
    assert!(revoked.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_stops_at_once_with_readers_connected() {
    // Time stands still: nothing is waited for until a deadline passes.
    let mut world = World::with_moved_time(&[]).await;
    let operator = Client::operator(&world);
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(Reader::open(&world, &operator, "").await);
    }
    world.stop().await;
    for mut reader in readers {
        assert_eq!(reader.expect("end").await["reason"], "stopping");
        assert!(reader.next().await.is_none());
    }
}
