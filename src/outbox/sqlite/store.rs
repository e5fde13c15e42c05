//! The engine: what is loaded and committed over the connection that writes.

mod log;

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use self::log::LogKeeper;
use super::digest::usage::Usage;
use super::events::Bodies;
use super::events::state::hidden_in_ring;
use super::schema::{InPlace, Predecessor, sums};
use super::sessions::numbers;
use super::sweep::erasure;
use super::{audit, digest, events, hooks, load, schema, sessions, sweep};
use crate::calls::{Change, Keys, Loaded};
use crate::delivery::DeadReason;
use crate::outbox::engine::{Engine, StoreFault};
use crate::registry::QuerySealer;
use crate::telemetry::TenantTraffic;

/// The connection that writes.
pub struct Sqlite {
    // The first field, since fields are dropped in order: its thread ends before the connection is closed.
    log: LogKeeper,
    connection: Connection,
    in_place: InPlace,
    bodies: Bodies,
    usage: Usage,
    queries: Arc<QuerySealer>,
    /// A transaction has begun: see [`Self::begin`]. Before a commit, only a load begins one.
    has_begun: bool,
    /// The database this one took over from, while its history is copied.
    predecessor: Option<Predecessor>,
}

impl Sqlite {
    /// Opens the database; that of an older release is taken over.
    ///
    /// # Errors
    /// [`StoreFault`] when the file cannot be used, or belongs to a newer version.
    pub fn open(directory: &Path) -> Result<Self, StoreFault> {
        let mut connection = schema::open_writer(directory)?;
        let bodies = Bodies::recover(&connection, &hidden_in_ring(&connection)?)?;
        let predecessor = Predecessor::open(directory, &connection)?;
        let in_place = InPlace::new(directory, &connection)?;
        let (usage, queries) = (Usage::default(), Arc::default());
        let log = LogKeeper::of(directory, &mut connection)?;
        Ok(Self { log, connection, in_place, bodies, usage, queries, has_begun: false, predecessor })
    }

    /// Also counts what tenants use in these counters.
    pub fn show_usage(&mut self, traffic: Arc<TenantTraffic>) {
        self.usage = Usage::showing(traffic);
    }

    /// Seals queries of URLs from here on, and those that an older release stored of hooks.
    pub fn seal_queries(&mut self, queries: Arc<QuerySealer>) {
        self.queries = queries;
        if let Err(error) = hooks::seal_queries(&self.connection, &self.queries) {
            tracing::warn!(%error, "queries of hooks' URLs are sealed at the next start");
        }
    }

    /// For what is read before anything is written.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins the transaction of the next commit, unless it has begun. What deciding needs is read within it: reads
    /// on their own would each lock and unlock the file.
    fn begin(&mut self) -> rusqlite::Result<()> {
        if !self.has_begun {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.has_begun = true;
        }
        Ok(())
    }

    /// Stores changes. Damaged deliveries may lie where nothing can be written: then they stay pending, and the rest is
    /// stored. (After it has met a damaged page SQLite writes nothing more in that transaction.)
    fn write(&mut self, changes: &[&[Change]]) -> rusqlite::Result<()> {
        match self.write_those(changes, |_| true) {
            Err(error)
                if sums::is_damage(&error) && changes.iter().copied().flatten().any(gives_up_damaged) =>
            {
                tracing::error!(%error, "damaged deliveries cannot be made dead letters");
                self.take_back();
                self.write_those(changes, |change| !gives_up_damaged(change))
            }
            written => written,
        }
    }

    fn write_those(
        &mut self,
        changes: &[&[Change]],
        is_meant: impl Fn(&Change) -> bool,
    ) -> rusqlite::Result<()> {
        self.begin()?;
        for change in changes.iter().copied().flatten().filter(|change| is_meant(change)) {
            match change {
                Change::HistoryCopied(part) => {
                    self.predecessor.iter().try_for_each(|old| old.copy(&self.connection, *part))?;
                }
                _ => apply(&self.connection, (&mut self.bodies, &mut self.usage), &self.queries, change)?,
            }
        }
        self.usage.write(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.has_begun = false;
        Ok(())
    }

    /// Takes the transaction back, if one has begun.
    fn roll_back(&mut self) {
        if std::mem::take(&mut self.has_begun) {
            // After some faults SQLite has rolled back by itself.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Takes the transaction back, with what memory has of it.
    fn take_back(&mut self) {
        self.roll_back();
        self.bodies.roll_back();
        self.usage.roll_back();
    }

    /// Closes the database before, once its history is copied.
    fn let_go(&mut self, changes: &[&[Change]]) {
        let is_last = |change: &Change| matches!(change, Change::HistoryCopied(part) if part.is_last);
        if self.predecessor.is_some() && changes.iter().copied().flatten().any(is_last) {
            self.predecessor = None;
        }
    }
}

impl Engine for Sqlite {
    fn check(&mut self) -> Result<bool, StoreFault> {
        let is_known = self.in_place.is_displaced();
        let Err(displaced) = self.in_place.look() else { return Ok(false) };
        // A file that was cut off, or is another one, must not be filled from the log.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // At first an error like any other: no request waits while a large database is written back.
        if displaced.is_final() {
            self.in_place.give_up();
        }
        if !is_known || displaced.is_final() {
            return Err(displaced.into());
        }
        self.roll_back();
        self.connection = self.in_place.write_back(&self.connection, displaced)?;
        self.log.follow(&mut self.connection)?;
        Ok(true)
    }

    fn load(&mut self, keys: &Keys) -> Result<Loaded, StoreFault> {
        // A store that takes nothing may still be read: then each read stands alone.
        let _ = self.begin();
        let loaded = load(&self.connection, keys, &self.queries).map_err(StoreFault::from);
        // Nothing is decided by the rows of another database, and those may also be why the read fails.
        let loaded = self.in_place.look_after_read().map_err(StoreFault::from).and(loaded);
        if loaded.is_err() {
            self.roll_back();
        }
        loaded
    }

    fn commit(&mut self, changes: &[&[Change]]) -> Result<(), StoreFault> {
        if let Err(displaced) = self.in_place.look_before_commit(self.has_begun) {
            self.roll_back();
            return Err(displaced.into());
        }
        match self.write(changes) {
            Ok(()) => {
                self.bodies.commit();
                self.usage.commit();
                self.let_go(changes);
                // What was committed to a file that is gone from its path is not durable; it is committed again.
                Ok(self.in_place.look_after_commit()?)
            }
            Err(error) => {
                self.take_back();
                // What has become of the file may be why SQLite errs.
                self.in_place.look()?;
                Err(error.into())
            }
        }
    }

    fn rest(&mut self) {
        self.roll_back();
    }

    fn tidy(&mut self, closing: bool) {
        if self.in_place.is_displaced() {
            return;
        }
        if !closing {
            return self.log.tend(&self.connection);
        }
        // An empty log makes the next start quick.
        self.log.end();
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// Whether a change makes a damaged delivery a dead letter.
fn gives_up_damaged(change: &Change) -> bool {
    matches!(change, Change::GivenUp(given_up) if given_up.reason == DeadReason::Damaged)
}

/// Stores one change.
fn apply(
    connection: &Connection,
    (bodies, usage): (&mut Bodies, &mut Usage),
    queries: &QuerySealer,
    change: &Change,
) -> rusqlite::Result<()> {
    match change {
        Change::EventAdded(event) => events::add(connection, bodies, queries, event),
        Change::EventFreed(freed) => {
            usage.recount(connection, freed.id, || events::free(connection, queries, freed))
        }
        Change::EventStays { id, session, reason, tenant, place: _ } => {
            let stay = || events::stay(connection, *id, session, *reason, tenant.as_ref());
            usage.recount(connection, *id, stay)
        }
        Change::HoldEnded(ids) => events::end_hold(connection, ids),
        Change::Attempted(settlement) => {
            let settle = || events::settle(connection, bodies, settlement);
            usage.recount(connection, settlement.delivery, settle)
        }
        Change::GivenUp(given_up) => events::give_up(connection, bodies, *given_up),
        Change::PutRight(put_right) => events::state::put_right(connection, *put_right),
        Change::LetterRevived { replay, at } => events::revive(connection, *replay, *at),
        Change::CallBegun { session, room, sip, at, space, bound } => {
            let owner = (space.as_ref(), bound.as_ref());
            sessions::begin(connection, queries, session, room.as_deref(), (*sip, *at), owner)
        }
        Change::CallSeen { session, at } => sessions::see(connection, session, *at),
        Change::CallBound { session, bound, participant } => {
            sessions::bind(connection, queries, session, bound, participant.as_deref())
        }
        Change::CallHasSip { session } => sessions::has_sip(connection, session),
        Change::CallShared { session } => sessions::share(connection, session),
        Change::CallFinished { session, at } => sessions::finish(connection, session, *at),
        Change::ParticipantPlaced { session, participant, placement, tenant, space } => sessions::place(
            connection,
            queries,
            session,
            participant,
            placement,
            (tenant.as_ref(), space.as_ref()),
        ),
        Change::NumberCalled(called) => numbers::called(connection, called),
        Change::Hook(change) => hooks::edit(connection, queries, change),
        Change::HookPaused { hook, at, by } => hooks::pause(connection, *hook, *at, *by),
        Change::HookResumed { hook, paused_ms } => hooks::resume(connection, *hook, *paused_ms),
        Change::SecretRotated { tenant, generation, at } => {
            hooks::rotate(connection, tenant, *generation, *at)
        }
        Change::TenantRevoked { tenant, at } => audit::revoke_tenant(connection, tenant, *at),
        Change::TokenRevoked { jti, expires_at, at } => {
            audit::revoke_token(connection, jti, *expires_at, *at)
        }
        Change::Audited(entry) => audit::add(connection, entry),
        // Needs the database before: see `write`.
        Change::HistoryCopied(_) => Ok(()),
        Change::Digested(part) => digest::run(connection, usage, *part),
        Change::ErasureBegun { tenant, at, event, record } => {
            erasure::begin(connection, tenant, *at, *event, *record)
        }
        Change::Erased(part) => erasure::run(connection, bodies, part),
        Change::Swept { sweep, numbers, complete } => {
            sweep::run(connection, (bodies, usage), sweep, numbers, *complete)
        }
    }
}

#[cfg(test)]
mod in_place_tests;
#[cfg(test)]
mod stored;
#[cfg(test)]
mod tests;
