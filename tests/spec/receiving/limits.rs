//! How much of bodies the door takes at once, and for how long it waits.

use std::time::{Duration, Instant};

use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::spec::world::{PATIENCE, RECORDED, Tenant, World, joined, livekit_token, table, token_of};

const ACME: (&str, &str) = ("APIacme", "acme-s-own-livekit-secret");
const GLOBEX: (&str, &str) = ("APIglobex", "globex-s-own-livekit-secret");

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

/// Begins to post a body of 1 MiB and sends all of it but the last byte.
async fn begin_large(world: &World, path: &str, token: &str) -> TcpStream {
    begin_of(world, path, token, 1 << 20).await
}

/// The same with a body of so many bytes.
async fn begin_of(world: &World, path: &str, token: &str, bytes: usize) -> TcpStream {
    let mut stream = begin(world, path, token, bytes).await;
    stream.write_all(&vec![b'x'; bytes - 1]).await.expect("sent");
    stream
}

/// Posts until there is no room: then all that was sent before has come.
async fn fill(world: &World, path: &str, body: &str, token: &str) {
    let began = Instant::now();
    while world.post_to(path, body, token).await.status != 503 {
        assert!(began.elapsed() < PATIENCE, "there is room all the time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_only_announced_take_no_room() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let token = livekit_token("", world.clock.unix().seconds());
    let mut coming = Vec::new();
    for _ in 0..100 {
        coming.push(begin(&world, "/webhook", &token, 1 << 20).await);
    }
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_on_their_way_share_64_mib_and_the_largest_that_lingers_gives_way() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    let now = world.clock.unix().seconds();
    let (token, small) = (livekit_token("", now), joined("EV_small", "c", "a.example"));
    let mut lingers = begin_post(&world, &small).await;
    lingers.write_all(&small.as_bytes()[..20]).await.expect("sent");
    let mut coming = Vec::new();
    for _ in 0..63 {
        coming.push(begin_large(&world, "/webhook", &token).await);
    }
    // This one takes what the small one leaves, so that none waits for more.
    let left = (1 << 20) - small.len().next_multiple_of(1024);
    coming.push(begin_of(&world, "/webhook", &token, left).await);
    fill(&world, "/webhook", "{}", &livekit_token("{}", now)).await;
    let refused = world.post(&joined("EV_0", "c", "a.example")).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));

    // One that is not whole after a second is not LiveKit's, or LiveKit posts it again.
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.measures("events_rejected_total{reason=\"body_timeout\"} 1").await;
    lingers.write_all(&small.as_bytes()[20..]).await.expect("sent");
    assert!(says(&mut lingers).await.starts_with("HTTP/1.1 200"), "the smallest stays");
    assert_eq!(tenant.wait_for(2).await[0].id(), "EV_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_livekit_takes_no_room_of_other_tenants_or_the_platform() {
    let tenant = Tenant::open().await;
    let (key, secret) = ACME;
    let own = |tenant: &str, (key, secret): (&str, &str)| {
        format!("    tenant: {tenant}\n    livekit: {{key: {key}, secret: {secret}}}\n")
    };
    let hosts = |host: &str| table(&[(host, &tenant)]);
    let others = hosts("b.example").replace("hooks:\n", "");
    let hooks = hosts("a.example") + &own("acme", ACME) + &others + &own("globex", GLOBEX);
    let world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    let token = |body: &str| token_of(key, secret, body, world.clock.unix().seconds());
    let path = "/webhook/livekit/acme";
    let mut coming = Vec::new();
    for _ in 0..4 {
        coming.push(begin_large(&world, path, &token("")).await);
    }
    // That is its share: it has no more, and another one has its own.
    fill(&world, path, "{}", &token("{}")).await;
    let (key, secret) = GLOBEX;
    let token = token_of(key, secret, "{}", world.clock.unix().seconds());
    assert_eq!(world.post_to("/webhook/livekit/globex", "{}", &token).await.status, 200);
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    tenant.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_silent_for_three_seconds_or_not_whole_within_ten_is_answered_503() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    let token = livekit_token("", world.clock.unix().seconds());
    let is_given_up = async |mut stream: TcpStream, times: usize| {
        let told = says(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("connection: close\r\n"), "{told}");
        world.measures(&format!("events_rejected_total{{reason=\"body_timeout\"}} {times}")).await;
    };
    let body = joined("EV_1", "c", "a.example");
    let mut silent = begin_post(&world, &body).await;
    silent.write_all(&body.as_bytes()[..20]).await.expect("sent");
    world.clock.advance(Duration::from_secs(1));
    let mut in_time = begin_post(&world, &body).await;
    world.clock.advance(Duration::from_millis(2500));
    is_given_up(silent, 1).await;

    // Two and a half seconds old, and now whole.
    in_time.write_all(body.as_bytes()).await.expect("sent");
    assert!(says(&mut in_time).await.starts_with("HTTP/1.1 200"));
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");

    // Never silent, and still on its way.
    let mut steady = begin(&world, "/webhook", &token, 1 << 20).await;
    for _ in 0..5 {
        // Whether it is still read is told by the answer.
        let _ = steady.write_all(&[b'x'; 64 << 10]).await;
        world.stand_still().await;
        world.clock.advance(Duration::from_secs(2));
    }
    is_given_up(steady, 2).await;
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
