//! What was revoked or renewed since a backup stays so after its restore: a token or a secret that has leaked must not be
//! valid again.

use std::collections::HashMap;

use rusqlite::{Connection, Result, params};
use serde::Serialize;

use super::super::super::connection::{AMENDED, VERSION, version_of};
use super::super::super::sums::{self, REVOKED_TOKENS, TENANTS};
use crate::outbox::sqlite::audit::EVERYBODY;
use crate::time::UnixMillis;

/// What becomes of revoked API tokens and renewed secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoredRevocations {
    /// Those that the database before has are in the restored one, too.
    Kept,
    /// The database before cannot be read, its log is damaged or another's, or a disk has altered what it says: all API
    /// tokens of before are refused.
    AllTokens,
    /// There is no database before, or the backup is of a release that has no place for them.
    NotKnown,
}

/// What is known of a tenant besides its hooks; of [`EVERYBODY`], which tokens of all are refused.
#[derive(Clone, PartialEq, Eq)]
struct TenantRow {
    tenant: String,
    generation: i64,
    rotated_at: Option<i64>,
    revoked_at: Option<i64>,
}

/// A token that is refused: its id, and when it expires and was revoked.
type TokenRow = (String, i64, i64);

/// Writes what the database before says into the restored one. `present`: none if it cannot be read.
///
/// # Errors
/// When the restored one cannot be read or written.
pub fn keep(
    present: Option<&Connection>,
    copied: &Connection,
    now: UnixMillis,
) -> Result<RestoredRevocations> {
    if version_of(copied)? < AMENDED {
        return Ok(RestoredRevocations::NotKnown);
    }
    sums::teach(copied)?;
    let transaction = copied.unchecked_transaction()?;
    let kept = match present.and_then(|present| known(present).ok().flatten()) {
        Some((tenants, tokens)) => {
            keep_tenants(copied, &tenants)?;
            tokens.iter().try_for_each(|token| keep_token(copied, token))?;
            RestoredRevocations::Kept
        }
        None => {
            let (tenant, revoked_at) = (EVERYBODY.to_owned(), Some(now.0));
            keep_tenants(copied, &[TenantRow { tenant, generation: 1, rotated_at: None, revoked_at }])?;
            RestoredRevocations::AllTokens
        }
    };
    transaction.commit()?;
    Ok(kept)
}

/// What a database says; none: a disk has altered some of it. Releases before version 3 revoked nothing.
fn known(store: &Connection) -> Result<Option<(Vec<TenantRow>, Vec<TokenRow>)>> {
    if version_of(store)? < AMENDED {
        return Ok(Some((Vec::new(), Vec::new())));
    }
    let (tenants, are_intact) = tenants(store)?;
    let (mut tokens, mut all_intact) = (Vec::new(), are_intact);
    let columns =
        if has_sums(store)? { REVOKED_TOKENS.list() } else { "jti, expires_at, revoked_at, NULL".to_owned() };
    let mut rows = store.prepare(&format!("SELECT {columns} FROM revoked_tokens"))?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        all_intact &= REVOKED_TOKENS.is_intact(row, 0, 0)?;
        tokens.push((row.get(0)?, row.get(1)?, row.get(2)?));
    }
    Ok(all_intact.then_some((tenants, tokens)))
}

/// The rows that are as they were stored, and whether all are.
fn tenants(store: &Connection) -> Result<(Vec<TenantRow>, bool)> {
    let columns = if has_sums(store)? {
        TENANTS.list()
    } else {
        "tenant, generation, rotated_at, revoked_at, NULL".to_owned()
    };
    let mut rows = store.prepare(&format!("SELECT {columns} FROM tenants"))?;
    let mut rows = rows.query([])?;
    let (mut intact, mut are_all) = (Vec::new(), true);
    while let Some(row) = rows.next()? {
        if TENANTS.is_intact(row, 0, 0)? {
            let (tenant, generation) = (row.get(0)?, row.get(1)?);
            intact.push(TenantRow { tenant, generation, rotated_at: row.get(2)?, revoked_at: row.get(3)? });
        } else {
            are_all = false;
        }
    }
    Ok((intact, are_all))
}

/// Version 3 has no sums: they are begun when it is amended.
fn has_sums(store: &Connection) -> Result<bool> {
    Ok(version_of(store)? == VERSION)
}

fn keep_tenants(copied: &Connection, since: &[TenantRow]) -> Result<()> {
    let before = tenants(copied)?.0.into_iter().map(|row| (row.tenant.clone(), row));
    let before: HashMap<_, _> = before.collect();
    let mut put = copied.prepare(if has_sums(copied)? {
        "INSERT OR REPLACE INTO tenants (tenant, generation, rotated_at, revoked_at, sum) VALUES (?1, ?2, ?3, ?4, \
         newsum('tenant', ?1, 'generation', ?2, 'rotated_at', ?3, 'revoked_at', ?4))"
    } else {
        "INSERT OR REPLACE INTO tenants (tenant, generation, rotated_at, revoked_at) VALUES (?1, ?2, ?3, ?4)"
    })?;
    for since in since {
        let TenantRow { tenant, generation, rotated_at, revoked_at } =
            before.get(&since.tenant).map_or_else(|| since.clone(), |before| before.and(since));
        put.execute(params![tenant, generation, rotated_at, revoked_at])?;
    }
    Ok(())
}

impl TenantRow {
    /// The secret that was renewed more often, and the later refusal. The database before may have been begun anew since
    /// the backup, so its row is not always the later one.
    fn and(&self, since: &Self) -> Self {
        let newer = if since.generation > self.generation { since } else { self };
        Self { revoked_at: self.revoked_at.max(since.revoked_at), ..newer.clone() }
    }
}

fn keep_token(copied: &Connection, (jti, expires_at, revoked_at): &TokenRow) -> Result<()> {
    let sql = if has_sums(copied)? {
        "INSERT OR IGNORE INTO revoked_tokens (jti, expires_at, revoked_at, sum) VALUES (?1, ?2, ?3, \
         newsum('jti', ?1, 'expires_at', ?2, 'revoked_at', ?3))"
    } else {
        "INSERT OR IGNORE INTO revoked_tokens (jti, expires_at, revoked_at) VALUES (?1, ?2, ?3)"
    };
    copied.prepare_cached(sql)?.execute(params![jti, expires_at, revoked_at]).map(drop)
}
