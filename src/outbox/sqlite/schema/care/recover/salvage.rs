//! Reads rows from all pages of a damaged database and stores each in the table that it fits.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, Result, params_from_iter};

use super::super::progress::Progress;
use super::pages::Pages;
use super::record::{Cell, cells};
use super::report::SavedTable;
use super::shapes::{Shape, Shapes};

/// Pages between two reports of how far it is.
const REPORTED: u32 = 256;

/// The index that has the id of each event beside its row's number.
const IDS: &str = "events_id";

/// What is read, and where it is stored.
pub struct Salvage<'s> {
    store: &'s Connection,
    shapes: Shapes,
    saved: BTreeMap<String, usize>,
    pub unreadable_rows: usize,
    pub unreadable_pages: usize,
}

impl<'s> Salvage<'s> {
    /// Into a database with this release's tables, in a transaction.
    pub fn new(store: &'s Connection) -> Result<Self> {
        let shapes = Shapes::of(store)?;
        // What a new database begins with would stand in the way of what was read.
        store.execute_batch(
            "DELETE FROM progress; DELETE FROM overwritten; CREATE TABLE named (row INTEGER PRIMARY KEY, id TEXT)",
        )?;
        store.set_prepared_statement_cache_capacity(64);
        Ok(Self { store, shapes, saved: BTreeMap::new(), unreadable_rows: 0, unreadable_pages: 0 })
    }

    /// Reads all pages, from the first to the last.
    ///
    /// # Errors
    /// When the new database cannot be written.
    pub fn read(&mut self, pages: &Pages, progress: Progress<'_>) -> Result<()> {
        let free = pages.free();
        self.unreadable_pages += pages.unusable_frames();
        for number in (1..=pages.count).filter(|number| !free.contains(number)) {
            if number % REPORTED == 0 {
                progress(u64::from(number) * 4096, u64::from(pages.count) * 4096);
            }
            let Ok(page) = pages.page(number) else {
                self.unreadable_pages += 1;
                continue;
            };
            for cell in cells(pages, number, &page) {
                self.take(cell)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, cell: Option<Cell>) -> Result<()> {
        let Some(cell) = cell else {
            self.unreadable_rows += 1;
            return Ok(());
        };
        match self.shapes.find(&cell) {
            None if is_sqlites(&cell) => {}
            None => self.unreadable_rows += 1,
            Some(shape) if shape.name == IDS => self.name(&cell)?,
            Some(shape) if shape.is_index => {}
            Some(shape) => {
                let stored = self.store(shape, cell)?;
                *self.saved.entry(shape.name.clone()).or_default() += stored;
            }
        }
        Ok(())
    }

    /// Stores a row, unless the table has one with its key or refuses what is in it.
    fn store(&self, shape: &Shape, cell: Cell) -> Result<usize> {
        let Some(insert) = shape.insert(&cell) else { return Ok(0) };
        self.store.prepare_cached(insert)?.execute(params_from_iter(shape.values(cell)))
    }

    fn name(&self, cell: &Cell) -> Result<()> {
        let insert = "INSERT OR IGNORE INTO named (id, row) VALUES (?1, ?2)";
        self.store.prepare_cached(insert)?.execute(params_from_iter(&cell.values)).map(drop)
    }

    /// How much of each table was stored. `had`: of how many rows.
    ///
    /// # Errors
    /// When the new database cannot be read.
    pub fn saved(&self, had: &dyn Fn(&str) -> Option<usize>) -> Result<Vec<SavedTable>> {
        let of = |shape: &Shape| {
            let (table, had) = (shape.name.clone(), had(&shape.name));
            SavedTable { saved: self.saved.get(&table).copied().unwrap_or(0), table, had }
        };
        Ok(self.shapes.tables().map(of).collect())
    }
}

/// A row of a table that SQLite keeps for itself: these have texts where ours have their row's number.
fn is_sqlites(cell: &Cell) -> bool {
    cell.row.is_some() && matches!(cell.values.first(), Some(Value::Text(_)))
}
