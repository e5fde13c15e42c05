//! What is stored before the run: delivered events of ten a call, as if the router had run at the same rate before.

use std::path::Path;

use crate::Plan;

/// What is past its time is removed: delivered events after a day, ended calls after an hour, facts after a week.
const DAY: i64 = 24 * 3600 * 1000;
const HOUR: i64 = 3600 * 1000;

/// How much longer than its turns the run takes, in percent: rows are indexed before it, events are prepared, and the last
/// deliveries awaited.
const LONGER: i64 = 120;

/// Fills the store of a router that is stopped. `is_swept`: its rows get past their time while it has its turns, as many
/// a second as events come; else twelve hours later.
pub fn fill(path: &Path, plan: &Plan, is_swept: bool) {
    let store = rusqlite::Connection::open(path).expect("the store");
    let run = (plan.seconds * plan.systems()) as i64 * 1000 * LONGER / 100;
    let (events, hooks) = (plan.seconds * plan.rate, plan.hooks);
    let due = switchhook::Clock::system().unix().0 + if is_swept { 0 } else { DAY / 2 };
    // Row `i` is due at this time.
    let at = format!("{due} + i * {run} / {events}");
    let tenant = format!("printf('calls.tenant%07d.example', i / 10 % {hooks})");
    let sql = format!(
        "PRAGMA synchronous = OFF; BEGIN; \
         CREATE TEMP TABLE made AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {events}) \
         SELECT i, {at} AS at FROM n; \
         INSERT INTO events (seq, id, event, call, room, created_at, received_at, outcome, issuer, size, state, hook, \
         chain, sequence, attempts, attempted_at, status, latency_us, settled_at, tenant) \
         SELECT i, 'EV_past' || i, 'track_published', printf('RM_past%08d', i / 10), printf('past-%08d', i / 10), \
         (at - {DAY}) / 1000, at - {DAY}, 'call', 'APIbench', 0, 1, 1 + i / 10 % {hooks}, \
         i / 10, 1 + i % 10, 1, at - {DAY}, 200, 1500, at - {DAY}, {tenant} FROM made; \
         INSERT INTO chains (chain, sequence, seen_at) SELECT i / 10, 10, at - {DAY} FROM made WHERE i % 10 = 9; \
         INSERT INTO calls (call, room, hook, url, format, sip, began_at, seen_at, finished_at, tenant) \
         SELECT printf('RM_over%08d', i), printf('over-%08d', i), 1 + i / 10 % {hooks}, 'http://127.0.0.1:9/', 'raw', 1, \
         at - {HOUR}, at - {HOUR}, at - {HOUR}, {tenant} FROM made WHERE i % 10 = 0; \
         INSERT INTO facts (seq, received_at, outcome, hook, call, tenant, sip) \
         SELECT i, at - 7 * {DAY}, 'domain', 1 + i / 10 % {hooks}, printf('RM_past%08d', i / 10), {tenant}, 1 \
         FROM made WHERE i % 5 = 0; \
         UPDATE progress SET seq = {events}, numbered = {events}, unsummed = {events}; COMMIT; \
         PRAGMA wal_checkpoint(TRUNCATE)"
    );
    store.execute_batch(&sql).expect("rows");
}

/// How many of the `events` that were stored before are left.
pub fn left(path: &Path, events: usize) -> usize {
    let store = rusqlite::Connection::open(path).expect("the store");
    let left = "SELECT count(*) FROM events WHERE seq <= ?1";
    let count: i64 = store.query_row(left, [events as i64], |row| row.get(0)).expect("a count");
    usize::try_from(count).expect("a count")
}
