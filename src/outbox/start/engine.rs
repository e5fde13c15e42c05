//! The engine of a router: SQLite, or as long as the database cannot be written, what can be read of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::calls::{Change, Keys, Loaded};
use crate::outbox::engine::{Engine, StoreFault};
use crate::outbox::sqlite::{self, FoundDatabase, Opening, ReadStore, Sqlite, Store};
use crate::registry::QuerySealer;
use crate::telemetry::TenantTraffic;

/// The store's file, opened as far as it can be.
pub struct StoreEngine {
    directory: PathBuf,
    state: State,
    /// Where the use of the store by tenants is counted.
    traffic: Option<Arc<TenantTraffic>>,
    /// What seals queries of URLs.
    queries: Arc<QuerySealer>,
}

enum State {
    Whole(Box<Sqlite>),
    Reading(Reading),
}

/// A database that can be read.
struct Reading {
    /// None: it could not be opened again.
    store: Option<ReadStore>,
    found: FoundDatabase,
}

impl StoreEngine {
    /// Opens the database in a directory. If that can be read only: why, beside the engine.
    ///
    /// # Errors
    /// When it can be neither written nor read: why it cannot be written.
    pub fn open(directory: &Path) -> Result<(Self, Option<StoreFault>), StoreFault> {
        let (state, fault) = match Sqlite::open(directory) {
            Ok(engine) => (State::Whole(Box::new(engine)), None),
            Err(fault) => {
                let (reading, fault) = read_instead(directory, sqlite::explained(fault, directory))?;
                (State::Reading(reading), Some(fault))
            }
        };
        Ok((Self { directory: directory.to_owned(), state, traffic: None, queries: Arc::default() }, fault))
    }

    /// Also counts what tenants use in these counters.
    pub fn show_usage(&mut self, traffic: Arc<TenantTraffic>) {
        if let State::Whole(engine) = &mut self.state {
            engine.show_usage(Arc::clone(&traffic));
        }
        self.traffic = Some(traffic);
    }

    /// Seals queries of URLs from here on, and those that an older release stored of hooks.
    pub fn seal_queries(&mut self, queries: Arc<QuerySealer>) {
        if let State::Whole(engine) = &mut self.state {
            engine.seal_queries(Arc::clone(&queries));
        }
        self.queries = queries;
    }

    /// For what is read at the start, before anything is written.
    ///
    /// # Errors
    /// When the database cannot be read any more.
    pub fn store(&self) -> Result<&Store, StoreFault> {
        match &self.state {
            State::Whole(engine) => Ok(engine.connection()),
            State::Reading(Reading { store, .. }) => store.as_deref().ok_or(StoreFault::Away),
        }
    }

    /// Opens the database for writing, if that can be done now.
    fn open_whole(&mut self) -> Result<&mut Sqlite, StoreFault> {
        if let State::Reading(Reading { store, found }) = &mut self.state {
            drop(store.take());
            match open_to_write(&self.directory, found) {
                Ok(mut engine) => {
                    engine.seal_queries(Arc::clone(&self.queries));
                    self.traffic.iter().for_each(|traffic| engine.show_usage(Arc::clone(traffic)));
                    self.state = State::Whole(Box::new(engine));
                }
                Err(fault) => {
                    *store = sqlite::open_reader(&sqlite::database(&self.directory)).ok();
                    store.iter().for_each(|store| found.is_read_through(store));
                    return Err(fault);
                }
            }
        }
        match &mut self.state {
            State::Whole(engine) => Ok(engine),
            State::Reading(_) => Err(StoreFault::Away),
        }
    }
}

/// A store that cannot be written is read, if that may change.
fn read_instead(directory: &Path, fault: StoreFault) -> Result<(Reading, StoreFault), StoreFault> {
    if !fault.may_end() {
        return Err(fault);
    }
    let found = FoundDatabase::at(directory);
    match found.and_then(|found| Ok((found, sqlite::begin_to_read(directory)?))) {
        Ok((mut found, store)) => {
            found.is_read_through(&store);
            Ok((Reading { store: Some(store), found }, fault))
        }
        Err(read) => Err(unreadable(fault, read)),
    }
}

/// A store that can neither be written nor read.
pub fn unreadable(written: StoreFault, read: StoreFault) -> StoreFault {
    StoreFault::Unreadable { written: Box::new(written), read: Box::new(read) }
}

fn open_to_write(directory: &Path, found: &mut FoundDatabase) -> Result<Sqlite, StoreFault> {
    let opening = Opening::begin(&sqlite::database(directory)).ok_or(StoreFault::Away)?;
    found.look()?;
    let engine = Sqlite::open(directory).map_err(|fault| found.explain(fault))?;
    opening.succeed();
    Ok(engine)
}

impl Engine for StoreEngine {
    fn load(&mut self, keys: &Keys) -> Result<Loaded, StoreFault> {
        let loaded = match &mut self.state {
            State::Whole(engine) => engine.load(keys),
            State::Reading(_) => self.store().and_then(|store| Ok(sqlite::load(store, keys, &self.queries)?)),
        };
        loaded.map_err(|fault| sqlite::explained(fault, &self.directory))
    }

    fn commit(&mut self, changes: &[&[Change]]) -> Result<(), StoreFault> {
        let committed = self.open_whole().and_then(|engine| engine.commit(changes));
        committed.map_err(|fault| sqlite::explained(fault, &self.directory))
    }

    fn check(&mut self) -> Result<bool, StoreFault> {
        match &mut self.state {
            State::Whole(engine) => engine.check().map_err(|fault| sqlite::explained(fault, &self.directory)),
            State::Reading(_) => Ok(false),
        }
    }

    fn rest(&mut self) {
        if let State::Whole(engine) = &mut self.state {
            engine.rest();
        }
    }

    fn tidy(&mut self, closing: bool) {
        if let State::Whole(engine) = &mut self.state {
            engine.tidy(closing);
        }
    }
}

impl Drop for StoreEngine {
    fn drop(&mut self) {
        if let State::Reading(Reading { store, .. }) = &mut self.state {
            drop(store.take());
            sqlite::end_to_read(&sqlite::database(&self.directory));
        }
    }
}
