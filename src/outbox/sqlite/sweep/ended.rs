//! What is over: sessions, and the numbering of calls. Tables of millions of rows, so each round walks through a part.

use std::time::Duration;

use rusqlite::{CachedStatement, Connection, Result, params};

use crate::calls::Sweep;
use crate::ids::DeliveryId;
use crate::time::{UnixMillis, millis};

const ROWS: usize = Sweep::ROWS;

/// A round looks at this many rows of each table.
const WALK: i64 = 50_000;

/// A session is kept this long after its end: a recording is uploaded after the call.
const LATE: Duration = Duration::from_secs(3600);

/// A session without an event for so long is over.
const SILENT: Duration = Duration::from_secs(25 * 3600);

/// Plans the end of sessions that are over, with the bodies of rooms without SIP. A session with a participant of no
/// tenant is kept as long as its events, which came after `kept`: a replay finds them by it.
pub fn calls(connection: &Connection, sweep: &mut Sweep, now: UnixMillis, kept: i64) -> Result<()> {
    let (finished, seen) = (now.0 - millis(LATE), now.0 - millis(SILENT));
    sweep.ended_before = (finished, seen);
    let mut calls = connection.prepare_cached(
        "SELECT call, (finished_at < ?1 OR seen_at < ?2) AND (seen_at < ?3 OR NOT EXISTS \
         (SELECT 1 FROM participants WHERE participants.call = calls.call AND hook IS NULL)) \
         FROM calls WHERE call > ?4 ORDER BY call LIMIT ?5",
    )?;
    let mut calls = calls.query(params![finished, seen, kept, sweep.walked.calls, WALK])?;
    let mut bodies = connection
        .prepare_cached("SELECT seq FROM events WHERE state >= 3 AND call = ?1 AND state = 5 LIMIT ?2")?;
    let (mut walked, mut count) = (sweep.walked.calls.clone(), 0);
    while let Some(row) = calls.next()? {
        let call: String = row.get(0)?;
        let is_over = row.get::<_, Option<bool>>(1)?.unwrap_or(false);
        if is_over && (sweep.sessions.len() >= ROWS || !strip(&mut bodies, sweep, &call)?) {
            // The next round begins with this session.
            sweep.walked.calls = walked;
            return Ok(());
        }
        if is_over {
            sweep.sessions.push(call.clone());
        }
        (walked, count) = (call, count + 1);
    }
    sweep.walked.calls = if count == WALK { walked } else { String::new() };
    Ok(())
}

/// Plans that the bodies of a session go; false if some are left for the next round.
fn strip(bodies: &mut CachedStatement<'_>, sweep: &mut Sweep, call: &str) -> Result<bool> {
    let room = ROWS.saturating_sub(sweep.stripped.len());
    let seqs = bodies.query_map(params![call, room as i64], |row| row.get(0).map(DeliveryId))?;
    sweep.stripped.extend(seqs.collect::<Result<Vec<_>>>()?);
    Ok(sweep.stripped.len() < ROWS)
}

/// Plans the end of the numbering of calls that have been silent.
pub fn chains(connection: &Connection, sweep: &mut Sweep) -> Result<()> {
    let mut chains = connection
        .prepare_cached("SELECT chain, seen_at < ?1 FROM chains WHERE chain > ?2 ORDER BY chain LIMIT ?3")?;
    let behind = sweep.walked.chains.unwrap_or(i64::MIN);
    let mut chains = chains.query(params![sweep.silent_since, behind, WALK])?;
    let (mut walked, mut count) = (None, 0);
    while let Some(row) = chains.next()?.filter(|_| sweep.chains.len() < ROWS) {
        let chain = row.get(0)?;
        if row.get(1)? {
            sweep.chains.push(chain);
        }
        (walked, count) = (Some(chain), count + 1);
    }
    let is_end = count < WALK && sweep.chains.len() < ROWS;
    sweep.walked.chains = walked.filter(|_| !is_end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Walked;
    use crate::outbox::sqlite::schema::in_memory;

    /// The sessions of one round after another, until nothing is left.
    fn rounds(store: &Connection, now: UnixMillis) -> Vec<(usize, usize)> {
        let (mut walked, mut rounds) = (Walked::default(), Vec::new());
        loop {
            let mut sweep = Sweep { walked, silent_since: now.0, ..Sweep::default() };
            calls(store, &mut sweep, now, 0).expect("a plan");
            chains(store, &mut sweep).expect("a plan");
            if sweep.sessions.is_empty() && sweep.chains.is_empty() {
                return rounds;
            }
            rounds.push((sweep.sessions.len(), sweep.chains.len()));
            for call in &sweep.sessions {
                store.execute("DELETE FROM calls WHERE call = ?1", [call]).expect("gone");
            }
            for chain in &sweep.chains {
                store.execute("DELETE FROM chains WHERE chain = ?1", [chain]).expect("gone");
            }
            walked = sweep.walked;
        }
    }

    #[test]
    fn rounds_walk_through_all_and_take_so_many_at_once() {
        let store = in_memory();
        let count = 2 * ROWS + 5;
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO calls (call, began_at, seen_at, finished_at) SELECT 'RM_' || i, 1, 1, 1 FROM n; \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO chains SELECT -i, 1, 1 FROM n; \
             INSERT INTO calls (call, began_at, seen_at) VALUES ('RM_', 1, 10000000), ('RM_live', 1, 10000000); \
             INSERT INTO chains VALUES (7, 1, 10000000)"
        );
        store.execute_batch(&fill).expect("rows");
        assert_eq!(rounds(&store, UnixMillis(9_000_000)), [(ROWS, ROWS), (ROWS, ROWS), (5, 5)]);
    }
}
