//! An event as the engine in memory stores it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::calls::{NewEvent, Post, Shelf, SipFacts, StoredPost};
use crate::event::Event;
use crate::ids::Chain;
use crate::route::Reason;

/// An event.
pub struct Row {
    pub post: Arc<Post>,
    pub session: Option<Arc<str>>,
    pub shelf: Shelf,
    /// Why it has no hook.
    pub reason: Option<Reason>,
    /// Its body, as long as anything needs it.
    pub body: Option<Bytes>,
    pub numbered: Option<(Chain, i64)>,
    /// Whether its body stays after it was delivered.
    pub is_kept: bool,
}

impl Row {
    /// The row of a new event.
    pub fn new(event: &NewEvent) -> Self {
        let NewEvent { id: _, post, session, domain: _, tenant: _, fate } = event;
        let shelf = match fate {
            Ok(_) => Shelf::Pending,
            Err(Reason::Held) => Shelf::Held,
            Err(Reason::NoCall) => Shelf::WithoutSip,
            Err(
                Reason::Unreadable
                | Reason::NoHook
                | Reason::BadDomain
                | Reason::NoDomain
                | Reason::Filtered
                | Reason::HookRemoved
                | Reason::Damaged,
            ) => Shelf::Unrouted,
        };
        let reason = fate.as_ref().err().copied();
        let has_body = reason != Some(Reason::Filtered) && !post.body.is_empty();
        let numbered = fate.as_ref().ok().map(|destination| (destination.chain, destination.sequence));
        let (post, session) = (Arc::clone(post), session.clone());
        let body = has_body.then(|| post.body.clone());
        Self { post, session, shelf, reason, body, numbered, is_kept: false }
    }

    /// As what it can be sent again, if it can be.
    pub fn replayable(&self) -> Option<Shelf> {
        let can_be = self.shelf == Shelf::Dead || (self.shelf == Shelf::Delivered && self.is_kept);
        can_be.then_some(self.shelf)
    }

    /// The event as an engine gives it back.
    pub fn stored(&self, body: Bytes) -> Post {
        let Post { event, key, room, issuer, received_at, door, hash, .. } = (*self.post).clone();
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let Event { name, created_at, caller, outbound_trunk, participant, identity, .. } = event;
        let facts = SipFacts { participant: text(participant), caller, outbound_trunk: text(outbound_trunk) };
        let (session, name, identity) = (self.session.clone(), name.into_owned(), text(identity));
        Post::stored(StoredPost {
            key,
            session,
            room,
            name,
            created_at,
            identity,
            facts,
            door,
            body,
            hash,
            issuer,
            received_at,
        })
    }
}
