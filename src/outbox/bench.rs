//! Live calls for the benchmark.

use std::sync::Arc;

use bytes::Bytes;

use crate::calls::{Ground, Known, Post, Received, decide};
use crate::delivery::Fresh;
use crate::hooks::HookTable;
use crate::ids::BodyHash;
use crate::route::{Call, Door};
use crate::time::{Moment, UnixMillis};

/// Calls that are bound, in memory.
#[derive(Default)]
pub struct Live {
    known: Known,
    fresh: Fresh,
}

impl Live {
    /// An event comes, and is stored.
    pub fn hear(&mut self, table: &HookTable, body: Bytes) {
        let (hash, received_at) = (BodyHash::of(&body), UnixMillis(0));
        let (issuer, came, door) = ("".into(), Moment::default(), Door::Platform);
        let post = Arc::new(Post::read(Received { body, hash, issuer, received_at, came, door }));
        let ground = Ground { table, to_fallback: true, fresh: &self.fresh };
        let decided = decide(&[post], &[], &mut self.known, ground);
        self.known.written(&decided.changes);
    }

    /// What is known of a session.
    pub fn call(&self, session: &str) -> Option<&Call> {
        self.known.call(session)
    }
}
