//! What the router would know of calls after some events, without a store: for `switchhook explain`.

mod preview;

use std::sync::Arc;

use bytes::Bytes;

pub use self::preview::{Foreseen, KeptFact, Moved, Preview, PreviewGround, WasDialled, Went};

use super::decide::decide;
use super::ground::Ground;
use super::known::Known;
use super::records::{Post, Received};
use crate::delivery::Fresh;
use crate::event::Event;
use crate::hooks::HookTable;
use crate::ids::BodyHash;
use crate::route::{self, Call, Door, Route};
use crate::time::{Moment, UnixMillis};

/// A hook table, and what is known after the events it has seen so far.
pub struct Rehearsal {
    table: HookTable,
    to_fallback: bool,
    door: Door,
    known: Known,
    fresh: Fresh,
}

impl Rehearsal {
    /// No calls yet. `door`: the URL all events come by.
    pub fn new(table: HookTable, to_fallback: bool, door: Door) -> Self {
        Self { table, to_fallback, door, known: Known::default(), fresh: Fresh::default() }
    }

    /// An event came.
    pub fn hear(&mut self, body: &[u8]) {
        let post = self.post(body);
        let ground = Ground { table: &self.table, to_fallback: self.to_fallback, fresh: &self.fresh };
        // There is no store: what is not in memory is absent, and the changes are dropped.
        decide(&[post], &[], &mut self.known, ground);
    }

    /// Where an event would go now.
    pub fn route(&self, event: &Event<'_>) -> Route {
        let ground = Ground { table: &self.table, to_fallback: self.to_fallback, fresh: &self.fresh };
        route::route(event, ground.hooks(&self.door), self.to_fallback, self.call(event))
            .named(&self.door)
            .filtered(&event.name)
    }

    /// What is known of the call an event belongs to.
    pub fn call(&self, event: &Event<'_>) -> Option<&Call> {
        let key = |name: &str| -> Arc<str> { self.door.key(name).into() };
        let session = match (event.room_sid.as_deref(), event.room_name.as_deref()) {
            (Some(sid), _) => Some(key(sid)),
            (None, Some(room)) => self.known.live_session(&key(room)),
            (None, None) => None,
        };
        self.known.call(&session?)
    }

    /// The hook table.
    pub fn table(&self) -> &HookTable {
        &self.table
    }

    fn post(&self, body: &[u8]) -> Arc<Post> {
        let body = Bytes::copy_from_slice(body);
        let hash = BodyHash::of(&body);
        let (received_at, came) = (UnixMillis(0), Moment::default());
        let received = Received { body, hash, issuer: "".into(), received_at, came, door: self.door.clone() };
        Arc::new(Post::read(received))
    }
}
