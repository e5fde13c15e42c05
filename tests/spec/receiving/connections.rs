//! Who has a place at the doors.

use std::time::Instant;

use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::spec::world::{PATIENCE, World, event, livekit_token, token_of};

const HEALTH: &str = "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";

/// What a connection is answered; nothing: it is closed.
async fn asks(stream: &mut TcpStream, request: &str) -> String {
    // Whether the connection is still open is told by the answer.
    let _ = stream.write_all(request.as_bytes()).await;
    hears(stream).await
}

async fn hears(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time");
    String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned()
}

fn post(world: &World, id: &str) -> String {
    let body = event(id, "room_started", "c");
    request("/webhook", &body, &livekit_token(&body, world.clock.unix().seconds()))
}

fn request(path: &str, body: &str, token: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_connections_have_shown_a_valid_token_only_health_is_answered_on_new_ones() {
    let world = World::at(Clock::system(), "hooks: []\n", &["--connections", "2"]).await;
    let mut known = Vec::new();
    for n in 0..2 {
        let mut stream = world.connect().await.expect("a connection");
        assert!(asks(&mut stream, &post(&world, &format!("EV_{n}"))).await.starts_with("HTTP/1.1 200"));
        known.push(stream);
    }
    // Many say nothing: what is beside the limit is not used up by them.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(world.connect().await.expect("a connection"));
    }
    let mut refused = world.connect().await.expect("a connection");
    let told = asks(&mut refused, &post(&world, "EV_refused")).await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 1\r\n"), "{told}");
    assert_eq!(hears(&mut refused).await, "", "the connection ends");
    let mut probe = world.connect().await.expect("a connection");
    let told = asks(&mut probe, HEALTH).await;
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("\"ready\""), "{told}");
    assert_eq!(hears(&mut probe).await, "", "the connection ends");
    world.measures("connections_refused_total{listener=\"events\",reason=\"full\"} 102").await;

    // Those who are known go on, and once one has gone, the next is served.
    for (n, stream) in known.iter_mut().enumerate() {
        assert!(asks(stream, &post(&world, &format!("EV_again{n}"))).await.starts_with("HTTP/1.1 200"));
    }
    drop(known.pop());
    let began = Instant::now();
    loop {
        let mut stream = world.connect().await.expect("a connection");
        if asks(&mut stream, &post(&world, "EV_next")).await.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no place becomes free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_known_and_idle_for_ten_seconds_keeps_no_place() {
    let world = World::at(Clock::system(), "hooks: []\n", &["--connections", "2"]).await;
    let (mut dead, mut used) = (world.connect().await.expect("one"), world.connect().await.expect("another"));
    for stream in [&mut dead, &mut used] {
        assert!(asks(stream, &post(&world, "EV_1")).await.starts_with("HTTP/1.1 200"));
    }
    let began = Instant::now();
    let mut new = loop {
        let mut new = world.connect().await.expect("a connection");
        let told = asks(&mut new, &post(&world, "EV_2")).await;
        assert!(asks(&mut used, &post(&world, "EV_3")).await.starts_with("HTTP/1.1 200"));
        if told.starts_with("HTTP/1.1 200") {
            break new;
        }
        assert!(told.starts_with("HTTP/1.1 503") && began.elapsed() < PATIENCE, "{told}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert!(began.elapsed().as_secs() >= 9);
    assert_eq!(hears(&mut dead).await, "");
    assert!(asks(&mut used, &post(&world, "EV_4")).await.starts_with("HTTP/1.1 200"));
    assert!(asks(&mut new, &post(&world, "EV_5")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_takes_the_place_of_the_oldest_without_a_valid_token() {
    let world = World::at(Clock::system(), "hooks: []\n", &["--connections", "3"]).await;
    let mut known = world.connect().await.expect("a connection");
    assert!(asks(&mut known, &post(&world, "EV_1")).await.starts_with("HTTP/1.1 200"));
    let mut strangers = Vec::new();
    for _ in 0..2 {
        let mut stream = world.connect().await.expect("a connection");
        assert!(asks(&mut stream, HEALTH).await.starts_with("HTTP/1.1 200"));
        strangers.push(stream);
    }
    let mut new = world.connect().await.expect("a connection");
    assert!(asks(&mut new, &post(&world, "EV_2")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(hears(&mut strangers[0]).await, "", "the oldest is closed");
    assert!(asks(&mut strangers[1], HEALTH).await.starts_with("HTTP/1.1 200"), "the other one is not");
    assert!(asks(&mut known, &post(&world, "EV_3")).await.starts_with("HTTP/1.1 200"));
    world.measures("connections{listener=\"events\"} 3").await;
    world.measures("connections_refused_total{listener=\"events\",reason=\"crowded\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_verify_keeps_no_place_and_the_apis_tokens_do() {
    let world = World::at(Clock::system(), "hooks: []\n", &["--connections", "1"]).await;
    let forged = token_of("APIswitchhook", "not its secret", "{}", world.clock.unix().seconds());
    let mut forger = world.connect().await.expect("a connection");
    assert!(asks(&mut forger, &request("/webhook", "{}", &forged)).await.starts_with("HTTP/1.1 401"));
    let mut known = world.connect().await.expect("a connection");
    assert!(asks(&mut known, &post(&world, "EV_1")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(hears(&mut forger).await, "");

    let asking = |token: &str| {
        format!("GET /v1/hooks HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
    };
    let address = world.api_url("").replace("http://", "");
    let connect = async || TcpStream::connect(&address).await.expect("a connection");
    let mut forger = connect().await;
    assert!(asks(&mut forger, &asking(&forged)).await.starts_with("HTTP/1.1 401"));
    let mut operator = connect().await;
    assert!(asks(&mut operator, &asking(&world.operator_token())).await.starts_with("HTTP/1.1 200"));
    assert_eq!(hears(&mut forger).await, "");
    let mut other = connect().await;
    assert!(asks(&mut other, &asking(&world.operator_token())).await.starts_with("HTTP/1.1 503"));
    assert!(asks(&mut connect().await, HEALTH).await.starts_with("HTTP/1.1 200"));
    assert!(asks(&mut operator, &asking(&world.operator_token())).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_has_begun_must_come_within_seconds_and_a_spare_connection_may_wait() {
    let world = World::with(&[]).await;
    let mut silent = world.connect().await.expect("a connection");
    let mut slow = world.connect().await.expect("a connection");
    slow.write_all(b"POST /webhook HTTP/1.1\r\nhost:").await.expect("sent");
    let mut known = world.connect().await.expect("a connection");
    assert!(asks(&mut known, &post(&world, "EV_1")).await.starts_with("HTTP/1.1 200"));
    assert_eq!(hears(&mut slow).await, "");
    world.measures("connections_refused_total{listener=\"events\",reason=\"slow_head\"} 1").await;
    // They have been idle for longer than that one had time.
    assert!(asks(&mut silent, &post(&world, "EV_2")).await.starts_with("HTTP/1.1 200"));
    assert!(asks(&mut known, &post(&world, "EV_3")).await.starts_with("HTTP/1.1 200"));
    let half = asks(&mut known, "POST /webhook HTTP/1.1\r\nhost:").await;
    assert_eq!(half, "", "a head that has begun must come within seconds there, too");
}
