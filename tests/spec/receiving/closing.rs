//! How connections end whose clients still send, or do not read.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::spec::world::{PATIENCE, World, livekit_token, token_of};

/// The head of a post with a body of so many bytes.
fn head(path: &str, token: &str, length: usize, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// What is said until the connection ends.
async fn hears_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("no reset");
    String::from_utf8(answer).expect("text")
}

/// A client that sends a whole body before it reads: the answer.
async fn posts(address: &str, path: &str, token: &str, length: usize) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(head(path, token, length, "").as_bytes()).await.expect("sent");
    stream.write_all(&vec![b' '; length]).await.expect("the whole body is taken");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time");
    String::from_utf8_lossy(&answer[..read.expect("no reset")]).into_owned()
}

/// Both listeners.
fn doors(world: &World) -> [String; 2] {
    [world.url(""), world.api_url("")].map(|url| url.replace("http://", ""))
}

fn token(world: &World) -> String {
    livekit_token("", world.clock.unix().seconds())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_a_body_that_is_not_read_gets_the_answer_each_time() {
    let world = World::with(&[]).await;
    let [events, api] = doors(&world);
    let forged = token_of("APIswitchhook", "not its secret", "", world.clock.unix().seconds());
    let operator = format!("Bearer {}", world.operator_token());
    for _ in 0..50 {
        for (address, path, token, length, status) in [
            (&events, "/webhook", token(&world), 3 << 20, 413),
            (&events, "/webhook", forged.clone(), 1 << 20, 401),
            (&events, "/nowhere", forged.clone(), 1 << 20, 404),
            (&api, "/v1/replays", operator.clone(), 3 << 20, 413),
            (&api, "/v1/replays", forged.clone(), 1 << 20, 401),
        ] {
            let told = posts(address, path, &token, length).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{path} {status}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_body_without_end_some_megabytes_are_thrown_away_and_then_the_connection_ends() {
    let world = World::with(&[]).await;
    for (address, path) in doors(&world).iter().zip(["/webhook", "/v1/replays"]) {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let announced = head(path, &token(&world), 100 << 20, "");
        stream.write_all(announced.as_bytes()).await.expect("sent");
        let (began, mut sent) = (Instant::now(), 0);
        while stream.write_all(&[b' '; 64 << 10]).await.is_ok() {
            sent += 64 << 10;
            assert!(began.elapsed() < PATIENCE, "it is read for ever");
        }
        // What the system keeps of a connection comes on top.
        assert!((8 << 20..40 << 20).contains(&sent), "{sent}");
    }
    world.measures("connections{listener=\"events\"} 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_before_sending_a_body_is_not_asked_for_one_that_is_too_large() {
    let world = World::with(&[]).await;
    for (address, path) in doors(&world).iter().zip(["/webhook", "/v1/replays"]) {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let asking = head(path, &token(&world), 3 << 20, "expect: 100-continue\r\n");
        stream.write_all(asking.as_bytes()).await.expect("sent");
        let told = hears_all(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 413"), "{told}");
        // It has been told all, and is waited for no longer than seconds.
        let silent = stream;
        let began = Instant::now();
        world.measures("connections{listener=\"events\"} 0").await;
        assert!(began.elapsed().as_secs() < 10);
        drop(silent);
    }
}

/// Requests of a client that never reads: each is answered with some kilobytes.
const REQUESTS: usize = 40_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_what_it_asked_for_is_closed() {
    let world = World::with(&[]).await;
    let [_, api] = doors(&world);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(api.parse().expect("an address")).await.expect("a connection");
    let asked = format!(
        "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        world.operator_token()
    );
    // It is not read to the end: the router reads no more than it can answer.
    let asked = asked.repeat(REQUESTS);
    let asking = tokio::time::timeout(PATIENCE / 20, stream.write_all(asked.as_bytes()));
    assert!(asking.await.is_err(), "all is read, whether the answers are or not");
    world.measures("connections_refused_total{listener=\"api\",reason=\"slow_reader\"} 1").await;
    // What was on its way is all that still comes.
    let rest = async { while stream.read(&mut [0; 4096]).await.is_ok_and(|bytes| bytes > 0) {} };
    tokio::time::timeout(PATIENCE, rest).await.expect("it is closed");
}
