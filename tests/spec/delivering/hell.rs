//! Answers that no receiver should give: each attempt ends early, and its fault has the name that helps.

use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::spec::world::{Client, World, joined, misbehaving};

/// What a receiver does after the beginning of its answer.
#[derive(Clone, Copy)]
enum Then {
    /// Closes the connection.
    Closes,
    /// Sends nothing more.
    Waits,
    /// Sends this for ever.
    Repeats(&'static str),
    /// Sends this for ever, a byte every 20 ms.
    Drips(&'static str),
}

use Then::{Closes, Drips, Repeats, Waits};

/// A receiver that begins its answer so.
async fn receiver(begins: String, then: Then) -> (String, JoinSet<()>) {
    misbehaving(move |mut stream| {
        let begins = begins.clone();
        async move {
            if read_request(&mut stream).await.is_none() || stream.write_all(begins.as_bytes()).await.is_err()
            {
                return;
            }
            match then {
                Closes => {}
                Waits => tokio::time::sleep(Duration::from_secs(60)).await,
                Repeats(text) => {
                    let much = text.repeat(1 + 8192 / text.len());
                    while stream.write_all(much.as_bytes()).await.is_ok() {}
                }
                Drips(text) => {
                    for byte in text.bytes().cycle() {
                        if stream.write_all(&[byte]).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        }
    })
    .await
}

/// Reads a whole request: closing with unread data would reset the connection.
async fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let mut some = [0; 8192];
        let length = stream.read(&mut some).await.ok().filter(|length| *length > 0)?;
        read.extend_from_slice(&some[..length]);
        let text = String::from_utf8_lossy(&read).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if read.len() >= head.len() + 4 + length.unwrap_or_default() {
            return Some(());
        }
    }
}

/// Posts an event to each of these hosts, all at once, and says what their first attempts came to, and how long they
/// took in milliseconds.
pub async fn attempts(world: &World, hosts: &[String]) -> Vec<(Value, f64)> {
    let id = |host: &str| format!("EV_{}", host.replace('.', "-"));
    for host in hosts {
        assert_eq!(world.post(&joined(&id(host), &id(host), host)).await.status, 200);
    }
    let mut all = Vec::new();
    for host in hosts {
        let outcome = world.outcome(&id(host)).await;
        let story = world.story(&id(host), |_| true).await;
        all.push((outcome, story["attempts"][0]["latency_ms"].as_f64().expect("milliseconds")));
    }
    all
}

/// Hooks of these hosts and URLs, with this timeout.
pub fn hooks(hosts: &[String], urls: &[String], timeout: &str) -> String {
    let entry = |(host, url)| format!("  - host: {host}\n    url: {url}\n    timeout: {timeout}\n");
    format!("hooks:\n{}", hosts.iter().zip(urls).map(entry).collect::<String>())
}

/// The host whose hook leads to the receiver of this name.
pub fn host(name: &str) -> String {
    format!("{}.example", name.replace(' ', "-"))
}

/// Lets each receiver answer once, and compares what its attempt comes to. `timeout`: the hooks'.
async fn judge(timeout: &str, table: &[(&str, &str, Then, Value)]) -> Vec<f64> {
    let (mut urls, mut servers) = (Vec::new(), Vec::new());
    for (_, begins, then, _) in table {
        let (url, server) = receiver((*begins).to_owned(), *then).await;
        urls.push(url);
        servers.push(server);
    }
    let hosts: Vec<_> = table.iter().map(|(name, ..)| host(name)).collect();
    let world = World::at(Clock::system(), &hooks(&hosts, &urls, timeout), &[]).await;
    let attempts = attempts(&world, &hosts).await;
    let told: Vec<_> =
        table.iter().zip(&attempts).map(|((name, ..), (outcome, _))| (*name, outcome)).collect();
    let expected: Vec<_> = table.iter().map(|(name, .., expected)| (*name, expected)).collect();
    assert_eq!(told, expected);
    attempts.into_iter().map(|(_, latency)| latency).collect()
}

fn fault(name: &str) -> Value {
    name.into()
}

/// Each would go on for ever, or for the ten seconds of an attempt.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_end_is_cut_off_long_before_the_attempts_deadline() {
    let status = Value::from(200);
    let protocol = fault("protocol");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let table = [
        ("continue", "", Repeats("HTTP/1.1 100 Continue\r\n\r\n"), protocol.clone()),
        ("early hints", "", Repeats("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), protocol.clone()),
        ("head", "HTTP/1.1 200 OK\r\n", Repeats("x-more: more\r\n"), protocol.clone()),
        ("header", "HTTP/1.1 200 OK\r\nx-long: ", Repeats("more"), protocol.clone()),
        ("status line", "HTTP/1.1 200 ", Repeats("OK"), protocol.clone()),
        ("body", "HTTP/1.1 200 OK\r\n\r\n", Repeats("more"), status.clone()),
        ("chunks", chunked, Repeats("4\r\nmore\r\n"), status.clone()),
        ("empty lines", "", Repeats("\r\n"), protocol.clone()),
        (
            "chunk extension",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;x=",
            Repeats("x"),
            protocol.clone(),
        ),
        (
            "trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            Repeats("a: b\r\n"),
            protocol,
        ),
        // Nothing is decompressed: what this claims to be gzip is none.
        ("gzip", "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", Repeats("more"), status),
    ];
    judge("10s", &table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_a_fault_of_protocol_and_what_breaks_off_before_an_answer_a_reset() {
    let protocol = fault("protocol");
    let long = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x-many: x\r\n".repeat(500));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let table = [
        ("a header of a megabyte", &long[..], Waits, protocol.clone()),
        ("five hundred headers", &many, Waits, protocol.clone()),
        ("ssh", "SSH-2.0-OpenSSH_9.2p1\r\n", Waits, protocol.clone()),
        ("no status", "HTTP/1.1 OK\r\n\r\n", Waits, protocol.clone()),
        ("no number", "HTTP/1.1 200 OK\r\ncontent-length: much\r\n\r\n", Waits, protocol.clone()),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            Waits,
            protocol.clone(),
        ),
        ("a nul", "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", Waits, protocol.clone()),
        ("no chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Waits, protocol.clone()),
        ("too short", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", Closes, protocol.clone()),
        ("no last chunk", chunked, Closes, protocol),
        // The answer is complete; what follows it is not read.
        ("too long", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nlonger than that", Closes, 200.into()),
        ("nothing", "", Closes, fault("reset")),
        ("half a head", "HTTP/1.1 200 OK\r\nx-", Closes, fault("reset")),
        ("only a hundred", "HTTP/1.1 100 Continue\r\n\r\n", Closes, fault("reset")),
    ];
    judge("10s", &table).await;
}

/// Whoever tests a hook must not be told that it is well when each of its deliveries will fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_comes_to_what_a_delivery_would_and_shows_what_was_answered() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n";
    let breaks_off = format!("{head}{}", "x".repeat(3000));
    let whole = format!("{head}{}", "x".repeat(5000));
    for (begins, status, error) in
        [(breaks_off, Value::Null, fault("protocol")), (whole, 200.into(), Value::Null)]
    {
        let (url, _server) = receiver(begins, Closes).await;
        let hosts = [host("tested")];
        let world = World::at(Clock::system(), &hooks(&hosts, &[url], "10s"), &[]).await;
        let path = format!("/v1/hooks/{}/test", hosts[0]);
        let tested = Client::operator(&world).post(&path, &json!({})).await;
        let event = &tested.body["events"][0];
        assert_eq!((&event["status"], &event["error"]), (&status, &error), "{}", tested.body);
        assert_eq!(event["answer"], "x".repeat(1024));
        let attempts = attempts(&world, &hosts).await;
        assert_eq!(attempts[0].0, if error.is_null() { status } else { error });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_slowly_ends_with_the_attempts_deadline() {
    let timeout = fault("timeout");
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    let table = [
        ("nothing", "", Waits, timeout.clone()),
        ("half a head", "HTTP/1.1 200 OK\r\n", Waits, timeout.clone()),
        ("half a body", head, Waits, timeout.clone()),
        ("head byte by byte", "HTTP/1.1 200 OK\r\n", Drips("x: y\r\n"), timeout.clone()),
        ("body byte by byte", head, Drips("x"), timeout.clone()),
        ("continue byte by byte", "", Drips("HTTP/1.1 100 Continue\r\n\r\n"), timeout),
    ];
    let latencies = judge("600ms", &table).await;
    assert!(latencies.iter().all(|latency| *latency >= 600.0), "{latencies:?}");
}
