//! With which domain and tenant each number was last called. A number that suddenly comes with another
//! domain is how most misrouting begins: an edge or a carrier that was changed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::Serialize;

use crate::hooks::Number;
use crate::route;
use crate::time::UnixMillis;

/// So many numbers are stored; beyond, those called longest ago go.
const STORED: i64 = 100_000;

/// So many go at once.
const ROUND: i64 = 1000;

/// So many are remembered; others are read when they are called.
const KNOWN: usize = 20_000;

/// How late `seen_at` may be.
const SEEN_WITHIN_MS: i64 = 24 * 3_600_000;

/// A called number came with another domain, or went to another tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub number: String,
    pub domain: String,
    pub tenant: Option<String>,
    pub before_domain: String,
    pub before_tenant: Option<String>,
    /// The call it changed with.
    pub call: Option<String>,
    /// RFC 3339.
    pub at: String,
}

#[derive(Clone, Debug)]
struct Last {
    domain: String,
    tenant: Option<String>,
    seen_at: UnixMillis,
}

/// What is known of called numbers. Memory only remembers what was read or written.
#[derive(Debug)]
pub struct Numbers {
    known: HashMap<Number, Last>,
    /// How many are stored, and how many were before the present transaction.
    stored: i64,
    committed: i64,
    /// The present transaction has changed something.
    touched: bool,
}

impl Numbers {
    /// Reads how many there are.
    pub fn recover(connection: &Connection) -> Result<Self> {
        let stored = connection.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0))?;
        Ok(Self { known: HashMap::new(), stored, committed: stored, touched: false })
    }

    /// A number was called, with this domain and tenant.
    pub fn note(
        &mut self,
        connection: &Connection,
        number: &str,
        (domain, tenant): (&str, Option<&str>),
        session: Option<&str>,
        at: UnixMillis,
    ) -> Result<Option<Change>> {
        let Some(number) = Number::new(number) else { return Ok(None) };
        let last = match self.known.get(&number) {
            Some(last) => Some(last.clone()),
            None => read(connection, number.as_str())?,
        };
        let now = Last { domain: domain.to_owned(), tenant: tenant.map(str::to_owned), seen_at: at };
        let Some(last) = last else {
            self.make_room(connection)?;
            self.stored += 1;
            insert(connection, number.as_str(), &now)?;
            self.remember(number, now);
            return Ok(None);
        };
        let elsewhere = last.tenant.is_some() && now.tenant.is_some() && last.tenant != now.tenant;
        let changed = last.domain != now.domain || elsewhere;
        if changed {
            change(connection, number.as_str(), &last, &now, session)?;
        } else if last.tenant != now.tenant || at.0 - last.seen_at.0 > SEEN_WITHIN_MS {
            insert(connection, number.as_str(), &now)?;
        } else {
            self.known.entry(number).or_insert(last);
            return Ok(None);
        }
        let told = changed.then(|| Change {
            number: number.as_str().to_owned(),
            domain: domain.to_owned(),
            tenant: now.tenant.clone(),
            before_domain: last.domain,
            before_tenant: last.tenant,
            call: session.map(|session| route::name(session).to_owned()),
            at: at.to_string(),
        });
        self.remember(number, now);
        Ok(told)
    }

    fn remember(&mut self, number: Number, last: Last) {
        self.touched = true;
        self.known.insert(number, last);
    }

    fn make_room(&mut self, connection: &Connection) -> Result<()> {
        if self.stored < STORED {
            return Ok(());
        }
        let gone = connection.execute(
            "DELETE FROM numbers WHERE number IN (SELECT number FROM numbers ORDER BY seen_at LIMIT ?1)",
            [ROUND],
        )?;
        self.stored -= i64::try_from(gone).unwrap_or(ROUND);
        self.known.clear();
        Ok(())
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        self.touched = false;
        self.committed = self.stored;
        if self.known.len() > KNOWN {
            self.known.clear();
        }
    }

    /// The transaction is taken back: what is remembered is read anew.
    pub fn roll_back(&mut self) {
        self.stored = self.committed;
        if std::mem::take(&mut self.touched) {
            self.known.clear();
        }
    }
}

fn read(connection: &Connection, number: &str) -> Result<Option<Last>> {
    connection
        .prepare_cached("SELECT domain, tenant, seen_at FROM numbers WHERE number = ?1")?
        .query_row([number], |row| {
            Ok(Last { domain: row.get(0)?, tenant: row.get(1)?, seen_at: UnixMillis(row.get(2)?) })
        })
        .optional()
}

fn insert(connection: &Connection, number: &str, now: &Last) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO numbers (number, domain, tenant, seen_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (number) DO UPDATE SET tenant = ?3, seen_at = ?4",
        )?
        .execute(params![number, now.domain, now.tenant, now.seen_at.0])
        .map(drop)
}

fn change(
    connection: &Connection,
    number: &str,
    last: &Last,
    now: &Last,
    session: Option<&str>,
) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE numbers SET domain = ?2, tenant = ?3, seen_at = ?4, before_domain = ?5, \
             before_tenant = ?6, changed_at = ?4, call = ?7 WHERE number = ?1",
        )?
        .execute(params![number, now.domain, now.tenant, now.seen_at.0, last.domain, last.tenant, session])
        .map(drop)
}

/// What changed since, the newest first, at most `limit`.
pub fn changes(connection: &Connection, since: UnixMillis, limit: usize) -> Result<Vec<Change>> {
    let read = |row: &Row<'_>| {
        Ok(Change {
            number: row.get(0)?,
            domain: row.get(1)?,
            tenant: row.get(2)?,
            before_domain: row.get(3)?,
            before_tenant: row.get(4)?,
            call: row.get::<_, Option<String>>(5)?.map(|call| route::name(&call).to_owned()),
            at: UnixMillis(row.get(6)?).to_string(),
        })
    };
    connection
        .prepare_cached(
            "SELECT number, domain, tenant, before_domain, before_tenant, call, changed_at FROM numbers \
             WHERE changed_at >= ?1 ORDER BY changed_at DESC LIMIT ?2",
        )?
        .query_map(params![since.0, i64::try_from(limit).unwrap_or(i64::MAX)], read)?
        .collect()
}
