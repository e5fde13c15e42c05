//! A verified event on its way into the store, read once.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Caller, Event};
use crate::hooks::Tenant;
use crate::ids::{BodyHash, EventId};
use crate::route::{self, Door};
use crate::time::{Moment, UnixMillis};

/// What a door receives: a body whose hash the token has signed.
#[derive(Clone, Debug)]
pub struct Received {
    /// LiveKit's body, byte for byte.
    pub body: Bytes,
    /// Its SHA-256, checked against the token.
    pub hash: BodyHash,
    /// The API key its token is signed with.
    pub issuer: Arc<str>,
    /// When it came.
    pub received_at: UnixMillis,
    /// The same, for measuring.
    pub came: Moment,
    /// The URL it came by.
    pub door: Door,
}

/// A received event and what routing reads of it.
#[derive(Clone, Debug)]
pub struct Post {
    pub event: Event<'static>,
    /// False: the body is no JSON object.
    pub is_readable: bool,
    pub id: EventId,
    /// The id's key in the store: see [`Door::key`]. Duplicates are found by it.
    pub key: Arc<str>,
    /// The key of the room's sid, where the event carries it.
    pub sid: Option<Arc<str>>,
    /// The key of the room's name.
    pub room: Option<Arc<str>>,
    /// Empty once it is delivered and not needed any more.
    pub body: Bytes,
    /// Bytes of the body as it came.
    pub size: usize,
    /// SHA-256 of the body as it came.
    pub hash: BodyHash,
    pub issuer: Arc<str>,
    pub received_at: UnixMillis,
    /// None if it was read back from the store.
    pub came: Option<Moment>,
    pub door: Door,
}

/// An event as its row in the store says.
#[derive(Clone, Debug)]
pub struct StoredPost {
    pub key: Arc<str>,
    /// The key of the session it was counted to.
    pub session: Option<Arc<str>>,
    /// The key of the room's name.
    pub room: Option<Arc<str>>,
    /// LiveKit's name of the event.
    pub name: String,
    pub created_at: Option<i64>,
    pub identity: Option<String>,
    pub facts: SipFacts,
    pub door: Door,
    /// Empty where it is not needed.
    pub body: Bytes,
    pub hash: BodyHash,
    pub issuer: Arc<str>,
    pub received_at: UnixMillis,
}

/// What routing reads of an event's participant.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SipFacts {
    /// Its sid.
    pub participant: Option<String>,
    /// Of an inbound caller.
    pub caller: Option<Caller<'static>>,
    /// Of an outbound SIP participant.
    pub outbound_trunk: Option<String>,
}

impl Post {
    /// Reads what a door received.
    pub fn read(received: Received) -> Self {
        let Received { body, hash, issuer, received_at, came, door } = received;
        let parsed = Event::parse(&body);
        let is_readable = parsed.is_ok();
        let mut parsed = parsed.unwrap_or_default();
        // Taken, since it is kept as [`Self::id`].
        let id = EventId::new(parsed.id.take().as_deref(), &hash);
        let event = parsed.into_owned();
        let key = shared(&door, id.as_str(), || id.shared());
        let [sid, room] = [&event.room_sid, &event.room_name]
            .map(|name| name.as_deref().map(|name| shared(&door, name, || name.into())));
        let (size, came) = (body.len(), Some(came));
        Self { event, is_readable, id, key, sid, room, body, size, hash, issuer, received_at, came, door }
    }

    /// An event that waits in the store, as its row says: the body is not read. Unreadable events never wait.
    pub fn stored(stored: StoredPost) -> Self {
        let StoredPost {
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
        } = stored;
        let owned = |key: &Arc<str>| Cow::Owned(route::name(key).to_owned());
        let SipFacts { participant, caller, outbound_trunk } = facts;
        let event = Event {
            name: Cow::Owned(name),
            id: None,
            created_at,
            room_sid: session.as_ref().map(owned),
            room_name: room.as_ref().map(owned),
            caller,
            outbound_trunk: outbound_trunk.map(Cow::Owned),
            participant: participant.map(Cow::Owned),
            identity: identity.map(Cow::Owned),
        };
        let id = EventId::stored(route::name(&key));
        Self {
            event: event.into_owned(),
            is_readable: true,
            id,
            key,
            sid: session,
            room,
            size: body.len(),
            body,
            hash,
            issuer,
            received_at,
            came: None,
            door,
        }
    }

    /// The same without its body: for what is delivered before it is written.
    pub fn without_body(&self) -> Self {
        Self { body: Bytes::new(), ..self.clone() }
    }

    /// The tenant whose own LiveKit key it came with: its names of rooms and events are unique for that tenant
    /// only. None: the platform's LiveKit.
    pub fn space(&self) -> Option<&Tenant> {
        match &self.door {
            Door::Tenant { tenant, own_key: true } => Some(tenant),
            Door::Tenant { own_key: false, .. } | Door::Platform => None,
        }
    }
}

/// A key as a shared text; `plain` where it is the name itself.
fn shared(door: &Door, name: &str, plain: impl FnOnce() -> Arc<str>) -> Arc<str> {
    match door.key(name) {
        Cow::Borrowed(_) => plain(),
        Cow::Owned(key) => key.into(),
    }
}
