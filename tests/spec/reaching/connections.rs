//! How long connections to receivers are kept, and for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::spec::world::{RECORDED, World, joined, misbehaving};

/// A receiver that counts its connections, those that were closed included.
#[derive(Clone, Default)]
struct Counting {
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    /// Requests on one connection, until the receiver closes it without a word.
    most: usize,
}

impl Counting {
    async fn open(&self) -> (String, JoinSet<()>) {
        let this = self.clone();
        misbehaving(move |stream| this.clone().treat(stream)).await
    }

    async fn treat(self, mut stream: TcpStream) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let mut buffer = vec![0; 64 << 10];
        for _ in 0..self.most {
            // The requests of these tests come in one piece each.
            let Ok(1..) = stream.read(&mut buffer).await else { break };
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
        drop(stream);
        self.closed.fetch_add(1, Ordering::SeqCst);
    }

    fn counts(&self) -> (usize, usize) {
        (self.opened.load(Ordering::SeqCst), self.closed.load(Ordering::SeqCst))
    }
}

async fn deliver(world: &World, id: &str) {
    assert_eq!(world.post(&joined(id, "c1", "a.example")).await.status, 200);
    assert_eq!(world.outcome(id).await, 200);
}

fn hooks(url: &str) -> String {
    format!("hooks:\n  - {{host: a.example, url: '{url}'}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_and_closed_when_nobody_has_wanted_it_for_some_seconds() {
    let receiver = Counting { most: usize::MAX, ..Counting::default() };
    let (url, _tasks) = receiver.open().await;
    let world = World::at(Clock::manual(RECORDED), &hooks(&url), &[]).await;
    for n in 0..10 {
        deliver(&world, &format!("EV_{n}")).await;
    }
    assert_eq!(receiver.counts(), (1, 0));
    world.clock.advance(Duration::from_secs(3));
    world.stand_still().await;
    assert_eq!(receiver.counts(), (1, 0));
    world.advance_until(Duration::from_millis(500), || receiver.counts() == (1, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_its_receiver_has_closed_costs_no_attempt() {
    let receiver = Counting { most: 1, ..Counting::default() };
    let (url, _tasks) = receiver.open().await;
    let world = World::at(Clock::manual(RECORDED), &hooks(&url), &[]).await;
    for n in 0..10 {
        deliver(&world, &format!("EV_{n}")).await;
        world.advance_until(Duration::ZERO, || receiver.counts() == (n + 1, n + 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_are_closed_at_the_end() {
    let receiver = Counting { most: usize::MAX, ..Counting::default() };
    let (url, _tasks) = receiver.open().await;
    let mut world = World::at(Clock::system(), &hooks(&url), &[]).await;
    deliver(&world, "EV_1").await;
    world.stop().await;
    world.advance_until(Duration::ZERO, || receiver.counts() == (1, 1)).await;
}
