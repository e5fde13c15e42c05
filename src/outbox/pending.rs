//! What waits: parked rows by their index, younger ones by reading the end of the table.

use std::collections::HashSet;

use rusqlite::{Connection, Result, Row, params};

use super::feed::Ready;
use crate::ids::{Chain, DeliveryId, HookId};
use crate::time::UnixMillis;

/// The rows a start inherits: all up to `last`; those behind `progress` may not be parked.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    progress: i64,
    last: i64,
}

/// Where a walk through all that is pending stands.
#[derive(Clone, Copy, Debug)]
pub enum Cursor {
    /// Among the parked rows, behind this hook's row.
    Parked { hook: i64, seq: i64 },
    /// Among the younger ones, behind this row.
    Younger { seq: i64 },
    /// At the end.
    End,
}

impl Default for Cursor {
    fn default() -> Self {
        Self::Parked { hook: 0, seq: 0 }
    }
}

/// The last row all up to which is parked.
pub fn progress(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT seq FROM progress")?.query_row([], |row| row.get(0))
}

/// What there is before anything new comes.
pub fn inherited(connection: &Connection) -> Result<Inherited> {
    let last = "SELECT coalesce(max(seq), 0) FROM events";
    let last = connection.query_row(last, [], |row| row.get(0))?;
    Ok(Inherited { progress: progress(connection)?, last })
}

/// A page of what is pending, and where the next one begins. In order per hook.
pub fn page(
    connection: &Connection,
    cursor: Cursor,
    inherited: Inherited,
    limit: usize,
) -> Result<(Vec<Ready>, Cursor)> {
    let Inherited { progress, last } = inherited;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let page: Vec<Ready> = match cursor {
        // Rows are parked while this walks: `progress` as it was keeps the two parts apart.
        Cursor::Parked { hook, seq } => connection
            .prepare_cached(
                "SELECT hook, seq, chain, due FROM events WHERE parked = 1 AND (hook, seq) > (?1, ?2) \
                 AND seq <= ?3 ORDER BY hook, seq LIMIT ?4",
            )?
            .query_map(params![hook, seq, progress, limit], ready)?
            .collect::<Result<_>>()?,
        Cursor::Younger { seq } => connection
            .prepare_cached(
                "SELECT hook, seq, chain, due FROM events WHERE seq > ?1 AND seq <= ?2 AND state = 0 \
                 ORDER BY seq LIMIT ?3",
            )?
            .query_map(params![seq, last, limit], ready)?
            .collect::<Result<_>>()?,
        Cursor::End => Vec::new(),
    };
    let next = match (cursor, page.last()) {
        (Cursor::Parked { .. }, Some(row)) => Cursor::Parked { hook: row.hook.0, seq: row.id.0 },
        (Cursor::Parked { .. }, None) => Cursor::Younger { seq: progress },
        (Cursor::Younger { .. }, Some(row)) => Cursor::Younger { seq: row.id.0 },
        (Cursor::Younger { .. } | Cursor::End, _) => Cursor::End,
    };
    Ok((page, next))
}

fn ready(row: &Row<'_>) -> Result<Ready> {
    Ok(Ready {
        hook: HookId(row.get(0)?),
        id: DeliveryId(row.get(1)?),
        chain: Chain(row.get(2)?),
        due: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
        fresh: None,
    })
}

/// The hooks that have pending deliveries or live calls.
pub fn busy(connection: &Connection) -> Result<HashSet<HookId>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT hook FROM events WHERE parked = 1 UNION \
             SELECT DISTINCT hook FROM events WHERE seq > (SELECT seq FROM progress) AND state = 0 UNION \
             SELECT DISTINCT hook FROM calls WHERE hook IS NOT NULL UNION \
             SELECT DISTINCT hook FROM participants WHERE hook IS NOT NULL",
        )?
        .query_map([], |row| row.get(0).map(HookId))?
        .collect()
}

/// The hooks that have calls which are not over for longer than since `since`.
pub fn calling(connection: &Connection, since: i64) -> Result<HashSet<HookId>> {
    connection
        .prepare_cached(
            "SELECT hook FROM calls WHERE hook IS NOT NULL AND coalesce(finished_at, ?2) > ?1 UNION \
             SELECT participants.hook FROM participants JOIN calls USING (call) \
             WHERE participants.hook IS NOT NULL AND coalesce(finished_at, ?2) > ?1",
        )?
        .query_map([since, i64::MAX], |row| row.get(0).map(HookId))?
        .collect()
}

/// When the oldest pending delivery of each of these hooks came.
pub fn oldest(connection: &Connection, hooks: &[HookId]) -> Result<Vec<(HookId, UnixMillis)>> {
    let mut parked = connection.prepare_cached(
        "SELECT received_at FROM events WHERE parked = 1 AND hook = ?1 ORDER BY seq LIMIT 1",
    )?;
    let mut oldest = Vec::new();
    for hook in hooks {
        let mut rows = parked.query([hook.0])?;
        if let Some(row) = rows.next()? {
            oldest.push((*hook, UnixMillis(row.get(0)?)));
        }
    }
    let mut younger = connection.prepare_cached(
        "SELECT hook, min(received_at) FROM events WHERE seq > (SELECT seq FROM progress) AND state = 0 \
         GROUP BY hook",
    )?;
    let known: HashSet<_> = oldest.iter().map(|(hook, _)| *hook).collect();
    let mut rows = younger.query([])?;
    while let Some(row) = rows.next()? {
        let hook = HookId(row.get(0)?);
        if !known.contains(&hook) {
            oldest.push((hook, UnixMillis(row.get(1)?)));
        }
    }
    Ok(oldest)
}
