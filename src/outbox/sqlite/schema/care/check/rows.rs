//! Rows: whether what waits has its body, and whether what is sealed opens.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

use super::super::super::super::hooks;
use super::finding::{DatabaseFinding, NAMED, RECOVER};
use crate::ids::DeliveryId;
use crate::registry::{BodySealer, Vault};
use crate::route;
use crate::signature::MasterSecret;

/// Sealed bodies that are opened in one reading.
const PART: usize = 64;

/// Events that wait and have no body.
pub fn without_body(store: &Connection) -> Result<Vec<DatabaseFinding>> {
    let sql = format!(
        "SELECT seq, id, coalesce(call, room, '-') FROM events WHERE state NOT IN (1, 2) \
         AND NOT EXISTS (SELECT 1 FROM bodies WHERE bodies.seq = events.seq) \
         AND NOT EXISTS (SELECT 1 FROM ring WHERE ring.seq = events.seq) \
         AND seq NOT IN (SELECT seq FROM kept_bodies) ORDER BY seq LIMIT {}",
        NAMED + 1
    );
    let finding = |row: &rusqlite::Row<'_>| {
        Ok(DatabaseFinding {
            table: Some("bodies".to_owned()),
            row: Some(row.get(0)?),
            key: None,
            found: "its body is not there".to_owned(),
            means: format!(
                "{} of {} cannot be delivered",
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?
            ),
            fix: RECOVER.to_owned(),
        })
    };
    store.prepare(&sql)?.query_map([], finding)?.collect()
}

/// Hooks in force whose settings do not open.
pub fn sealed_hooks(store: &Connection, master: &MasterSecret) -> Result<Vec<DatabaseFinding>> {
    let vault = Vault::new(master, HashMap::new());
    let unreadable = hooks::sealed(store)?.into_iter().filter_map(|(id, host, sealed)| {
        let why = vault.open(id, Some(&sealed)).err()?;
        Some(DatabaseFinding {
            table: Some("hooks".to_owned()),
            row: Some(id.0),
            key: None,
            found: why.to_string(),
            means: format!("the hook of {host} is not in force with this master secret"),
            fix: why.fix().to_owned(),
        })
    });
    Ok(unreadable.collect())
}

/// Bodies of delivered events that do not open.
pub fn sealed_bodies(store: &Connection, master: &MasterSecret) -> Result<Vec<DatabaseFinding>> {
    let sealer = BodySealer::new(master);
    let (mut after, mut found) = (0, Vec::new());
    while let Some(last) = sealed_part(store, &sealer, after, &mut found)? {
        after = last;
    }
    Ok(found)
}

/// Opens the next bodies; the row of the last one, none if there are no more.
fn sealed_part(
    store: &Connection,
    sealer: &BodySealer,
    after: i64,
    found: &mut Vec<DatabaseFinding>,
) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT kept_bodies.seq, id, coalesce(events.call, room, '-'), body FROM kept_bodies JOIN events USING (seq) \
         WHERE kept_bodies.seq > ?1 ORDER BY kept_bodies.seq LIMIT {PART}"
    );
    let mut rows = store.prepare_cached(&sql)?;
    let (mut rows, mut last) = (rows.query([after])?, None);
    while let Some(row) = rows.next()? {
        let (seq, id): (i64, String) = (row.get(0)?, row.get(1)?);
        last = Some(seq);
        let sealed = row.get_ref(3)?.as_blob()?;
        if sealer.open(DeliveryId(seq), route::name(&id), sealed).is_none() && found.len() <= NAMED {
            found.push(DatabaseFinding {
                table: Some("kept_bodies".to_owned()),
                row: Some(seq),
                key: None,
                found: "another master secret sealed its body, or it was altered".to_owned(),
                means: format!("{id} of {} cannot be sent again", row.get::<_, String>(2)?),
                fix: "give the master secret that sealed it as a second line; if it was altered, nothing brings it back"
                    .to_owned(),
            });
        }
    }
    Ok(last)
}
