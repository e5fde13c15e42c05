//! What a call's binding costs: routing by it, and the memory of a million live ones.
//!
//! `cargo bench --bench calls`

use std::hint::black_box;

use shared::event::{recorded, recorded_hooks};
use shared::figures::{ROUNDS, mb, nanoseconds, resident};
use switchhook::bench::LiveCalls;

mod shared;

const LIVE: [usize; 2] = [10_000, 1_000_000];
const BATCH: usize = 50_000;

fn main() {
    let (body, hooks) = (recorded("track_published").into_bytes(), recorded_hooks());
    let before = mb(resident("self"));
    let live = LiveCalls::new(&hooks, LIVE[1]);
    println!("{} live bindings: {:.0} MB of memory", LIVE[1], mb(resident("self")) - before);
    drop(live);
    println!("a recorded track_published of {} bytes; median of {ROUNDS} rounds of {BATCH}", body.len());
    for live in LIVE {
        let calls = LiveCalls::new(&hooks, live);
        let (without, with) = (measure(&calls, &body, live, false), measure(&calls, &body, live, true));
        println!(
            "{live:>8} live: read and route {without:.0} ns, by a binding at random {with:.0} ns: {:.0} ns more",
            with - without
        );
    }
}

/// Nanoseconds per event, of calls at random; `bound`: whether its call is looked for.
fn measure(calls: &LiveCalls, body: &[u8], live: usize, bound: bool) -> f64 {
    let sessions: Vec<String> =
        (0..BATCH).map(|n| LiveCalls::session(n.wrapping_mul(2_654_435_761) % live)).collect();
    nanoseconds(BATCH, || {
        for session in &sessions {
            let found = calls.route(body, bound.then_some(session));
            assert_eq!(black_box(found), bound, "bound or held");
        }
    })
}
