//! Rows of an older release's database, written as this one writes them.

use std::collections::BTreeSet;

use rusqlite::types::ToSqlOutput;
use rusqlite::{CachedStatement, Connection, Result, Row, params};

use super::sums;
use crate::event::Event;
use crate::ids::DeliveryId;
use crate::outbox::sqlite::events::Bodies;
use crate::outbox::sqlite::events::facts::FactColumns;

/// The youngest delivered events are copied at once: LiveKit may send them again.
const YOUNG: i64 = 50_000;

/// So are dead letters and unrouted events, the youngest first, up to so many and so many bytes of bodies; all
/// that is pending or held is.
const KEPT: i64 = 100_000;
const KEPT_BYTES: i64 = 128 << 20;

/// Where history begins to be live.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Delivered events before this row are history.
    pub young_from: i64,
    /// So are dead letters and unrouted events before this one.
    pub kept_from: i64,
}

/// Copies all that is live, and tells the rest.
pub fn live(old: &Connection, new: &Connection, version: i64) -> Result<Bounds> {
    small_tables(old, new)?;
    let bounds = Bounds { young_from: young_from(old)?, kept_from: kept_from(old)? };
    let rows = EventRows::new(old, new, version);
    live_rows(old, bounds)?.into_iter().try_for_each(|seq| rows.copy(seq))?;
    numbering(old, new)?;
    sums::begin(new)?;
    Ok(bounds)
}

/// The tenant of a row's hook.
macro_rules! tenant_of {
    ($table:literal) => {
        concat!("(SELECT tenant FROM hooks WHERE hooks.id = ", $table, ".hook)")
    };
}

/// The tenant behind the last @ of a key, if there is one.
macro_rules! space_of {
    ($key:literal) => {
        concat!(
            "iif(instr(",
            $key,
            ", '@') > 0, nullif(substr(",
            $key,
            ", length(rtrim(",
            $key,
            ", replace(",
            $key,
            ", '@', ''))) + 1), ''), NULL)"
        )
    };
}

/// Tables but for events: their columns in the new database, and how they are read from the old one.
const TABLES: [(&str, &str, &str); 6] = [
    (
        "hooks",
        "id, host, tenant, url, layer, kept, version, removed_at, paused_at, paused_by, paused_ms",
        "SELECT id, host, tenant, url, 'file', kept, 1, removed_at, paused_at, paused_by, paused_ms FROM hooks",
    ),
    ("tenants", "tenant, generation, rotated_at", "SELECT tenant, generation, rotated_at FROM tenants"),
    (
        "calls",
        "call, room, hook, url, format, participant, shared, sip, began_at, seen_at, finished_at, tenant, space",
        concat!(
            "SELECT call, room, hook, url, format, participant, shared, sip, began_at, seen_at, finished_at, ",
            tenant_of!("calls"),
            ", ",
            space_of!("call"),
            " FROM calls"
        ),
    ),
    (
        "participants",
        "call, participant, hook, url, format, reason, domain, tenant, space",
        concat!(
            "SELECT call, participant, hook, url, format, reason, domain, ",
            tenant_of!("participants"),
            ", ",
            space_of!("call"),
            " FROM participants"
        ),
    ),
    (
        "numbers",
        "number, domain, tenant, seen_at, before_domain, before_tenant, changed_at, call",
        "SELECT number, domain, tenant, seen_at, before_domain, before_tenant, changed_at, call FROM numbers",
    ),
    ("chains", "chain, sequence, seen_at", "SELECT chain, sequence, seen_at FROM chains"),
];

fn small_tables(old: &Connection, new: &Connection) -> Result<()> {
    for (table, columns, select) in TABLES {
        let mut insert = new.prepare(&insert(table, columns))?;
        let mut rows = old.prepare(select)?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            bind(&mut insert, row, columns.split(',').count())?;
            insert.raw_execute()?;
        }
    }
    // Ids of hooks are never given again.
    let used = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'hooks'";
    let used: i64 = old.query_row(used, [], |row| row.get(0))?;
    new.execute("DELETE FROM sqlite_sequence WHERE name = 'hooks'", [])?;
    new.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('hooks', ?1)", [used]).map(drop)
}

/// An `INSERT` with a parameter for each column.
fn insert(table: &str, columns: &str) -> String {
    let marks = vec!["?"; columns.split(',').count()].join(", ");
    format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})")
}

/// Binds the first `count` columns of a row to the first parameters.
fn bind(insert: &mut rusqlite::Statement<'_>, row: &Row<'_>, count: usize) -> Result<()> {
    (0..count).try_for_each(|column| {
        let value = ToSqlOutput::Borrowed(row.get_ref(column)?);
        insert.raw_bind_parameter(column + 1, value)
    })
}

fn young_from(old: &Connection) -> Result<i64> {
    let sql = "SELECT seq FROM (SELECT seq FROM events ORDER BY seq DESC LIMIT ?1) ORDER BY seq LIMIT 1";
    Ok(old.prepare(sql)?.query_map([YOUNG], |row| row.get(0))?.next().transpose()?.unwrap_or(0))
}

fn kept_from(old: &Connection) -> Result<i64> {
    // By the index `events_kept`, so that no delivered row is read.
    let mut youngest = old
        .prepare("SELECT seq, size FROM events WHERE state = ?1 AND state >= 2 ORDER BY seq DESC LIMIT ?2")?;
    let mut kept: Vec<(i64, i64)> = Vec::new();
    for state in [2, 3, 5] {
        let rows = youngest.query_map(params![state, KEPT], |row| Ok((row.get(0)?, row.get(1)?)))?;
        kept.extend(rows.collect::<Result<Vec<_>>>()?);
    }
    kept.sort_unstable_by(|a, b| b.cmp(a));
    let (mut from, mut bytes, mut room) = (i64::MAX, 0, KEPT);
    for (seq, size) in kept {
        (bytes, room) = (bytes + size, room - 1);
        if bytes > KEPT_BYTES || room < 0 {
            return Ok(from);
        }
        from = seq;
    }
    Ok(0)
}

/// The rows of events that are copied at once. The old indexes find them without reading history.
fn live_rows(old: &Connection, bounds: Bounds) -> Result<BTreeSet<i64>> {
    let mut rows = BTreeSet::new();
    let mut find = |sql: &str, from: Option<i64>| -> Result<()> {
        let mut found = old.prepare(sql)?;
        let mut found = found.query(rusqlite::params_from_iter(from))?;
        while let Some(row) = found.next()? {
            rows.insert(row.get(0)?);
        }
        Ok(())
    };
    find("SELECT seq FROM events WHERE parked = 1", None)?;
    find("SELECT seq FROM events WHERE seq > (SELECT seq FROM progress) AND state = 0", None)?;
    find("SELECT seq FROM events WHERE state = 4 AND state >= 2", None)?;
    let kept = "SELECT seq FROM events INDEXED BY events_kept WHERE state >= 2 AND state <> 4 AND seq >= ?1";
    find(kept, Some(bounds.kept_from))?;
    find("SELECT seq FROM events WHERE seq >= ?1 AND state = 1", Some(bounds.young_from))?;
    Ok(rows)
}

/// Numbers that were only in events are written: in the new database, all that is pending is parked.
fn numbering(old: &Connection, new: &Connection) -> Result<()> {
    let mut counted = old.prepare(
        "SELECT chain, max(sequence), max(received_at) FROM events \
         WHERE seq > (SELECT seq FROM progress) AND sequence IS NOT NULL GROUP BY chain",
    )?;
    let mut counted = counted.query([])?;
    let mut number = new.prepare(
        "INSERT INTO chains (chain, sequence, seen_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (chain) DO UPDATE SET sequence = max(sequence, ?2), seen_at = max(seen_at, ?3)",
    )?;
    while let Some(row) = counted.next()? {
        bind(&mut number, row, 3)?;
        number.raw_execute()?;
    }
    let last: i64 = new.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    new.execute("UPDATE progress SET seq = ?1, numbered = ?1", [last]).map(drop)
}

/// The columns of `events` that are read from the old database.
const EVENT: &str = "seq, id, event, call, room, who, created_at, received_at, domain, outcome, issuer, size, \
     state, hook, bound_url, bound_format, chain, sequence, paused_before, attempts, due, attempted_at, status, \
     fault, latency_us, settled_at, freed_at, dead_reason";
const REPLAY: &str = "replayed_at, before_reason, dead_at";
const OWNER: &str = "tenant, space, by_url, parked";
const FACTS: &str = "participant, sip, x_to_ip, to_header, number, trunk";

/// Version 1 noted a replay as it noted a release: what had failed before was a dead letter.
const REPLAY_OF_VERSION_1: &str = "iif(failed_at < freed_at, freed_at, NULL), \
     iif(failed_at < freed_at, 'expired', NULL), iif(failed_at < freed_at, \
     (SELECT max(at) FROM attempts WHERE attempts.seq = events.seq AND at < freed_at), NULL)";
const FAILED_AT: &str = "(SELECT *, iif(freed_at IS NULL, NULL, \
     (SELECT min(at) FROM attempts WHERE attempts.seq = events.seq)) AS failed_at FROM events)";

/// Copies events with their bodies and attempts.
pub struct EventRows<'c> {
    old: &'c Connection,
    new: &'c Connection,
    select: String,
    insert: String,
    attempts: &'static str,
}

impl<'c> EventRows<'c> {
    /// From the database `old`, which has this version.
    pub fn new(old: &'c Connection, new: &'c Connection, version: i64) -> Self {
        let owner = concat!(
            tenant_of!("events"),
            ", ",
            space_of!("id"),
            ", iif(outcome = 'url', 1, NULL), iif(state = 0, 1, 0)"
        );
        let (replay, from, url) = match version {
            1 => (REPLAY_OF_VERSION_1, FAILED_AT, "SELECT seq, number, at, status, fault, latency_us, NULL"),
            _ => (REPLAY, "events", "SELECT seq, number, at, status, fault, latency_us, url"),
        };
        let select = format!("SELECT {EVENT}, {replay}, {owner} FROM {from} AS events WHERE seq = ?1");
        let insert = insert("events", &format!("{EVENT}, {REPLAY}, {OWNER}, {FACTS}"));
        Self { old, new, select, insert, attempts: url }
    }

    /// Copies one event.
    pub fn copy(&self, seq: i64) -> Result<()> {
        let mut select = self.old.prepare_cached(&self.select)?;
        let mut rows = select.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let (state, attempts): (i64, i64) = (row.get("state")?, row.get("attempts")?);
        // A delivered event has no body.
        let body = if state == 1 { None } else { Bodies::read(self.old, DeliveryId(seq))? };
        let mut insert = self.new.prepare_cached(&self.insert)?;
        let count = insert.parameter_count();
        bind(&mut insert, row, count - FACTS.split(',').count())?;
        bind_facts(&mut insert, body.as_deref().filter(|_| state >= 3), count)?;
        if insert.raw_execute()? == 0 {
            // An event of this id came since.
            return Ok(());
        }
        if let Some(body) = body {
            Bodies::keep(self.new, DeliveryId(seq), &body)?;
        }
        // A single attempt that succeeded is in the event's row.
        if attempts > 1 || state != 1 { self.copy_attempts(seq) } else { Ok(()) }
    }

    fn copy_attempts(&self, seq: i64) -> Result<()> {
        let mut select =
            self.old.prepare_cached(&format!("{} FROM attempts WHERE seq = ?1", self.attempts))?;
        let mut insert = self
            .new
            .prepare_cached(&insert("attempts", "seq, number, at, status, fault, latency_us, url"))?;
        let mut rows = select.query([seq])?;
        while let Some(row) = rows.next()? {
            bind(&mut insert, row, 7)?;
            insert.raw_execute()?;
        }
        Ok(())
    }
}

/// Binds the last parameters: what routing reads of an event that has no hook.
fn bind_facts(insert: &mut CachedStatement<'_>, body: Option<&[u8]>, count: usize) -> Result<()> {
    let event = body.and_then(|body| Event::parse(body).ok()).unwrap_or_default();
    let FactColumns { participant, sip, x_to_ip, to_header, number, trunk } = FactColumns::of(&event);
    insert.raw_bind_parameter(count - 5, participant)?;
    insert.raw_bind_parameter(count - 4, sip)?;
    insert.raw_bind_parameter(count - 3, x_to_ip)?;
    insert.raw_bind_parameter(count - 2, to_header)?;
    insert.raw_bind_parameter(count - 1, number)?;
    insert.raw_bind_parameter(count, trunk)
}
