//! Rows of a state that has an index of its own: dead letters, and what waits.

use std::collections::BinaryHeap;

use rusqlite::{CachedStatement, Connection, Result, params};

use super::walk::{RowRange, Walk};
use crate::outbox::sqlite::pending;

/// So many rows are looked at from one that is marked on.
const FEW: i64 = 16;

/// Finds rows of a state.
pub enum Marked<'c> {
    Dead(CachedStatement<'c>),
    Pending(Parked<'c>),
}

impl<'c> Marked<'c> {
    /// Dead letters.
    pub fn dead(connection: &'c Connection) -> Result<Self> {
        let sql = "SELECT max(seq) FROM events WHERE state = 2 AND state >= 2 AND seq <= ?1";
        connection.prepare_cached(sql).map(Self::Dead)
    }

    /// What waits for the hooks of a tenant and of a host, where they are given.
    pub fn pending(connection: &'c Connection, tenant: Option<&str>, host: Option<&str>) -> Result<Self> {
        Parked::new(connection, tenant, host).map(Self::Pending)
    }

    /// The next rows of the walk among which there may be one of the state.
    pub fn next(&mut self, walk: &mut Walk<'_>) -> Result<Option<RowRange>> {
        while let Some((first, last)) = walk.next()? {
            walk.spend(1);
            let Some(newest) = self.newest(last)? else {
                walk.skip_to(0);
                return Ok(None);
            };
            if newest < first {
                walk.skip_to(newest + 1);
                continue;
            }
            let from = first.max(newest - FEW + 1);
            if from > first {
                walk.take_back((first, from - 1));
            }
            return Ok(Some((from, newest)));
        }
        Ok(None)
    }

    /// The newest row up to `last` that may be of the state.
    fn newest(&mut self, last: i64) -> Result<Option<i64>> {
        match self {
            Self::Dead(statement) => statement.query_row([last], |row| row.get(0)),
            Self::Pending(parked) => parked.newest(last),
        }
    }
}

/// The newest row of each hook that waits, parked or so young that it is not.
pub struct Parked<'c> {
    /// All rows behind this one may wait.
    up_to: i64,
    /// With their hooks: at or above the last row that was asked for.
    newest: BinaryHeap<(i64, i64)>,
    statement: CachedStatement<'c>,
}

impl<'c> Parked<'c> {
    fn new(connection: &'c Connection, tenant: Option<&str>, host: Option<&str>) -> Result<Self> {
        // From hook to hook through the index, not through all that waits.
        let mut hooks = connection.prepare_cached(
            "WITH RECURSIVE waiting (hook) AS (SELECT min(hook) FROM events WHERE parked = 1 UNION ALL \
             SELECT (SELECT min(hook) FROM events WHERE parked = 1 AND hook > waiting.hook) FROM waiting \
             WHERE waiting.hook IS NOT NULL) \
             SELECT hook FROM waiting CROSS JOIN hooks ON hooks.id = hook \
             WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR host = ?2)",
        )?;
        let hooks = hooks.query_map(params![tenant, host], |row| Ok((i64::MAX, row.get(0)?)))?;
        let newest = hooks.collect::<Result<_>>()?;
        let sql = "SELECT max(seq) FROM events WHERE parked = 1 AND hook = ?1 AND seq <= ?2";
        let up_to = pending::progress(connection)?;
        Ok(Self { up_to, newest, statement: connection.prepare_cached(sql)? })
    }

    fn newest(&mut self, last: i64) -> Result<Option<i64>> {
        if last > self.up_to {
            return Ok(Some(last));
        }
        while self.newest.peek().is_some_and(|(seq, _)| *seq > last) {
            let Some((_, hook)) = self.newest.pop() else { break };
            let found: Option<i64> = self.statement.query_row([hook, last], |row| row.get(0))?;
            self.newest.extend(found.map(|seq| (seq, hook)));
        }
        Ok(self.newest.peek().map(|(seq, _)| *seq))
    }
}
