//! What one event costs before it is stored: verify, read, route.
//!
//! `cargo bench --bench hot`

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and gives up"
)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use switchhook::UnixMillis;
use switchhook::bench::{HotPath, livekit_token};

const ROUNDS: usize = 15;
const BATCH: u32 = 20_000;

/// The median of the rounds, in nanoseconds per call.
fn measure(mut call: impl FnMut() -> bool) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..BATCH {
                assert!(black_box(call()), "it works");
            }
            began.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let recording = include_str!("../tests/data/livekit/inbound-answered.jsonl");
    let posts = recording.lines().map(|line| serde_json::from_str::<Value>(line).expect("a recorded POST"));
    let joined = posts.map(|post| post["body"].as_str().expect("a body").to_owned());
    let body = joined.into_iter().find(|body| body.contains("participant_joined")).expect("a caller");
    let body = Bytes::from(body);
    let (now, secret) = (1_795_240_012, "a-recording-secret-used-only-on-loopback-0001");
    let token = livekit_token("APIbench", secret, &body, UnixMillis(now * 1000));
    let headers = HotPath::headers(&token);
    let hooks =
        include_str!("../tests/data/livekit/hooks.yaml").replace("http://127.0.0.1", "http://192.0.1.1");
    let path = HotPath::new("APIbench", secret, &hooks, UnixMillis(now * 1000));
    println!("a recorded participant_joined of {} bytes; median of {ROUNDS} rounds of {BATCH}", body.len());
    println!("{:<44} {:>8.0} ns", "SHA-256 of the body alone", measure(|| Sha256::digest(&body).len() == 32));
    println!(
        "{:<44} {:>8.0} ns",
        "verify: JWT and hash of the body",
        measure(|| path.verify(&headers, &body))
    );
    println!("{:<44} {:>8.0} ns", "read and route", measure(|| path.route(&body)));
    let whole = measure(|| path.verify(&headers, &body) && path.route(&body));
    println!("{:<44} {whole:>8.0} ns", "verify + read + route");
}
