//! What a call's binding costs: routing by it, and the memory of a million live ones.
//!
//! `cargo bench --bench calls`

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and gives up"
)]

use std::hint::black_box;
use std::time::Instant;

use serde_json::Value;
use switchhook::bench::LiveCalls;

const LIVE: [usize; 2] = [10_000, 1_000_000];
const ROUNDS: usize = 15;
const BATCH: usize = 50_000;

fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("a number") / 1024.0
}

fn main() {
    let recording = include_str!("../tests/data/livekit/inbound-answered.jsonl");
    let posts = recording.lines().map(|line| serde_json::from_str::<Value>(line).expect("a recorded POST"));
    let mut bodies = posts.map(|post| post["body"].as_str().expect("a body").to_owned());
    let body = bodies.find(|body| body.contains("track_published")).expect("a track").into_bytes();
    let hooks =
        include_str!("../tests/data/livekit/hooks.yaml").replace("http://127.0.0.1", "http://192.0.1.1");
    let folder = tempfile::tempdir().expect("a folder");
    let before = rss_mb();
    let live = LiveCalls::new(&hooks, LIVE[1]);
    println!("{} live bindings: {:.0} MB of memory", LIVE[1], rss_mb() - before);
    drop(live);
    println!("a recorded track_published of {} bytes; median of {ROUNDS} rounds of {BATCH}", body.len());
    for live in LIVE {
        let folder = tempfile::tempdir().expect("a folder");
        let mut calls = LiveCalls::new(&hooks, live);
        let (without, with) =
            (measure(&mut calls, &body, live, false), measure(&mut calls, &body, live, true));
        println!(
            "{live:>8} live: read and route {without:.0} ns, by a binding at random {with:.0} ns: {:.0} ns more",
            with - without
        );
    }
}

/// Nanoseconds per event, of calls at random; `bound`: whether its call is looked for.
fn measure(calls: &mut LiveCalls, body: &[u8], live: usize, bound: bool) -> f64 {
    let sessions: Vec<String> =
        (0..BATCH).map(|n| LiveCalls::session(n.wrapping_mul(2_654_435_761) % live)).collect();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            for session in &sessions {
                let found = calls.route(body, bound.then_some(session));
                assert_eq!(black_box(found), bound, "bound or held");
            }
            began.elapsed().as_secs_f64() * 1e9 / BATCH as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
