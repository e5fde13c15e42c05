//! Hundreds of hooks in trouble, and what their neighbours notice of it: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::world::{PATIENCE, RECORDED, Tenant, World, joined, misbehaving};

const STEP: Duration = Duration::from_millis(50);

/// One receiver of many hooks: answers 200 until it hangs.
#[derive(Clone, Default)]
struct Many {
    hangs: Arc<AtomicBool>,
    /// Requests that have no answer.
    waiting: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Many {
    async fn treat(self, mut stream: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(1..) = stream.read(&mut buffer).await {
            if self.hangs.load(Ordering::SeqCst) {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                // Until the router ends the attempt.
                while let Ok(1..) = stream.read(&mut buffer).await {}
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                return;
            }
        }
    }

    async fn open(self) -> (String, JoinSet<()>) {
        misbehaving(move |stream| self.clone().treat(stream)).await
    }

    /// Waits until so many requests wait for an answer; how many do.
    async fn wait_for(&self, count: usize) -> usize {
        wait_until("as many wait", || self.waiting.load(Ordering::SeqCst) >= count).await;
        self.waiting.load(Ordering::SeqCst)
    }
}

async fn wait_until(what: &str, is_true: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_true() {
        assert!(began.elapsed() < PATIENCE, "it does not happen: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A world of `sick` hooks of as many tenants at one URL, and of two healthy ones.
async fn world(sick: usize, url: &str, healthy: [&Tenant; 2]) -> World {
    let entry = |host: String, url: &str| format!("  - {{host: {host}, url: '{url}'}}\n");
    let sick = (0..sick).map(|number| entry(format!("sick{number}.example"), url));
    let healthy = healthy
        .iter()
        .enumerate()
        .map(|(number, tenant)| entry(format!("healthy{number}.example"), &tenant.url()));
    let hooks: String = sick.chain(healthy).collect();
    World::at(Clock::manual(RECORDED), &format!("hooks:\n{hooks}"), &[]).await
}

async fn post(world: &World, host: &str, number: usize) {
    let id = format!("EV_{}_{number}", host.replace('.', "-"));
    assert_eq!(world.post(&joined(&id, &id, host)).await.status, 200);
}

async fn slow(world: &World) -> u64 {
    let (_, states) = world.api("/v1/states/hooks?limit=1000").await;
    let slow = states["hooks"].as_array().expect("hooks").iter();
    slow.map(|hook| hook["slow"].as_u64().unwrap_or_else(|| panic!("{hook}"))).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_hundred_hooks_that_hang_leave_their_neighbours_alone() {
    let _turn = crate::turn().await;
    let (known, new, many) = (Tenant::open().await, Tenant::open().await, Many::default());
    many.hangs.store(true, Ordering::SeqCst);
    let (url, _open) = many.clone().open().await;
    let world = world(700, &url, [&known, &new]).await;
    post(&world, "healthy0.example", 0).await;
    known.wait_for(1).await;
    for number in 0..700 {
        post(&world, &format!("sick{number}.example"), 0).await;
    }
    // Of receivers that were never heard of, only so many are tried at once. One that is known to be quick is not
    // held by them: time stands still.
    assert_eq!(many.wait_for(640).await, 640);
    post(&world, "healthy0.example", 1).await;
    known.wait_for(2).await;
    // After a second, they have left the quick places; a receiver that is new, too, is tried soon after.
    post(&world, "healthy1.example", 0).await;
    world.advance_until(STEP, || new.count() == 1).await;
    let waited = world.clock.unix().0 - RECORDED.0;
    assert!(waited <= 2_500, "{waited} ms");
    // Slow attempts have a bound of their own: what was too many was cut off, and is told as that.
    world.clock.advance(Duration::from_secs(2));
    let began = std::time::Instant::now();
    while !(1..=256).contains(&slow(&world).await) {
        assert!(began.elapsed() < PATIENCE, "too many slow ones");
    }
    let metrics = world.api("/metrics").await.1;
    let cut = |line: &&str| line.contains("outcome=\"cut_off\"");
    assert!(metrics.as_str().expect("text").lines().any(|line| cut(&line)), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_lanes_with_grown_windows_that_hang_at_one_moment_leave_their_neighbours_alone() {
    let _turn = crate::turn().await;
    let (known, new, many) = (Tenant::open().await, Tenant::open().await, Many::default());
    let (url, _open) = many.clone().open().await;
    let world = world(16, &url, [&known, &new]).await;
    post(&world, "healthy0.example", 0).await;
    known.wait_for(1).await;
    for round in 0..6 {
        for sick in 0..16 {
            post(&world, &format!("sick{sick}.example"), round).await;
        }
    }
    wait_until("the windows grow", || many.answered.load(Ordering::SeqCst) >= 96).await;
    many.hangs.store(true, Ordering::SeqCst);
    for round in 6..42 {
        for sick in 0..16 {
            post(&world, &format!("sick{sick}.example"), round).await;
        }
    }
    // Each has 32 attempts at most, and all of them together leave places free.
    assert!((300..512).contains(&many.wait_for(300).await));
    post(&world, "healthy0.example", 1).await;
    known.wait_for(2).await;
    post(&world, "healthy1.example", 0).await;
    new.wait_for(1).await;
    // When these have become slow, some end at once.
    world.advance_until(STEP, || many.waiting.load(Ordering::SeqCst) <= 256).await;
    let waited = world.clock.unix().0 - RECORDED.0;
    assert!(waited <= 3_000, "{waited} ms");
    let story = world.story("EV_healthy1-example_0", |story| story["state"] == "delivered").await;
    assert_eq!(story["attempts"].as_array().map(Vec::len), Some(1));
}
