//! The contract of engines, and this engine's own devices.

use tempfile::TempDir;

use super::Sqlite;
use crate::calls::Known;
use crate::outbox::engine::contract::{Kept, contract};
use crate::outbox::sqlite::{last_id, pauses, recover};

impl Kept for TempDir {
    type Engine = Sqlite;

    fn new() -> Self {
        tempfile::tempdir().expect("a folder")
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(self.path()).expect("a database")
    }

    fn known(engine: &Sqlite) -> Known {
        let connection = engine.connection();
        let last_id = last_id(connection).expect("an id");
        Known::new(last_id, pauses(connection).expect("pauses"), recover(connection).expect("numbers"))
    }

    fn while_it_refuses(&self, attempt: impl FnOnce()) {
        let other = self.open();
        other.connection().execute_batch("BEGIN IMMEDIATE").expect("the write lock");
        attempt();
    }
}

contract!(tempfile::TempDir);
