//! Damaged rows of the store that were met: each is logged once, and counted by its table.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::calls::DamagedRow;

/// The tables whose rows are checked.
const TABLES: [&str; 4] = ["calls", "events", "hooks", "participants"];

/// At most so many rows are named and remembered; more are counted as often as they are met.
const NAMED: usize = 1000;

/// Which rows were met.
#[derive(Debug, Default)]
pub struct Damage {
    counts: [AtomicU64; TABLES.len()],
    named: Mutex<HashSet<DamagedRow>>,
}

impl Damage {
    /// Counts and logs a row that was not met before.
    pub fn found(&self, row: &DamagedRow) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(row) {
            return;
        }
        if let Some(at) = TABLES.iter().position(|table| *table == row.table) {
            self.counts[at].fetch_add(1, Ordering::Relaxed);
        }
        if named.len() < NAMED {
            named.insert(row.clone());
            tracing::error!(
                table = row.table,
                row = row.row.as_str(),
                "a stored row is damaged: what was altered is not used. `switchhook store check` finds all that is damaged, \
                 `switchhook store recover` saves the rest"
            );
        }
    }

    /// How many damaged rows of each table were met.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TABLES.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_row_is_counted_once_and_a_flood_of_them_takes_no_memory() {
        let damage = Damage::default();
        for row in (0..2 * NAMED).chain(0..NAMED) {
            damage.found(&DamagedRow::new("events", &row));
        }
        damage.found(&DamagedRow::new("calls", "RM_1"));
        let counts: Vec<_> = damage.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [("calls", 1), ("events", 2 * NAMED as u64)]);
        assert_eq!(damage.named.lock().expect("rows").len(), NAMED);
    }
}
