//! What a million forged tokens cost the events beside them.
//!
//! `cargo bench --bench forged [-- --forged 1000000 --connections 8 --rate 200 --program OTHER]`
//!
//! Events are posted and delivered at a steady rate, first alone, then while forged posts come as fast as they are
//! answered, over connections that are kept. The router has one core; this program has the other.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shared::args::Args;
use shared::event::{Event, KEY, Template, hooks_file, host};
use shared::figures::{Times, mb};
use shared::load::{Ack, Load};
use shared::process;
use shared::receiver;
use shared::router::{BUILT, Router};
use switchhook::Clock;
use switchhook::bench::livekit_token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

mod shared;

/// Forged posts that a connection sends before it reads the answers.
const BATCH: usize = 50;

/// Events of one stretch of the load.
const STRETCH: usize = 1000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    process::step_aside();
    let args = Args::of_this_process();
    let forging = Forging {
        posts: args.number("--forged", 1_000_000),
        connections: args.number("--connections", 8),
        rate: args.number("--rate", 200) as u64,
    };
    runtime.block_on(forging.measure(Path::new(args.text("--program").unwrap_or(BUILT))));
}

struct Forging {
    posts: usize,
    connections: usize,
    /// Events a second.
    rate: u64,
}

impl Forging {
    async fn measure(&self, program: &Path) {
        let (listener, url) = receiver::listen().await;
        let delivered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&delivered);
        let receiving = receiver::receive(listener, move |_| {
            let _ = count.fetch_add(1, Ordering::Relaxed);
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(receiving);
        let router = Router::start(program, &hooks_file(0..1, |_| url.clone()), &[]).await;
        let mut events = 0;
        show("alone", self.stretch(&router, &mut events).await);

        let (began, before) = (Instant::now(), router.process.resident());
        let mut forgers = JoinSet::new();
        for _ in 0..self.connections {
            forgers.spawn(forge(router.address.clone(), self.posts / self.connections / BATCH));
        }
        let mut beside = Vec::new();
        while forgers.try_join_next().is_none() {
            beside.extend(self.stretch(&router, &mut events).await);
        }
        forgers.join_all().await;
        let took = began.elapsed().as_secs_f64();
        show("beside forged posts", beside);
        let forged = self.posts / self.connections / BATCH * BATCH * self.connections;
        println!(
            "{forged} forged posts in {took:.1} s, {:.0}/s; resident memory {:.1} MB before, {:.1} MB after",
            forged as f64 / took,
            mb(before),
            mb(router.process.resident())
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(delivered.load(Ordering::Relaxed), events, "all events are delivered once");
    }

    /// Posts some events at the rate, each of a room of its own.
    async fn stretch(&self, router: &Router, events: &mut usize) -> Vec<Ack> {
        let template = Template::new();
        let requests = (*events..*events + STRETCH).map(|number| {
            template.request(&Event { number, room: format!("RM_{number}"), host: host(0), web: false })
        });
        *events += STRETCH;
        let load = Load { connections: 4, rate: self.rate, start: Instant::now() };
        load.offer(&router.address, requests.collect()).answered().await
    }
}

fn show(what: &str, acks: Vec<Ack>) {
    let count = acks.len();
    let times = Times::of(acks.into_iter().map(|ack| ack.took));
    println!(
        "{what:<20} {count:>6} events, acknowledged p50 / p99 / max {:.2} / {:.2} / {:.2} ms",
        times.percentile(50),
        times.percentile(99),
        times.longest()
    );
}

/// Sends forged posts over one connection, each of which is answered 401.
async fn forge(address: String, batches: usize) {
    let token = livekit_token(KEY, "not its secret", b"{}", Clock::system().unix());
    let post = format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let (batch, mut read) = (post.repeat(BATCH), vec![0; 64 << 10]);
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    for _ in 0..batches {
        stream.write_all(batch.as_bytes()).await.expect("sent");
        let mut told = Vec::new();
        while String::from_utf8_lossy(&told).matches("HTTP/1.1 401").count() < BATCH {
            let more = stream.read(&mut read).await.expect("answers");
            assert!(more > 0, "the connection is kept");
            told.extend_from_slice(&read[..more]);
        }
    }
}
