//! Rows that a disk has changed are settled, so that a check of the new database finds none of them again.

use rusqlite::{Connection, Result};

use super::super::check::{AlteredRow, each_altered, named, written_again};
use super::report::SettledRow;
use super::settle::NAMED;
use crate::delivery::DeadReason;
use crate::time::UnixMillis;

/// What was altered, and what became of it.
pub struct Altered {
    /// The first rows.
    pub named: Vec<SettledRow>,
    /// How many there are.
    pub count: usize,
    /// Whether any of them says which API tokens are refused.
    pub has_revocations: bool,
}

/// Settles every altered row, but for those of `tenants`: what they say of API tokens is for the caller.
///
/// An event of which only the state was altered has the one again that it was stored with. The wrong sums of others stay: a
/// replay must not deliver what is not as it arrived. Hooks stay, too: what waits for one goes
/// out once it is written again.
pub fn settle(store: &Connection, now: UnixMillis) -> Result<Altered> {
    // Noted first: a table must not be changed while it is read.
    store.execute_batch("CREATE TABLE altered (place TEXT, row INTEGER, key TEXT, stored INTEGER)")?;
    let mut altered = Altered { named: Vec::new(), count: 0, has_revocations: false };
    each_altered(store, &mut |row| {
        note(store, &row)?;
        altered.count += 1;
        altered.has_revocations |= matches!(row, AlteredRow::Tenant { .. } | AlteredRow::Token { .. });
        if altered.named.len() < NAMED {
            altered.named.push(settled(&row));
        }
        Ok(())
    })?;
    carry_out(store, now)?;
    store.execute_batch("DROP TABLE altered")?;
    Ok(altered)
}

fn note(store: &Connection, row: &AlteredRow) -> Result<()> {
    if matches!(row, AlteredRow::Hook { is_removed: false, .. }) {
        return Ok(());
    }
    let stored = match row {
        AlteredRow::Event { stored, .. } => stored.map(|stored| stored as i64),
        // It was not removed.
        AlteredRow::Hook { was_removed: false, .. } => Some(0),
        _ => None,
    };
    let (place, number, key) = row.place();
    let insert = "INSERT INTO altered (place, row, key, stored) VALUES (?1, ?2, ?3, ?4)";
    store.prepare_cached(insert)?.execute((place, number, key, stored)).map(drop)
}

fn carry_out(store: &Connection, now: UnixMillis) -> Result<()> {
    store.execute_batch(
        "UPDATE events SET state = stored, parked = 0 FROM altered WHERE place = 'events' AND row = seq AND stored IS NOT NULL; \
         DELETE FROM altered WHERE place = 'events' AND stored IS NOT NULL",
    )?;
    let dead = "UPDATE events SET state = 2, parked = 0, due = NULL, settled_at = coalesce(settled_at, ?1), \
                dead_reason = ?2, sum = resum(sum, 'state', state, 2) \
                WHERE state NOT IN (3, 4, 5) AND seq IN (SELECT row FROM altered WHERE place = 'events')";
    store.execute(dead, (now.0, DeadReason::Damaged.as_str()))?;
    store.execute_batch(
        "DELETE FROM events WHERE state IN (3, 4, 5) AND seq IN (SELECT row FROM altered WHERE place = 'events'); \
         UPDATE OR IGNORE hooks SET removed_at = NULL WHERE id IN (SELECT row FROM altered WHERE place = 'hooks' AND stored = 0); \
         DELETE FROM hooks WHERE removed_at IS NOT NULL AND id IN (SELECT row FROM altered WHERE place = 'hooks'); \
         DELETE FROM calls WHERE call IN (SELECT key FROM altered WHERE place = 'calls'); \
         DELETE FROM participants WHERE call IN (SELECT key FROM altered WHERE place = 'participants'); \
         DELETE FROM revoked_tokens WHERE jti IN (SELECT key FROM altered WHERE place = 'revoked_tokens')",
    )
}

fn settled(row: &AlteredRow) -> SettledRow {
    let mut fix = None;
    let became = match row {
        AlteredRow::Event { id, stored: Some(stored), .. } => {
            format!("{id} is {} again: only its state was altered", named(*stored))
        }
        AlteredRow::Event { id, state, .. } if !(3..=5).contains(state) => {
            format!("{id} is a dead letter now (damaged)")
        }
        AlteredRow::Event { id, .. } => format!("{id}, which had no hook yet, is removed"),
        AlteredRow::Call { call, .. } => {
            format!("{call} is removed: its next event that names a domain binds it anew")
        }
        AlteredRow::Hook { host, is_removed: true, was_removed: false, .. } => {
            format!("the hook of {host} is in force again: only its removal was altered")
        }
        AlteredRow::Hook { host, is_removed: true, .. } => {
            format!("the removed hook of {host} is gone; its last deliveries are dead letters now (damaged)")
        }
        AlteredRow::Hook { host, tenant, layer, .. } => {
            fix = Some(written_again(host, tenant, *layer));
            format!(
                "the hook of {host} is not in force until it is written again; what waits for it goes out then"
            )
        }
        AlteredRow::Tenant { tenant } => {
            fix = Some(format!(
                "make new tokens: switchhook token; if a receiver of {tenant} answers 401: switchhook secret rotate {tenant}"
            ));
            format!("all API tokens of before are refused; the derived secret of {tenant} may be another one")
        }
        AlteredRow::Token { .. } => {
            fix = Some("make new tokens: switchhook token".to_owned());
            "whose revocation it was is not known: all API tokens of before are refused".to_owned()
        }
    };
    let (table, row, key) = row.place();
    SettledRow { table, row, key: key.map(str::to_owned), became, fix }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    #[test]
    fn of_very_many_altered_or_lost_events_ten_thousand_are_named() {
        let store = in_memory();
        let count = NAMED + 5;
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO events (id, event, received_at, outcome, size, state, sum) \
             SELECT 'EV_' || i, 'room_started', 1, 'no_hook', 1, 3, 1 FROM n"
        );
        store.execute_batch(&fill).expect("events");
        let lost = super::super::settle::settle(&store, UnixMillis(2)).expect("settled");
        let bodies = "INSERT INTO bodies (seq, body) SELECT seq, x'00' FROM events";
        store.execute_batch(&format!("{fill}; {bodies}")).expect("events");
        let altered = settle(&store, UnixMillis(2)).expect("settled");
        assert_eq!((lost.named.len(), lost.count), (NAMED, count));
        assert_eq!((altered.named.len(), altered.count), (NAMED, count));
    }
}
