//! What is stored before lists are measured.

use std::path::Path;

use rusqlite::{Connection, params};

/// Tenants that share a tenth of the deliveries.
const SMALL: usize = 990;

/// Whose calls the slots of a thousand are: `t0` has 600 (three hosts), `t1` to `t9` 300, the small ones 100.
const SLOTS: usize = 1000;

pub fn hooks() -> String {
    let entry = |host: String, tenant: String| {
        format!("  - host: {host}\n    tenant: {tenant}\n    url: http://127.0.0.1:9/\n")
    };
    let large = (0..3).map(|n| entry(format!("h{n}.t0.example"), "t0".to_owned()));
    let others = (1..10 + SMALL).map(|n| entry(format!("t{n}.example"), format!("t{n}")));
    let rare = entry("rare.example".to_owned(), "rare".to_owned());
    let all: String = large.chain(others).chain([rare]).collect();
    format!("limits: {{hooks: 2000}}\nhooks:\n{all}")
}

/// The lists that are measured.
pub fn lists() -> Vec<String> {
    let since = jiff::Timestamp::now().as_millisecond() - 3_600_000;
    let since = jiff::Timestamp::from_millisecond(since).expect("a time");
    [
        "deliveries",
        "deliveries?limit=1000",
        "deliveries?tenant=t0",
        "deliveries?tenant=t5",
        "deliveries?tenant=t500",
        "deliveries?tenant=rare",
        "deliveries?tenant=nobody",
        "deliveries?host=h1.t0.example",
        "deliveries?host=rare.example",
        "deliveries?call=RM_long",
        "deliveries?call=RM_0000500000",
        "deliveries?call=room-0000500000",
        "deliveries?event=track_published",
        "deliveries?event=egress_ended",
        "deliveries?status=503",
        "deliveries?status=404",
        "deliveries?state=dead",
        "deliveries?state=dead&tenant=t0",
        "deliveries?state=dead&tenant=rare",
        "deliveries?state=pending",
        "deliveries?state=pending&tenant=t1",
        "deliveries?id=EV_000000000700",
        "events/EV_000000000700",
        "calls",
        "calls?all=true",
        "calls?tenant=t0",
        "calls?tenant=rare",
        "calls?tenant=nobody",
        "calls/RM_0000500000",
        "calls/room-0000500000",
        "calls/RM_long",
        "unrouted",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(["", "&tenant=t5"].map(|rest| format!("deliveries?since={since}{rest}")))
    .map(|path| format!("/v1/{path}"))
    .collect()
}

/// Fills the store of a router that is stopped.
pub fn fill(path: &Path, deliveries: usize) {
    let store = Connection::open(path).expect("the store");
    let quick = "PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL; PRAGMA cache_size = -262144;";
    store.execute_batch(quick).expect("quick");
    let hook = |host: &str| -> i64 {
        let found = "SELECT id FROM hooks WHERE host = ?1 AND removed_at IS NULL";
        store.query_row(found, [host], |row| row.get(0)).expect("a hook")
    };
    store.execute_batch("CREATE TEMP TABLE slots (slot INTEGER PRIMARY KEY, hook INTEGER)").expect("slots");
    for slot in 0..SLOTS {
        let host = match slot {
            0..600 => format!("h{}.t0.example", slot % 3),
            600..900 => format!("t{}.example", 1 + slot % 9),
            _ => format!("t{}.example", 10 + slot * 7 % SMALL),
        };
        store
            .execute("INSERT INTO slots VALUES (?1, ?2)", params![slot as i64, hook(&host)])
            .expect("a slot");
    }
    let now = jiff::Timestamp::now().as_millisecond();
    let (count, rare, long) = (deliveries as i64, hook("rare.example"), hook("t1.example"));
    // Rows 1, 2, …: five events of each of a hundred calls at once; the rare tenant's and the long call's in between.
    let sql = format!(
        "CREATE TEMP TABLE made AS WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {PART}) \
         SELECT i FROM n;"
    );
    store.execute_batch(&sql).expect("numbers");
    let rows = format!(
        "INSERT INTO events (seq, id, event, call, room, created_at, received_at, domain, outcome, issuer, size, state, \
         hook, chain, sequence, attempts, attempted_at, status, latency_us, settled_at, dead_reason, tenant, participant, \
         who) SELECT i + 1, printf('EV_%012d', i), \
         CASE i / 100 % 5 WHEN 0 THEN 'room_started' WHEN 1 THEN 'participant_joined' WHEN 2 THEN 'track_published' \
         WHEN 3 THEN 'participant_left' ELSE 'room_finished' END, \
         CASE WHEN i % 1000 = 3 THEN 'RM_long' ELSE printf('RM_%010d', call) END, \
         CASE WHEN i % 1000 = 3 THEN 'room-long' ELSE printf('room-%010d', call) END, \
         at / 1000, at, NULL, 'call', 'APIbench', 700, iif(i % 10000 = 77, 2, 1), \
         CASE WHEN i % 1000 = 3 THEN {long} WHEN i % ({count} / 20) = 7 THEN {rare} ELSE hook END, \
         call, i / 100 % 5 + 1, 1, at + 2, iif(i % 10000 = 77, 503, 200), 1500, at + 4, \
         iif(i % 10000 = 77, 'expired', NULL), NULL, printf('PA_%012d', call), 'sip_+15550100' \
         FROM (SELECT i, call, {now} - 72000000 + i * 72000000 / {count} AS at, slots.hook AS hook FROM \
         (SELECT i, i / 500 * 100 + i % 100 AS call FROM (SELECT i + ?1 AS i FROM made) WHERE i < {count}) \
         CROSS JOIN slots ON slot = call * 7919 % {SLOTS})"
    );
    for part in (0..count).step_by(PART) {
        let transaction = store.unchecked_transaction().expect("a transaction");
        transaction.execute(&rows, [part]).expect("rows");
        transaction.commit().expect("stored");
    }
    let rest = format!(
        "UPDATE events SET tenant = (SELECT tenant FROM hooks WHERE hooks.id = hook) WHERE state = 2; \
         INSERT INTO calls (call, room, hook, url, format, sip, began_at, seen_at, finished_at, tenant) \
         SELECT call, room, hook, 'http://127.0.0.1:9/', 'raw', 1, received_at, {now}, {now}, \
         (SELECT tenant FROM hooks WHERE hooks.id = hook) FROM events WHERE sequence = 1 AND call <> 'RM_long' \
         ON CONFLICT DO NOTHING; \
         INSERT OR IGNORE INTO calls (call, room, hook, url, format, sip, began_at, seen_at, tenant) \
         VALUES ('RM_long', 'room-long', {long}, 'http://127.0.0.1:9/', 'raw', 1, {now} - 72000000, {now}, 't1'); \
         UPDATE progress SET seq = {count}, numbered = {count}; PRAGMA wal_checkpoint(TRUNCATE)"
    );
    store.execute_batch(&rest).expect("calls");
}

/// Rows that are made in one transaction.
const PART: usize = 100_000;

/// Bytes of the index of events: its pages.
pub fn index_bytes(path: &Path) -> i64 {
    let store = Connection::open(path).expect("the store");
    let entries = store.query_row("SELECT count(*) FROM event_keys", [], |row| row.get::<_, i64>(0));
    // The library has no `dbstat`: an entry takes about 14 bytes.
    entries.expect("entries") * 14
}
