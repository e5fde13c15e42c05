//! What counting costs.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Scope;
use crate::calls::{Change, DigestPart, Next, Settlement};
use crate::delivery::{Answer, Attempt};
use crate::ids::DeliveryId;
use crate::outbox::engine::Engine;
use crate::outbox::engine::contract::bench::at;
use crate::outbox::sqlite::Sqlite;
use crate::outbox::sqlite::views::{UsageFilter, usage};
use crate::time::UnixDay;

/// Settles these events, which become pending before; the time for each.
fn settle(engine: &mut Sqlite, (first, last): (i64, i64)) -> Duration {
    let pending = "UPDATE events SET state = 0 WHERE seq BETWEEN ?1 AND ?2";
    engine.connection().execute(pending, [first, last]).expect("pending");
    let (url, latency): (Arc<str>, _) = ("https://a.example".into(), Duration::from_millis(3));
    let delivered = |id: i64| {
        let outcome = Ok(Answer { status: 200, retry_after: None });
        let attempt = Attempt { number: 2, at: at(0), url: Arc::clone(&url), latency, outcome };
        Change::Attempted(Settlement { delivery: DeliveryId(id), attempt, next: Next::Delivered, kept: None })
    };
    let all: Vec<_> = (first..=last).map(delivered).collect();
    let began = busy();
    engine.commit(&[&all]).expect("committed");
    (busy() - began) / all.len() as u32
}

/// How long this thread has run, without what others did meanwhile.
fn busy() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = told.split(' ').next().expect("a number").parse().expect("a number");
    Duration::from_nanos(nanoseconds)
}

/// `cargo test --release --lib -- --ignored --nocapture what_counting_costs`
#[test]
#[ignore = "a measure"]
#[expect(clippy::print_stdout, reason = "it says what it measured")]
fn what_counting_costs() {
    const ROWS: i64 = 100_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut engine = Sqlite::open(folder.path()).expect("a database");
    engine.connection().execute_batch("PRAGMA synchronous = OFF").expect("without waits for the disk");
    let fill = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) \
         INSERT INTO events (id, event, call, room, received_at, outcome, issuer, size, state, attempts, \
         attempted_at, settled_at, tenant) SELECT 'EV_' || n, 'participant_joined', 'RM_' || n / 10, 'call-' || n / 10, \
         ?2 + n, 'domain', 'API', 900, 1, 1 + (n % 10 = 0), ?2 + n + 20, ?2 + n + 25, 'tenant-' || n % 500 FROM n";
    engine.connection().execute(fill, [ROWS, at(0).0]).expect("rows");
    let failed = "INSERT INTO attempts SELECT seq, 1, received_at + 5, 500, NULL, 2000, NULL FROM events WHERE attempts > 1";
    engine.connection().execute(failed, []).expect("rows");
    let answer = |engine: &Sqlite| {
        let filter = UsageFilter { from: UnixDay(0), to: UnixDay(30_000), tenant: None, after: None };
        let began = busy();
        usage(engine.connection(), &Scope::for_tests(), &filter, 100).expect("usage");
        busy() - began
    };
    println!("an answer while {ROWS} rows are not digested: {:?}", answer(&engine));
    println!("a settlement before the event is digested: {:?}", settle(&mut engine, (1, 5000)));
    let began = busy();
    for after in (0..ROWS).step_by(256) {
        let part = DigestPart { after, up_to: (after + 256).min(ROWS) };
        engine.commit(&[&[Change::Digested(part)]]).expect("committed");
    }
    let took = busy() - began;
    println!("a part of 256 rows in its transaction: {:?}; {:?} a row", took / 391, took / ROWS as u32);
    println!("a settlement after the event was digested: {:?}", settle(&mut engine, (5001, 10_000)));
    println!("a hundred answers from the table: {:?}", (0..100).map(|_| answer(&engine)).sum::<Duration>());
}
