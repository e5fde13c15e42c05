//! Live calls for the benchmark, which knows no SQL.

use std::path::Path;

use rusqlite::{Connection, Result};

use super::calls::Calls;
use super::{StoreFault, schema};
use crate::route::{Binding, Call};
use crate::time::UnixMillis;

/// Calls that are bound, in memory and in a database.
pub struct Live {
    calls: Calls,
    connection: Connection,
}

impl Live {
    /// `count` calls, bound in turn by callers of these hooks.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn begin(
        directory: &Path,
        bindings: &[Binding],
        sessions: impl Iterator<Item = String>,
    ) -> std::result::Result<Self, StoreFault> {
        let mut live =
            Self { calls: Calls::default(), connection: schema::open_writer(&directory.join("calls.db"))? };
        live.connection.execute_batch("BEGIN")?;
        for (session, binding) in sessions.zip(bindings.iter().cycle()) {
            let caller = session.replace("RM_", "PA_");
            let bound = Some((binding, Some(&*caller)));
            live.calls.begin(&live.connection, &session, (Some(&session), true), UnixMillis(0), bound)?;
        }
        live.connection.execute_batch("COMMIT")?;
        live.calls.commit();
        Ok(live)
    }

    /// What is known of a session.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find(&mut self, session: &str) -> Result<Option<&Call>> {
        self.calls.find(&self.connection, session)
    }
}
