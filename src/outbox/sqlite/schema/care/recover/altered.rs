//! Rows that a disk has changed are settled, so that a check of the new database finds none of them again.

use rusqlite::{Connection, Result};

use super::super::check::{AlteredRow, each_altered, written_again};
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
/// Their wrong sums stay: a replay must not deliver what is not as it arrived. Hooks stay, too: what waits for one goes
/// out once it is written again.
pub fn settle(store: &Connection, now: UnixMillis) -> Result<Altered> {
    // Noted first: a table must not be changed while it is read.
    store.execute_batch("CREATE TABLE altered (place TEXT, row INTEGER, key TEXT)")?;
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
    let insert = "INSERT INTO altered (place, row, key) VALUES (?1, ?2, ?3)";
    store.prepare_cached(insert)?.execute(row.place()).map(drop)
}

fn carry_out(store: &Connection, now: UnixMillis) -> Result<()> {
    let dead = "UPDATE events SET state = 2, parked = 0, due = NULL, settled_at = coalesce(settled_at, ?1), \
                dead_reason = ?2 \
                WHERE state IN (0, 2) AND seq IN (SELECT row FROM altered WHERE place = 'events')";
    store.execute(dead, (now.0, DeadReason::Damaged.as_str()))?;
    store.execute_batch(
        "DELETE FROM events WHERE state >= 3 AND seq IN (SELECT row FROM altered WHERE place = 'events'); \
         DELETE FROM hooks WHERE id IN (SELECT row FROM altered WHERE place = 'hooks'); \
         DELETE FROM calls WHERE call IN (SELECT key FROM altered WHERE place = 'calls'); \
         DELETE FROM participants WHERE call IN (SELECT key FROM altered WHERE place = 'participants'); \
         DELETE FROM revoked_tokens WHERE jti IN (SELECT key FROM altered WHERE place = 'revoked_tokens')",
    )
}

fn settled(row: &AlteredRow) -> SettledRow {
    let mut fix = None;
    let became = match row {
        AlteredRow::Event { id, state: 0 | 2, .. } => format!("{id} is a dead letter now (damaged)"),
        AlteredRow::Event { id, .. } => format!("{id}, which had no hook yet, is removed"),
        AlteredRow::Call { call, .. } => {
            format!("{call} is removed: its next event that names a domain binds it anew")
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
