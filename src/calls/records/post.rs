//! A verified event on its way into the store, read once.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::Event;
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
    pub issuer: Arc<str>,
    pub received_at: UnixMillis,
    /// None if it was read back from the store.
    pub came: Option<Moment>,
    pub door: Door,
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
        Self { event, is_readable, id, key, sid, room, body, issuer, received_at, came: Some(came), door }
    }

    /// An event that is stored already, by its key. It came by the platform's URLs.
    pub fn stored(key: &str, body: Bytes, issuer: Arc<str>, received_at: UnixMillis) -> Self {
        let id = EventId::stored(route::name(key));
        let parsed = Event::parse(&body);
        let is_readable = parsed.is_ok();
        let event = parsed.map(Event::into_owned).unwrap_or_default();
        let door = Door::Platform;
        let [sid, room] = [&event.room_sid, &event.room_name]
            .map(|name| name.as_deref().map(|name| shared(&door, name, || name.into())));
        Self {
            event,
            is_readable,
            id,
            key: key.into(),
            sid,
            room,
            body,
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

    /// Whether it came with a tenant's own LiveKit key: its names of rooms and events are unique for that
    /// tenant only.
    pub fn is_of_own_space(&self) -> bool {
        matches!(self.door, Door::Tenant { own_key: true, .. })
    }
}

/// A key as a shared text; `plain` where it is the name itself.
fn shared(door: &Door, name: &str, plain: impl FnOnce() -> Arc<str>) -> Arc<str> {
    match door.key(name) {
        Cow::Borrowed(_) => plain(),
        Cow::Owned(key) => key.into(),
    }
}
