//! Forged tokens by the ten thousand, and traffic that goes on.

use std::sync::Arc;
use std::time::Instant;

use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::{Traffic, connect};
use crate::world::{Client, KEY, PATIENCE, Process, SECRET, Tenant, World, token_of};

/// Forged posts in all. A million of them is `cargo bench --bench forged`.
const FORGED: usize = 50_000;

/// Connections that forge at once, and posts that each sends before it reads the answers.
const FORGERS: usize = 8;
const BATCH: usize = 50;

/// Posts that all are refused, in equal parts for each of [`REASONS`].
fn batch() -> String {
    let now = Clock::system().unix().seconds();
    let tokens = [
        token_of(KEY, "not its secret", "{}", now),
        token_of("APIunknown", SECRET, "{}", now),
        token_of(KEY, SECRET, "{}", now - 3600),
        "no token at all".to_owned(),
        token_of(KEY, SECRET, "another body", now),
    ];
    let posts = tokens.iter().cycle().take(BATCH).map(|token| {
        format!(
            "POST /webhook HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: 2\r\n\r\n{{}}"
        )
    });
    posts.collect()
}

const REASONS: [&str; 5] = ["bad_signature", "unknown_key", "expired", "malformed_token", "body_mismatch"];

/// Sends forged posts over one connection, each of which is answered 401.
async fn forge(address: String, batch: Arc<str>, batches: usize) {
    let mut stream = connect(&address, 4).await;
    let mut read = vec![0; 64 << 10];
    for _ in 0..batches {
        stream.write_all(batch.as_bytes()).await.expect("sent");
        let mut told = Vec::new();
        while String::from_utf8_lossy(&told).matches("HTTP/1.1 401").count() < BATCH {
            let more = tokio::time::timeout(PATIENCE, stream.read(&mut read)).await.expect("in time");
            let more = more.expect("answers");
            assert!(more > 0, "the connection is kept");
            told.extend_from_slice(&read[..more]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_on_beside_thousands_of_forged_tokens_a_second() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    world.stop().await;
    let process = Process::start(&world);
    let mut traffic = Traffic::begin(&process, &tenant).await;

    let (began, batch) = (Instant::now(), Arc::from(batch()));
    let mut forgers = JoinSet::new();
    for _ in 0..FORGERS {
        forgers.spawn(forge(process.address.clone(), Arc::clone(&batch), FORGED / FORGERS / BATCH));
    }
    let (mut round, mut slowest) = (0, std::time::Duration::ZERO);
    while forgers.try_join_next().is_none() {
        round += 1;
        let began = Instant::now();
        traffic.goes_on(&format!("forged{round}-")).await;
        slowest = slowest.max(began.elapsed());
    }
    forgers.join_all().await;
    let took = began.elapsed();
    println!(
        "{FORGED} forged posts in {took:?}; of {round} rounds of 20 events the slowest took {slowest:?}"
    );
    assert!(took < 3 * PATIENCE && slowest < PATIENCE / 4, "{took:?} {slowest:?}");

    let metrics = Client::of_process(&world, &process).get("/metrics").await.body;
    for reason in REASONS {
        let line = format!("events_rejected_total{{reason=\"{reason}\"}} {}", FORGED / REASONS.len());
        assert!(metrics.as_str().expect("text").contains(&line), "{line}\n{metrics}");
    }
    // Five lines of each reason in ten seconds, and as many of the window that has begun.
    let refused = process.lines().iter().filter(|line| line["msg"] == "refused").count();
    let windows = usize::try_from(took.as_secs() / 10).expect("few") + 2;
    assert!((REASONS.len()..=5 * REASONS.len() * windows).contains(&refused), "{refused} lines");
    assert_eq!(tenant.count(), traffic.posted);
}
