//! Where event bodies are stored: a ring of rows for young ones, a table for those that stay. Most bodies are
//! needed for milliseconds; overwriting a row of the ring in place saves the pages that an insert and a delete
//! would write.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::ids::DeliveryId;

/// Rows of the ring.
const RING: i64 = 1024;

/// Which rows of the ring are taken, and by which event. Changes are final after [`Self::commit`].
#[derive(Debug, Default)]
pub struct Bodies {
    taken: HashMap<i64, DeliveryId>,
    /// What [`Self::roll_back`] restores: the rows that the present transaction changed, as they were.
    undo: Vec<(i64, Option<DeliveryId>)>,
}

impl Bodies {
    /// Reads which rows the last run left taken. `hidden`: those of events whose rows do not say that they wait.
    pub fn recover(connection: &Connection, hidden: &[DeliveryId]) -> Result<Self> {
        let mut bodies = Self::default();
        bodies.taken.extend(hidden.iter().map(|id| (slot(*id), *id)));
        let mut taken = connection.prepare("SELECT seq FROM ring JOIN events USING (seq) WHERE state = 0")?;
        let mut taken = taken.query([])?;
        while let Some(row) = taken.next()? {
            let id = DeliveryId(row.get(0)?);
            bodies.taken.insert(slot(id), id);
        }
        Ok(bodies)
    }

    /// Stores the body of a new pending event: in the ring, if its row there is free.
    pub fn lend(&mut self, connection: &Connection, id: DeliveryId, body: &[u8]) -> Result<()> {
        if self.taken.contains_key(&slot(id)) {
            return Self::keep(connection, id, body);
        }
        self.set(slot(id), Some(id));
        connection
            .prepare_cached("INSERT OR REPLACE INTO ring (slot, seq, body) VALUES (?1, ?2, ?3)")?
            .execute(params![slot(id), id.0, body])
            .map(drop)
    }

    /// Stores a body in the table: of an event that has no hook, or whose row of the ring is taken.
    pub fn keep(connection: &Connection, id: DeliveryId, body: &[u8]) -> Result<()> {
        connection
            .prepare_cached("INSERT INTO bodies (seq, body) VALUES (?1, ?2)")?
            .execute(params![id.0, body])
            .map(drop)
    }

    /// Whether a body is in the table.
    pub fn is_kept(connection: &Connection, id: DeliveryId) -> Result<bool> {
        connection.prepare_cached("SELECT 1 FROM bodies WHERE seq = ?1")?.exists([id.0])
    }

    /// Moves a body from the ring to the table: its event has not been delivered soon.
    pub fn move_out(&mut self, connection: &Connection, id: DeliveryId) -> Result<()> {
        if self.taken.get(&slot(id)) != Some(&id) {
            return Ok(());
        }
        connection
            .prepare_cached("INSERT INTO bodies (seq, body) SELECT seq, body FROM ring WHERE slot = ?1")?
            .execute([slot(id)])?;
        connection.prepare_cached("DELETE FROM ring WHERE slot = ?1")?.execute([slot(id)])?;
        self.set(slot(id), None);
        Ok(())
    }

    /// Drops the body of a delivered event; whether there was one.
    pub fn discard(&mut self, connection: &Connection, id: DeliveryId) -> Result<bool> {
        if self.taken.get(&slot(id)) == Some(&id) {
            // The ring's row is not deleted: the next body is written over it, or `wipe` clears it.
            self.set(slot(id), None);
            return Ok(true);
        }
        let dropped = connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?.execute([id.0])?;
        Ok(dropped > 0)
    }

    /// Removes the body of an event wherever it is, also what the ring still has of a delivered one.
    pub fn erase(&mut self, connection: &Connection, id: DeliveryId) -> Result<()> {
        if self.taken.get(&slot(id)) == Some(&id) {
            self.set(slot(id), None);
        }
        connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?.execute([id.0])?;
        connection
            .prepare_cached("DELETE FROM ring WHERE slot = ?1 AND seq = ?2")?
            .execute([slot(id), id.0])
            .map(drop)
    }

    /// Wipes the bodies in the ring of events up to `progress`: those that are still pending have been moved to
    /// the table.
    pub fn wipe(connection: &Connection, progress: i64) -> Result<()> {
        connection.prepare_cached("DELETE FROM ring WHERE seq <= ?1")?.execute([progress]).map(drop)
    }

    /// Wipes the body of a delivered event from the ring, if it was not written over yet.
    pub fn wipe_one(connection: &Connection, id: DeliveryId) -> Result<()> {
        let wipe = "DELETE FROM ring WHERE slot = ?1 AND seq = ?2";
        connection.prepare_cached(wipe)?.execute(params![slot(id), id.0]).map(drop)
    }

    /// The body of an event, from the ring or the table.
    pub fn read(connection: &Connection, id: DeliveryId) -> Result<Option<Vec<u8>>> {
        let kept = connection
            .prepare_cached("SELECT body FROM bodies WHERE seq = ?1")?
            .query_row([id.0], |row| row.get(0))
            .optional()?;
        if kept.is_some() {
            return Ok(kept);
        }
        connection
            .prepare_cached("SELECT body FROM ring WHERE slot = ?1 AND seq = ?2")?
            .query_row(params![slot(id), id.0], |row| row.get(0))
            .optional()
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        self.undo.clear();
    }

    /// The transaction is rolled back.
    pub fn roll_back(&mut self) {
        while let Some((slot, before)) = self.undo.pop() {
            self.put(slot, before);
        }
    }

    fn set(&mut self, slot: i64, id: Option<DeliveryId>) {
        let before = self.put(slot, id);
        self.undo.push((slot, before));
    }

    fn put(&mut self, slot: i64, id: Option<DeliveryId>) -> Option<DeliveryId> {
        match id {
            Some(id) => self.taken.insert(slot, id),
            None => self.taken.remove(&slot),
        }
    }
}

/// An event's row in the ring.
fn slot(id: DeliveryId) -> i64 {
    id.0 % RING
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    fn count(store: &Connection, table: &str) -> i64 {
        store.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a number")
    }

    #[test]
    fn a_body_is_found_until_nobody_wants_it_wherever_it_lies() {
        let (store, mut bodies) = (in_memory(), Bodies::default());
        let (first, same_slot, second) = (DeliveryId(1), DeliveryId(1 + RING), DeliveryId(2));
        for (id, body) in [(first, "a"), (same_slot, "b"), (second, "c")] {
            bodies.lend(&store, id, body.as_bytes()).expect("stored");
        }
        let read = |id| Bodies::read(&store, id).expect("readable");
        let found = [first, same_slot, second].map(read);
        assert_eq!(found, ["a", "b", "c"].map(|body| Some(body.into())));
        assert_eq!((count(&store, "ring"), count(&store, "bodies")), (2, 1));
        bodies.move_out(&store, first).expect("moved");
        bodies.discard(&store, same_slot).expect("discarded");
        bodies.discard(&store, second).expect("discarded");
        assert_eq!((read(first), read(same_slot)), (Some("a".into()), None));
        // Its slot is free again, and so is the other one's.
        bodies.lend(&store, DeliveryId(1 + 2 * RING), b"d").expect("stored");
        Bodies::wipe(&store, 2).expect("wiped");
        assert_eq!((count(&store, "ring"), count(&store, "bodies")), (1, 1));
    }

    #[test]
    fn what_is_rolled_back_took_no_slot_and_freed_none() {
        let (store, mut bodies) = (in_memory(), Bodies::default());
        bodies.lend(&store, DeliveryId(1), b"a").expect("stored");
        bodies.commit();
        let before = bodies.taken.clone();
        bodies.discard(&store, DeliveryId(1)).expect("discarded");
        bodies.lend(&store, DeliveryId(1 + RING), b"b").expect("stored");
        bodies.lend(&store, DeliveryId(2), b"c").expect("stored");
        bodies.roll_back();
        assert_eq!(bodies.taken, before);
    }
}
