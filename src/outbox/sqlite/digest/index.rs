//! An index of events by tenant, host, call and room's name, filled in the background.
//!
//! A usual index is sorted by its key, so that each new entry dirties another page. This one is sorted by segments of
//! rows first: all that is entered at a time falls onto a few pages, and a reader looks into each segment.

use std::ops::RangeInclusive;

use rusqlite::{CachedStatement, Connection, Result, Row};

/// Bits of a row's place in its segment.
const PLACE_BITS: u32 = 12;

/// Bits of a key's hash: in a segment about one key in a thousand shares its hash with another.
const HASH_BITS: u32 = 22;

/// Rows of a segment.
pub const SEGMENT: i64 = 1 << PLACE_BITS;

/// A tenant and a host have one entry for a block of so many rows, and a call one for each of its rows.
const BLOCK: i64 = 64;

/// What rows are found by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EventKey {
    hash: i64,
    /// How many rows an entry stands for.
    rows: i64,
}

impl EventKey {
    /// A tenant's events.
    pub fn tenant(name: &str) -> Self {
        Self { hash: hash(b't', name), rows: BLOCK }
    }

    /// The events of a hook's host.
    pub fn host(host: &str) -> Self {
        Self { hash: hash(b'h', host), rows: BLOCK }
    }

    /// A session's events, by its key; those that know only their room's name, by that.
    pub fn call(key: &str) -> Self {
        Self { hash: hash(b'c', key), rows: 1 }
    }

    /// The events that begin and end sessions of a room's name.
    pub fn room(name: &str) -> Self {
        Self { hash: hash(b'r', name), rows: 1 }
    }

    /// The entry of a row.
    fn entry(self, seq: i64) -> i64 {
        let place = seq % SEGMENT / self.rows * self.rows;
        self.first_entry(seq / SEGMENT) | place
    }

    fn first_entry(self, segment: i64) -> i64 {
        (segment << HASH_BITS | self.hash) << PLACE_BITS
    }
}

/// FNV-1a (64 bits), folded. Part of the database's format: never changed.
fn hash(kind: u8, key: &str) -> i64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let full = key.bytes().fold(mix(0xcbf2_9ce4_8422_2325, kind), mix);
    let folded = (full >> HASH_BITS ^ full) & ((1 << HASH_BITS) - 1);
    i64::try_from(folded).unwrap_or_default()
}

/// The rows that an entry may stand for.
pub fn rows_of(entry: i64) -> RangeInclusive<i64> {
    let first = segment_of(entry) * SEGMENT + entry % SEGMENT;
    // Only blocks of tenants and hosts begin there; an entry of a call is taken for one, which keeps it a little longer.
    let rows = if first % BLOCK == 0 { BLOCK } else { 1 };
    first..=first + rows - 1
}

/// The segment of an entry.
pub fn segment_of(entry: i64) -> i64 {
    entry >> (HASH_BITS + PLACE_BITS)
}

/// Finds the rows of keys.
pub struct Finder<'c>(CachedStatement<'c>);

impl<'c> Finder<'c> {
    pub fn new(connection: &'c Connection) -> Result<Self> {
        let sql = "SELECT entry FROM event_keys WHERE entry BETWEEN ?1 AND ?2";
        connection.prepare_cached(sql).map(Self)
    }

    /// The rows of a segment that may have this key.
    pub fn find(&mut self, segment: i64, key: EventKey, found: &mut Vec<(i64, i64)>) -> Result<()> {
        let first = key.first_entry(segment);
        let mut entries = self.0.query([first, first + SEGMENT - 1])?;
        while let Some(entry) = entries.next()? {
            let place = entry.get::<_, i64>(0)? % SEGMENT;
            // No block begins elsewhere: this is an entry of a call with the same hash.
            if place % key.rows == 0 {
                let seq = segment * SEGMENT + place;
                found.push((seq, seq + key.rows - 1));
            }
        }
        Ok(())
    }
}

/// Enters the rows behind `after`, up to `up_to`.
pub fn enter(connection: &Connection, after: i64, up_to: i64) -> Result<()> {
    let mut entries = Vec::new();
    let mut rows = connection.prepare_cached(
        "SELECT seq, coalesce(call, room), iif(call IS NOT NULL AND event IN ('room_started', 'room_finished'), room, \
         NULL), hooks.tenant, hooks.host FROM events LEFT JOIN hooks ON hooks.id = hook WHERE seq > ?1 AND seq <= ?2",
    )?;
    let mut rows = rows.query([after, up_to])?;
    while let Some(row) = rows.next()? {
        entries_of(row, &mut entries)?;
    }
    entries.sort_unstable();
    entries.dedup();
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO event_keys VALUES (?1)")?;
    entries.into_iter().try_for_each(|entry| insert.execute([entry]).map(drop))
}

fn entries_of(row: &Row<'_>, entries: &mut Vec<i64>) -> Result<()> {
    let seq = row.get(0)?;
    let kinds: [fn(&str) -> EventKey; 4] = [EventKey::call, EventKey::room, EventKey::tenant, EventKey::host];
    for (column, kind) in (1..).zip(kinds) {
        let key = row.get_ref(column)?.as_str_or_null()?;
        entries.extend(key.map(|key| kind(key).entry(seq)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    fn found(store: &Connection, segment: i64, key: EventKey) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        Finder::new(store).expect("a statement").find(segment, key, &mut found).expect("read");
        found
    }

    #[test]
    fn a_hash_is_what_it_was_with_the_first_release() {
        let hashes = [hash(b't', "acme"), hash(b'c', ""), hash(b'h', "calls.acme.example")];
        assert_eq!(hashes, [3_332_599, 3_726_826, 1_609_741]);
    }

    #[test]
    fn an_entry_of_a_call_that_shares_a_tenants_hash_is_no_block_of_the_tenant() {
        let store = in_memory();
        let (call, tenant) = (EventKey::call("RM_vUnW@acme"), EventKey::tenant("globex"));
        assert_eq!(call.hash, tenant.hash);
        for entry in [call.entry(100), tenant.entry(170)] {
            store.execute("INSERT INTO event_keys VALUES (?1)", [entry]).expect("an entry");
        }
        assert_eq!(found(&store, 0, tenant), [(128, 191)]);
    }

    #[test]
    fn a_tenant_pays_once_a_block_and_a_call_once_an_event() {
        let store = in_memory();
        let sql = "INSERT INTO hooks (id, host, tenant, url, layer, version) \
                   VALUES (1, 'a.example', 'acme', 'https://a', 'file', 1)";
        store.execute(sql, []).expect("a hook");
        for seq in 1..=200 {
            let sql = "INSERT INTO events (seq, id, event, call, room, received_at, outcome, size, state, hook) \
                       VALUES (?1, 'EV_' || ?1, 'room_started', 'RM_1', 'r', 1, 'domain', 9, 1, 1)";
            store.execute(sql, [seq]).expect("a row");
        }
        enter(&store, 0, 200).expect("entered");
        enter(&store, 100, 200).expect("entered again");
        let blocks = [(0, 63), (64, 127), (128, 191), (192, 255)];
        assert_eq!(found(&store, 0, EventKey::tenant("acme")), blocks);
        assert_eq!(found(&store, 0, EventKey::host("a.example")), blocks);
        let rows: Vec<_> = (1..=200).map(|seq| (seq, seq)).collect();
        assert_eq!(found(&store, 0, EventKey::call("RM_1")), rows);
        assert_eq!(found(&store, 0, EventKey::room("r")), rows);
        assert_eq!(found(&store, 1, EventKey::call("RM_1")), []);
        assert_eq!(found(&store, 0, EventKey::call("r")), []);
    }
}
