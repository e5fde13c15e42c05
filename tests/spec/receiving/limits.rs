//! How much the door takes at once, and for how long it waits.

use std::time::{Duration, Instant};

use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::spec::world::{PATIENCE, Tenant, World, joined, livekit_token, table, token_of};

const ACME: (&str, &str) = ("APIacme", "acme-s-own-livekit-secret");

/// What a connection says next.
async fn says(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let reading = tokio::time::timeout(PATIENCE, stream.read(&mut answer));
    // A connection that is cut off says no more.
    let read = reading.await.expect("in time").unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// Begins to post a body of `length` bytes and waits until the door has begun to read it.
async fn begin(world: &World, path: &str, token: &str, length: usize) -> TcpStream {
    let mut stream = world.connect().await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: {length}\r\n\
         expect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    assert_eq!(says(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Begins to post `body` as LiveKit does.
async fn begin_post(world: &World, body: &str) -> TcpStream {
    let token = livekit_token(body, world.clock.unix().seconds());
    begin(world, "/webhook", &token, body.len()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_to_come_again() {
    let world = World::at(Clock::system(), "hooks: []\n", &["--connections", "2"]).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = world.connect().await.expect("a connection");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        assert!(says(&mut stream).await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
    let mut refused = world.connect().await.expect("a connection");
    let told = says(&mut refused).await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 1\r\n"), "{told}");
    assert_eq!(says(&mut refused).await, "", "the connection ends");

    // Once one has gone, the next is served.
    drop(open.pop());
    let began = Instant::now();
    loop {
        let mut stream = world.connect().await.expect("a connection");
        let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        if sent.is_ok() && says(&mut stream).await.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no place becomes free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_on_their_way_share_64_mib_and_what_is_beyond_is_answered_503() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let token = livekit_token("", world.clock.unix().seconds());
    let mut coming = Vec::new();
    for _ in 0..64 {
        coming.push(begin(&world, "/webhook", &token, 1 << 20).await);
    }
    let body = joined("EV_1", "c", "a.example");
    let refused = world.post(&body).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));
    world.measures("events_rejected_total{reason=\"busy\"} 1").await;

    // What breaks off gives its room back.
    coming.pop();
    let began = Instant::now();
    while world.post(&body).await.status != 200 {
        assert!(began.elapsed() < PATIENCE, "no room becomes free");
    }
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_livekit_takes_none_of_the_platforms_room() {
    let tenant = Tenant::open().await;
    let (key, secret) = ACME;
    let own = format!("    tenant: acme\n    livekit: {{key: {key}, secret: {secret}}}\n");
    let world = World::at(Clock::system(), &(table(&[("a.example", &tenant)]) + &own), &[]).await;
    let token = |body: &str| token_of(key, secret, body, world.clock.unix().seconds());
    let path = "/webhook/livekit/acme";
    let mut coming = Vec::new();
    for _ in 0..16 {
        coming.push(begin(&world, path, &token(""), 1 << 20).await);
    }
    assert_eq!(world.post_to(path, "{}", &token("{}")).await.status, 503);
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    tenant.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_within_ten_seconds_is_answered_503() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    let (in_time, late) = (joined("EV_1", "c", "a.example"), joined("EV_2", "c", "a.example"));
    let mut late_one = begin_post(&world, &late).await;
    late_one.write_all(&late.as_bytes()[..20]).await.expect("sent");
    world.clock.advance(Duration::from_secs(1));
    let mut slow_one = begin_post(&world, &in_time).await;
    world.clock.advance(Duration::from_secs(9));
    let told = says(&mut late_one).await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("connection: close\r\n"), "{told}");
    world.measures("events_rejected_total{reason=\"body_timeout\"} 1").await;

    // Nine seconds old, and now whole.
    slow_one.write_all(in_time.as_bytes()).await.expect("sent");
    assert!(says(&mut slow_one).await.starts_with("HTTP/1.1 200"));
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_doors_close_a_busy_connection_has_a_second_to_finish() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    let (whole, broken) = (joined("EV_1", "c", "a.example"), joined("EV_2", "c", "a.example"));
    let mut finishes = begin_post(&world, &whole).await;
    let mut hangs = begin_post(&world, &broken).await;
    world.begin_stop();
    // The doors are closed once nobody is let in.
    let began = Instant::now();
    while world.connect().await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "the doors stay open");
    }
    finishes.write_all(whole.as_bytes()).await.expect("sent");
    assert!(says(&mut finishes).await.starts_with("HTTP/1.1 200"));
    assert!(!world.has_ended());
    let before = world.clock.unix();
    world.advance_until(Duration::from_millis(100), || world.has_ended()).await;
    assert!(world.clock.unix().since(before) >= Duration::from_secs(1));
    world.stop().await;
    assert_eq!(says(&mut hangs).await, "", "whoever is still busy is cut off without an answer");

    // What was acknowledged at the very end is delivered by the next router.
    world.start().await;
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");
}
