//! The only language in which anything is written: an engine stores [`Change`]s and nothing else.

use std::sync::Arc;

use super::audit::AuditEntry;
use super::kept::KeptBody;
use super::numbers::NumberCalled;
use super::post::Post;
use super::sequences::LastNumber;
use super::sweep::erasure::ErasePart;
use super::sweep::{Shelf, Sweep};
use super::waiting::Place;
use crate::delivery::{Attempt, DeadReason};
use crate::domain::Domain;
use crate::hooks::Tenant;
use crate::ids::{Chain, DeliveryId, HookId};
use crate::registry::{HookChange, PausedBy};
use crate::route::{Binding, Placement, Reason, Rule};
use crate::time::UnixMillis;

/// One thing that is written. Changes are applied in order; applying one again changes nothing more.
#[derive(Clone, Debug)]
pub enum Change {
    /// An event came. Ignored if its key is stored already.
    EventAdded(Box<NewEvent>),
    /// A session's first event. `bound`: if that event binds the call.
    CallBegun {
        session: Arc<str>,
        /// The key of the room's name.
        room: Option<Arc<str>>,
        sip: bool,
        at: UnixMillis,
        /// The tenant whose own LiveKit the room is of.
        space: Option<Tenant>,
        /// Where it goes, and the sid of the participant that binds the call to it.
        bound: Option<(Owned, Option<Box<str>>)>,
    },
    /// A session was seen again, after an hour or more.
    CallSeen {
        session: Arc<str>,
        at: UnixMillis,
    },
    /// The call goes to a hook from here on, because of this participant; nothing later rebinds it.
    CallBound {
        session: Arc<str>,
        bound: Owned,
        participant: Option<Box<str>>,
    },
    /// The first SIP participant is in the room: what came before is kept for it.
    CallHasSip {
        session: Arc<str>,
    },
    /// Participants of several tenants are in the call.
    CallShared {
        session: Arc<str>,
    },
    /// The session is over. Late events still find it; its room's name is free.
    CallFinished {
        session: Arc<str>,
        at: UnixMillis,
    },
    /// The rules have placed a participant, or could not.
    ParticipantPlaced {
        session: Arc<str>,
        participant: Box<str>,
        placement: Placement,
        /// Of the hook it is placed at.
        tenant: Option<Tenant>,
        /// The tenant whose own LiveKit it is of.
        space: Option<Tenant>,
    },
    /// An event that waited has a hook now, and is to be delivered.
    EventFreed(Box<FreedEvent>),
    /// An event that waits stays without a hook, for another reason than before.
    EventStays {
        id: DeliveryId,
        place: Place,
        session: Arc<str>,
        reason: Reason,
        /// Whose it is nevertheless: its hook does not want events of this name.
        tenant: Option<Tenant>,
    },
    /// These have waited for their call for the whole of `hold`. A call that is bound later still releases
    /// them.
    HoldEnded(Vec<DeliveryId>),
    /// A number was called with another domain, or for the first time in a day.
    NumberCalled(Box<NumberCalled>),
    /// What an attempt came to.
    Attempted(Settlement),
    /// A pending delivery became a dead letter without another attempt.
    GivenUp(GivenUp),
    /// A disk has altered the state of an event's row: it is put right.
    PutRight(PutRight),
    /// A dead letter, or a delivered event whose body is kept, is pending again.
    LetterRevived {
        replay: Replay,
        at: UnixMillis,
    },
    /// The hook table's part.
    Hook(HookChange),
    HookPaused {
        hook: HookId,
        at: UnixMillis,
        by: PausedBy,
    },
    HookResumed {
        hook: HookId,
        /// Milliseconds it has been paused in all, with the pause that ends.
        paused_ms: i64,
    },
    /// A tenant's derived secret is renewed.
    SecretRotated {
        tenant: Tenant,
        /// The number of the new one.
        generation: i64,
        at: UnixMillis,
    },
    /// A tenant's tokens that were issued before this time are refused from here on.
    TenantRevoked {
        tenant: Tenant,
        at: UnixMillis,
    },
    /// A single token is refused from here on.
    TokenRevoked {
        /// The token's id (`jti`).
        jti: Box<str>,
        expires_at: UnixMillis,
        at: UnixMillis,
    },
    /// A request over the API is recorded.
    Audited(AuditEntry),
    /// History of the database before is copied: rows behind `after`, up to `up_to`.
    HistoryCopied(HistoryPart),
    /// Events are digested: see [`DigestPart`].
    Digested(DigestPart),
    /// A tenant's data is to be erased: all up to this event, and up to this record of the audit log.
    ErasureBegun {
        tenant: Tenant,
        at: UnixMillis,
        event: DeliveryId,
        record: i64,
    },
    /// A part of it is erased.
    Erased(Arc<ErasePart>),
    /// What is past its time is removed.
    Swept {
        sweep: Arc<Sweep>,
        /// Last numbers that are not in the store yet.
        numbers: Vec<LastNumber>,
        /// Up to this event all last numbers are stored with this change.
        complete: i64,
    },
}

/// A binding, and the tenant its hook belongs to.
#[derive(Clone, PartialEq, Debug)]
pub struct Owned {
    pub binding: Binding,
    /// None: its hook is gone.
    pub tenant: Option<Tenant>,
}

/// A part of the history of the database before; its rows are read where they are copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryPart {
    pub after: i64,
    pub up_to: i64,
    /// With it, all of the history is copied.
    pub is_last: bool,
    pub at: UnixMillis,
}

/// Events behind `after`, up to `up_to`: what is derived from many at once is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestPart {
    pub after: i64,
    pub up_to: i64,
}

/// A new event and what becomes of it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: DeliveryId,
    pub post: Arc<Post>,
    pub session: Option<Arc<str>>,
    pub domain: Option<Domain>,
    /// Whose it is; none while it is nobody's.
    pub tenant: Option<Tenant>,
    /// Where it goes, or why it has no hook.
    pub fate: Result<Destination, Reason>,
}

/// Where an event is to be delivered.
#[derive(Clone, Debug)]
pub struct Destination {
    pub rule: Rule,
    pub hook: HookId,
    /// Where its call was bound to go: for the first attempt. None for a replay, which goes where the hook
    /// leads then.
    pub bound: Option<Binding>,
    pub chain: Chain,
    /// Its number among the call's deliveries to this hook, from 1.
    pub sequence: i64,
    /// Milliseconds the hook had been paused in all when the event came.
    pub paused_before_ms: i64,
}

/// An event that waited, and where it goes now.
#[derive(Clone, Debug)]
pub struct FreedEvent {
    pub id: DeliveryId,
    /// Where it waited.
    pub place: Place,
    pub session: Arc<str>,
    pub tenant: Tenant,
    pub destination: Destination,
    pub at: UnixMillis,
    /// An operator asked for it.
    pub is_replay: bool,
}

/// A dead letter, or a delivered event whose body is kept, that is to be pending again.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Replay {
    pub id: DeliveryId,
    /// What it is now: [`Shelf::Dead`] or [`Shelf::Delivered`]. What has become anything else stays that.
    pub from: Shelf,
    pub hook: HookId,
    pub chain: Chain,
    pub sequence: i64,
    /// Bytes of its body.
    pub bytes: u32,
    /// See [`crate::delivery::Delivery::paused_before_ms`].
    pub paused_before: i64,
}

/// A pending delivery that is given up without another attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GivenUp {
    pub delivery: DeliveryId,
    pub reason: DeadReason,
    pub at: UnixMillis,
}

/// What an attempt changed.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub delivery: DeliveryId,
    pub attempt: Attempt,
    pub next: Next,
    /// With [`Next::Delivered`]: the body, if it stays.
    pub kept: Option<Arc<KeptBody>>,
}

/// What comes after an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Delivered,
    Retry { due: UnixMillis },
    Dead(DeadReason),
}

/// A disk has altered the state in an event's row. The row's checksum shows which state was stored: the row gets it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutRight {
    pub id: DeliveryId,
    /// The state that the row's sum shows.
    pub stored: Shelf,
    /// The row's sum, as long as the row is not changed; none in rows of releases that kept no sums.
    pub sum: Option<i64>,
}
