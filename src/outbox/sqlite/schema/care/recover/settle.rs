//! What was read of a damaged database is made consistent: rows of events that are lost, and events without their bodies.

use rusqlite::{Connection, Result};

use super::super::super::sums::TENANTS;
use super::super::contents::count;
use super::report::{LostEvent, LostEvents};
use crate::delivery::DeadReason;
use crate::ids::HookId;
use crate::outbox::sqlite::audit;
use crate::time::UnixMillis;

/// At most so many events are named.
pub const NAMED: usize = 10_000;

/// Whether an event's body is stored.
const HAS_BODY: &str = "(EXISTS (SELECT 1 FROM bodies WHERE bodies.seq = events.seq) OR \
                        EXISTS (SELECT 1 FROM ring WHERE ring.seq = events.seq) OR \
                        EXISTS (SELECT 1 FROM kept_bodies WHERE kept_bodies.seq = events.seq))";

/// Makes the tables consistent, but for what [`begin_again`] does; the events whose bodies are lost.
pub fn settle(store: &Connection, now: UnixMillis) -> Result<LostEvents> {
    let lacking = format!("SELECT seq, id FROM events WHERE state NOT IN (1, 2) AND NOT {HAS_BODY}");
    let without_body = named(store, &lacking)?;
    // Without a hook and a body nothing can ever be done with it.
    store.execute(&format!("DELETE FROM events WHERE state >= 3 AND NOT {HAS_BODY}"), [])?;
    remove_without_event(store)?;
    leave_lost_hooks(store)?;
    let dead = format!(
        "UPDATE events SET state = 2, parked = 0, due = NULL, settled_at = ?1, dead_reason = ?2, \
             sum = resum(sum, 'state', state, 2) \
         WHERE state = 0 AND NOT ({HAS_BODY} AND hook IN (SELECT id FROM hooks))"
    );
    store.execute(&dead, (now.0, DeadReason::Damaged.as_str()))?;
    Ok(without_body)
}

/// The next events may have the numbers of lost ones: nothing of those may be left for them.
fn remove_without_event(store: &Connection) -> Result<()> {
    for table in ["bodies", "ring", "kept_bodies", "attempts"] {
        let delete = format!("DELETE FROM {table} WHERE seq NOT IN (SELECT seq FROM events)");
        store.execute(&delete, [])?;
    }
    // What is delivered needs its body no more; while the log was lost, it was still there.
    store.execute_batch("DELETE FROM bodies WHERE seq IN (SELECT seq FROM events WHERE state = 1)")?;
    // A body that was moved from the ring while the log was lost: it would be moved again.
    store.execute_batch("DELETE FROM ring WHERE seq IN (SELECT seq FROM bodies)")?;
    store.execute_batch("DELETE FROM facts WHERE seq > (SELECT coalesce(max(seq), 0) FROM events)")
}

/// Whatever says how far something has come is set back, so that nothing is left out. What was summed of usage would be
/// summed twice: if it is not known up to which row it is, the rest is left out. The next events have the numbers behind
/// the last one that is saved: no mark may be beyond that, so this comes last.
pub fn begin_again(store: &Connection) -> Result<()> {
    store.execute_batch(
        "INSERT OR IGNORE INTO progress (id, seq, numbered, digested, unsummed) \
         SELECT 1, 0, 0, coalesce(max(seq), 0), coalesce(max(seq), 0) FROM events; \
         UPDATE progress SET seq = 0, numbered = 0, \
             digested = min(digested, (SELECT coalesce(max(seq), 0) FROM events)), \
             unsummed = min(unsummed, (SELECT coalesce(max(seq), 0) FROM events)); \
         UPDATE erasures SET event = min(event, (SELECT coalesce(max(seq), 0) FROM events)), \
             record = min(record, (SELECT coalesce(max(id), 0) FROM audit)); \
         INSERT OR IGNORE INTO overwritten (id, since) VALUES (1, 0)",
    )
}

/// No new hook may have the number of one that is lost, whose events would go there. Calls of such a hook are bound anew.
fn leave_lost_hooks(store: &Connection) -> Result<()> {
    let mut used: i64 = store.query_row("SELECT coalesce(max(id), 0) FROM hooks", [], |row| row.get(0))?;
    for table in ["events", "calls", "participants", "facts"] {
        let max = format!("SELECT coalesce(max(hook), 0) FROM {table}");
        used = used.max(store.query_row(&max, [], |row| row.get(0))?);
    }
    store.execute("DELETE FROM sqlite_sequence WHERE name = 'hooks'", [])?;
    store.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('hooks', ?1)", [used])?;
    for table in ["calls", "participants"] {
        let forget = format!("DELETE FROM {table} WHERE hook > ?1 AND hook NOT IN (SELECT id FROM hooks)");
        store.execute(&forget, [HookId::NOBODY.0])?;
    }
    Ok(())
}

/// Of revocations that were altered nobody knows whose tokens they refused: all API tokens of before are refused. Rows of
/// tenants count as they are now.
pub fn refuse_tokens(store: &Connection, now: UnixMillis) -> Result<()> {
    TENANTS.begin(store)?;
    audit::revoke_all(store, now)
}

/// Events that the index of ids names, and whose rows are not there.
pub fn lost(store: &Connection) -> Result<LostEvents> {
    named(store, "SELECT row, id FROM named WHERE row NOT IN (SELECT seq FROM events)")
}

fn named(store: &Connection, sql: &str) -> Result<LostEvents> {
    let count = count(store, &format!("SELECT count(*) FROM ({sql})"))?;
    let mut rows = store.prepare(&format!("{sql} ORDER BY 1 LIMIT {NAMED}"))?;
    let rows = rows.query_map([], |row| Ok(LostEvent { row: row.get(0)?, id: row.get(1)? }))?;
    Ok(LostEvents { named: rows.collect::<Result<_>>()?, count })
}
