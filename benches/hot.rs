//! What one event costs before it is stored: verify, read, route.
//!
//! `cargo bench --bench hot`

use std::hint::black_box;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use shared::event::{KEY, SECRET, recorded, recorded_hooks};
use shared::figures::{ROUNDS, nanoseconds};
use switchhook::UnixMillis;
use switchhook::bench::{HotPath, livekit_token};

mod shared;

const BATCH: usize = 20_000;

fn main() {
    let body = Bytes::from(recorded("participant_joined"));
    let now = UnixMillis(1_795_240_012_000);
    let headers = HotPath::headers(&livekit_token(KEY, SECRET, &body, now));
    let path = HotPath::new(KEY, SECRET, &recorded_hooks(), now);
    println!("a recorded participant_joined of {} bytes; median of {ROUNDS} rounds of {BATCH}", body.len());
    show("SHA-256 of the body alone", || Sha256::digest(&body).len() == 32);
    show("verify: JWT and hash of the body", || path.verify(&headers, &body));
    show("read and route", || path.route(&body));
    show("verify + read + route", || path.verify(&headers, &body) && path.route(&body));
}

/// Prints the nanoseconds of a call that gives `true` if it worked.
fn show(what: &str, mut call: impl FnMut() -> bool) {
    let measured = nanoseconds(BATCH, || {
        for _ in 0..BATCH {
            assert!(black_box(call()), "it works");
        }
    });
    println!("{what:<44} {measured:>8.0} ns");
}
