//! What was pending when the store was opened, page by page: first what is young, then what is parked, of each hook
//! in turn. So a hook of which little is parked waits for no other's millions.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Result, Row, Rows, params};

use super::schema::OpenFiles;
use super::schema::sums::{self, EVENTS};
use super::{hidden_among, progress, schema};
use crate::calls::{DamagedRow, Ready};
use crate::ids::{Chain, DeliveryId, HookId};
use crate::outbox::engine::StoreFault;
use crate::time::UnixMillis;

/// The deliveries that were pending when this was opened, read in pages of one snapshot: what is written
/// meanwhile does not change them.
pub struct Snapshot {
    connection: schema::ReadStore,
    /// The files of the writer that it reads, if there is one.
    files: Option<Arc<OpenFiles>>,
    /// All up to this row that is pending is parked.
    progress: i64,
    cursor: Cursor,
    /// Why some hook's rows cannot be read: told when those of all others have come.
    fault: Option<StoreFault>,
}

/// How far a [`Snapshot`] was read.
#[derive(Debug)]
enum Cursor {
    /// Among the young rows, behind this one. `hidden`: those that wait though their rows say otherwise, as a list in JSON.
    Young { seq: i64, hidden: Option<String> },
    /// Among the parked rows of these hooks, behind these.
    Parked(VecDeque<(HookId, i64)>),
}

/// A part of what was pending.
#[derive(Debug)]
pub struct InheritedPage {
    /// Some deliveries, those of a hook in order of arrival as far as they are parked, or as far as they are not.
    pub deliveries: Vec<Ready>,
    /// Rows among them that cannot be read, or whose states were altered.
    pub damaged: Vec<DamagedRow>,
    /// Of which hooks all have come with them.
    pub complete: Complete,
}

/// Hooks of which all deliveries have come.
#[derive(PartialEq, Debug)]
pub enum Complete {
    /// None, or none that was not complete before.
    None,
    /// All hooks but these.
    AllBut(HashSet<HookId>),
    /// These as well.
    Also(Vec<HookId>),
}

impl Snapshot {
    /// Opens a snapshot of the store as it is now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(directory: &Path) -> std::result::Result<Self, StoreFault> {
        let (connection, files) = schema::open_in_use(directory)?;
        connection.execute_batch("BEGIN")?;
        // The first read takes the snapshot.
        let progress = progress(&connection)?;
        let cursor = Cursor::Young { seq: progress, hidden: None };
        Ok(Self { connection, files, progress, cursor, fault: None })
    }

    /// The next page of what is pending, of about `limit` deliveries; none at the end. Exactly one page is complete
    /// for [`Complete::AllBut`] some hooks, and the pages behind it for each of those once.
    ///
    /// # Errors
    /// When the store cannot be read. If that is so of some hook's parked rows alone, all others have come before.
    pub fn page(&mut self, limit: usize) -> std::result::Result<Option<InheritedPage>, StoreFault> {
        let page = self.read(limit);
        // Nothing is delivered that another database has, which somebody has copied over the file.
        self.files.iter().try_for_each(|files| files.look_inside().map(drop))?;
        page
    }

    fn read(&mut self, limit: usize) -> std::result::Result<Option<InheritedPage>, StoreFault> {
        match &mut self.cursor {
            Cursor::Young { seq, hidden } => {
                let (hidden, mut damaged) = match hidden {
                    Some(hidden) => (hidden, Vec::new()),
                    None => {
                        let (found, named) = hidden_behind(&self.connection, self.progress)?;
                        (hidden.insert(found), named)
                    }
                };
                let part = young(&self.connection, *seq, hidden, limit)?;
                let (deliveries, next) = (part.deliveries, part.next);
                damaged.extend(part.damaged);
                if let Some(next) = next {
                    *seq = next;
                    return Ok(Some(InheritedPage { deliveries, damaged, complete: Complete::None }));
                }
                let hooks = match with_parked(&self.connection, self.progress) {
                    Err(error) if sums::is_damage(&error) => {
                        damaged.push(DamagedRow::new(EVENTS.table, "its index events_parked"));
                        Vec::new()
                    }
                    hooks => hooks?,
                };
                self.cursor = Cursor::Parked(hooks.iter().map(|hook| (*hook, 0)).collect());
                let complete = Complete::AllBut(hooks.into_iter().collect());
                Ok(Some(InheritedPage { deliveries, damaged, complete }))
            }
            Cursor::Parked(hooks) => {
                let (mut deliveries, mut damaged, mut complete) = (Vec::new(), Vec::new(), Vec::new());
                while deliveries.len() + damaged.len() < limit
                    && let Some((hook, seq)) = hooks.pop_front()
                {
                    let found = match parked(&self.connection, (hook, seq), self.progress, limit) {
                        Ok(found) => found,
                        Err(error) => {
                            tracing::error!(%error, hook = hook.0, "what is pending for a hook cannot be read");
                            self.fault = Some(error.into());
                            continue;
                        }
                    };
                    match found.next {
                        Some(next) => hooks.push_back((hook, next)),
                        None => complete.push(hook),
                    }
                    deliveries.extend(found.deliveries);
                    damaged.extend(found.damaged);
                }
                let is_end = deliveries.is_empty() && damaged.is_empty() && complete.is_empty();
                if let Some(fault) = self.fault.take_if(|_| is_end) {
                    return Err(fault);
                }
                let complete = Complete::Also(complete);
                Ok((!is_end).then_some(InheritedPage { deliveries, damaged, complete }))
            }
        }
    }
}

/// Rows that were read at once.
#[derive(Default)]
struct Part {
    deliveries: Vec<Ready>,
    damaged: Vec<DamagedRow>,
    /// The last row, if more may follow.
    next: Option<i64>,
}

/// Pending rows behind `seq`, behind which none is parked, and those that are `hidden`.
fn young(connection: &Connection, seq: i64, hidden: &str, limit: usize) -> Result<Part> {
    let mut statement = connection.prepare_cached(
        "SELECT hook, seq, chain, due, sequence, size, coalesce(freed_at, received_at) - paused_before \
         FROM events WHERE seq > ?1 AND (state = 0 OR seq IN (SELECT value FROM json_each(?3))) ORDER BY seq LIMIT ?2",
    )?;
    part(statement.query(params![seq, rows(limit), hidden])?, seq, limit)
}

/// The young rows that wait though their rows say otherwise, as a list in JSON and by name.
fn hidden_behind(connection: &Connection, progress: i64) -> Result<(String, Vec<DamagedRow>)> {
    let hidden = hidden_among(connection, (progress, i64::MAX))?;
    let ids: Vec<_> = hidden.iter().map(|id| id.0.to_string()).collect();
    let named = hidden.iter().map(|id| DamagedRow::new(EVENTS.table, &id.0));
    Ok((format!("[{}]", ids.join(",")), named.collect()))
}

/// Parked rows of a hook, behind the row `seq` and up to the row `progress`.
fn parked(connection: &Connection, (hook, seq): (HookId, i64), progress: i64, limit: usize) -> Result<Part> {
    let mut statement = connection.prepare_cached(
        "SELECT hook, seq, chain, due, sequence, size, coalesce(freed_at, received_at) - paused_before FROM events \
         WHERE parked = 1 AND hook = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
    )?;
    part(statement.query(params![hook.0, seq, progress, rows(limit)])?, seq, limit)
}

/// Reads what a statement finds behind the row `seq`. A row that cannot be read keeps no other waiting; rows behind a
/// damaged page of the file are not found.
fn part(mut rows: Rows<'_>, seq: i64, limit: usize) -> Result<Part> {
    let (mut part, mut last) = (Part::default(), seq);
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) if sums::is_damage(&error) => {
                part.damaged.push(DamagedRow::new(EVENTS.table, &format!("behind {last}")));
                return Ok(part);
            }
            Err(error) => return Err(error),
        };
        last = row.get(1)?;
        match ready(row) {
            Ok(ready) => part.deliveries.push(ready),
            Err(error) if sums::is_damage(&error) => part.damaged.push(DamagedRow::new(EVENTS.table, &last)),
            Err(error) => return Err(error),
        }
    }
    part.next = (part.deliveries.len() + part.damaged.len() == limit).then_some(last);
    Ok(part)
}

/// The hooks that have parked rows. From one to the next by the index: most rows are not looked at.
fn with_parked(connection: &Connection, progress: i64) -> Result<Vec<HookId>> {
    connection
        .prepare_cached(
            "WITH RECURSIVE hooks (hook) AS (\
             SELECT (SELECT min(hook) FROM events WHERE parked = 1) \
             UNION ALL \
             SELECT (SELECT min(hook) FROM events WHERE parked = 1 AND hook > hooks.hook) FROM hooks \
             WHERE hooks.hook IS NOT NULL) \
             SELECT hook FROM hooks WHERE hook IS NOT NULL AND EXISTS \
             (SELECT 1 FROM events WHERE parked = 1 AND events.hook = hooks.hook AND seq <= ?1)",
        )?
        .query_map([progress], |row| row.get(0).map(HookId))?
        .collect()
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn ready(row: &Row<'_>) -> Result<Ready> {
    Ok(Ready {
        hook: HookId(row.get(0)?),
        id: DeliveryId(row.get(1)?),
        chain: Chain(row.get(2)?),
        due: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
        sequence: row.get::<_, Option<i64>>(4)?.unwrap_or_default(),
        bytes: row.get::<_, i64>(5)?.try_into().unwrap_or(u32::MAX),
        ages_from: row.get::<_, Option<i64>>(6)?.map(UnixMillis),
        fresh: None,
    })
}
