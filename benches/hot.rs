//! What one event costs before it is stored: verify, read, route; and what a token costs that is refused.
//!
//! `cargo bench --bench hot`

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use shared::event::{KEY, SECRET, recorded, recorded_hooks};
use shared::figures::{ROUNDS, nanoseconds};
use switchhook::UnixMillis;
use switchhook::bench::{HotPath, Watched, livekit_token};

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
    let accepted = show("verify + read + route", || path.verify(&headers, &body) && path.route(&body));
    let (watched, mut number) = (Watched::new(500), 0);
    show("ask whether somebody watches", || !watched.has_reader());
    show("count for charts: came, acknowledged, delivered", || {
        number += 1;
        watched.count(number, now);
        true
    });
    println!("\nwhat is refused, and its cost in parts of the line above");
    for (what, token) in refused(&body, now) {
        let headers = HotPath::headers(&token);
        let measured = show(what, || !path.verify(&headers, &body));
        println!("{:>56.2}", measured / accepted);
    }
}

/// Tokens that do not verify.
fn refused(body: &[u8], now: UnixMillis) -> Vec<(&'static str, String)> {
    let forged = livekit_token(KEY, "not-the-secret-of-this-key", body, now);
    let unknown = livekit_token("APIunknown", SECRET, body, now);
    // The largest that are looked at: head and claims are of the forger's choice.
    let made = |head: &str, claims: usize| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let fill = "0,".repeat((claims - 35) / 2);
        let claims = format!(r#"{{"iss":"{KEY}","x":[{fill}0]}}"#);
        format!("{}.{}.{}", part(head), part(&claims), part(&"s".repeat(32)))
    };
    let plain = r#"{"alg":"HS256","typ":"JWT"}"#;
    let head = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "y".repeat(168));
    vec![
        ("forged signature", forged),
        ("unknown key", unknown),
        ("forged signature, claims of 1 KiB", made(plain, 1024)),
        ("forged signature, claims and head as large", made(&head, 1024)),
        ("forged signature, claims of 3 KiB", made(plain, 3000)),
        ("forged signature, claims of 40 KiB", made(plain, 40_000)),
    ]
}

/// Prints the nanoseconds of a call that gives `true` if it worked, and gives them.
fn show(what: &str, mut call: impl FnMut() -> bool) -> f64 {
    let measured = nanoseconds(BATCH, || {
        for _ in 0..BATCH {
            assert!(black_box(call()), "it works");
        }
    });
    println!("{what:<44} {measured:>8.0} ns");
    measured
}
