//! One event on its way to one hook. A failed attempt is data here, not an error.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::domain::Domain;
use crate::hooks::Hook;
use crate::ids::{Chain, DeliveryId, EventId};
use crate::route::{Binding, Rule};
use crate::time::{Moment, UnixMillis};

/// An event and where it goes: all an attempt needs.
#[derive(Debug)]
pub struct Delivery {
    /// Its place in the order of arrival.
    pub id: DeliveryId,
    /// The `webhook-id`.
    pub event_id: EventId,
    /// LiveKit's event name.
    pub event: Cow<'static, str>,
    /// LiveKit's body, byte for byte.
    pub body: Bytes,
    /// The API key LiveKit signed it with.
    pub issuer: Option<Arc<str>>,
    /// The hook it was routed to.
    pub hook: Arc<Hook>,
    /// The rule that found the hook.
    pub rule: Rule,
    /// The SIP domain, where the event names one.
    pub domain: Option<Domain>,
    /// The room's sid, else its name.
    pub call: Option<Arc<str>>,
    /// Where its call was bound to go. Only for the first attempt: what has failed follows a corrected URL,
    /// and so does a replay, which has none.
    pub bound: Option<Binding>,
    /// The order it keeps.
    pub chain: Chain,
    /// Its number among the call's deliveries to this hook, from 1.
    pub sequence: i64,
    /// When the event was received.
    pub received_at: UnixMillis,
    /// The same on the monotonic clock; none if it was read back from the store.
    pub came: Option<Moment>,
    /// How long the hook had been paused, in all, when the event came: only pauses since then
    /// keep it from ageing.
    pub paused_before_ms: i64,
    /// When it was released or last replayed: its age counts from then.
    pub freed_at: Option<UnixMillis>,
    /// The same, if it was replayed or sent again: how long its delivery takes counts from then. What was released
    /// with its call counts from its receipt.
    pub replayed_at: Option<UnixMillis>,
    /// How often it was tried when it was read.
    pub attempts: u32,
    /// It was delivered before, and its body is the one that its hook kept.
    pub is_kept: bool,
    /// Counts the body as held in memory.
    pub _counted: Option<Counted>,
}

impl Delivery {
    /// The same for somebody who only looks: its body is not counted as held for the delivery.
    pub fn uncounted(&self) -> Self {
        Self {
            event_id: self.event_id.clone(),
            event: self.event.clone(),
            body: self.body.clone(),
            issuer: self.issuer.clone(),
            hook: Arc::clone(&self.hook),
            domain: self.domain.clone(),
            call: self.call.clone(),
            bound: self.bound.clone(),
            _counted: None,
            ..*self
        }
    }
}

/// What one try came to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub at: UnixMillis,
    /// Where it was posted, without the query: for logs.
    pub url: Arc<str>,
    /// From the beginning to the end of the answer, or to the fault.
    pub latency: Duration,
    /// The answer, or what kept it from coming.
    pub outcome: Result<Answer, Fault>,
}

/// The part of an HTTP answer that matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, at most [`Answer::RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// A tenant may ask for at most this much patience.
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
}

/// Why no answer came; the name goes into log, metrics and store, and to people.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum Fault {
    /// The attempt's deadline passed, or the time to connect.
    Timeout,
    /// The name did not resolve.
    Dns,
    /// Nobody listens there, or no way leads there.
    Refused,
    /// The TLS handshake failed.
    Tls,
    /// The certificate has expired.
    TlsExpired,
    /// The certificate is made out to other names.
    TlsName,
    /// The certificate's issuer is not trusted (see `--ca-file`), or its chain is incomplete.
    TlsIssuer,
    /// The connection was closed or broke before an answer came.
    Reset,
    /// This router has run out of something, such as file descriptors: it says nothing of the receiver.
    Local,
    /// It was slow while too many others were, too: it gave its place to one that may be quick.
    CutOff,
    /// What came is no valid or complete HTTP, or more than is read.
    Protocol,
    /// The address may not be dialled: private or special-purpose (see `--allow-network`).
    Forbidden,
}

impl Fault {
    /// The fault's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::TlsExpired => "tls: expired",
            Self::TlsName => "tls: wrong name",
            Self::TlsIssuer => "tls: unknown issuer",
            Self::Reset => "reset",
            Self::Local => "local",
            Self::CutOff => "cut_off",
            Self::Protocol => "protocol",
            Self::Forbidden => "forbidden",
        }
    }
}

impl Attempt {
    /// Whether the receiver has taken the event: any 2xx.
    pub fn is_accepted(&self) -> bool {
        matches!(self.outcome, Ok(Answer { status: 200..=299, .. }))
    }

    /// The status code, if an answer came.
    pub fn status(&self) -> Option<u16> {
        self.outcome.as_ref().ok().map(|answer| answer.status)
    }

    /// The fault's name, if none came.
    pub fn fault(&self) -> Option<&'static str> {
        self.outcome.as_ref().err().map(|fault| fault.as_str())
    }
}

/// Why a delivery was given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeadReason {
    /// Older than `max_age` after a failed attempt of its own, or after a failed probe of its hook.
    Expired,
    /// Its tenant had more deliveries waiting than it may have, and this was the oldest.
    LaneFull,
    /// What is stored of it is not as it was written, or its kept body cannot be opened.
    Damaged,
}

impl DeadReason {
    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::LaneFull => "lane_full",
            Self::Damaged => "damaged",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Expired, Self::LaneFull, Self::Damaged].into_iter().find(|reason| reason.as_str() == name)
    }

    /// What it means, as a clause about the delivery.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Expired => {
                "its attempts failed, or probes of its hook did, until it was older than its hook's max_age"
            }
            Self::LaneFull => "more waited for its tenant than limits.pending or limits.pending_bytes permit",
            Self::Damaged => {
                "its body or its row in the store was altered, or another master secret sealed its kept body"
            }
        }
    }
}

/// Counts the bytes of bodies held in memory for deliveries.
#[derive(Clone, Debug, Default)]
pub struct Fresh(Arc<AtomicUsize>);

impl Fresh {
    /// Beyond this, bodies are dropped once they are stored, and read back when the delivery starts.
    const ROOM: usize = 16 << 20;

    /// Whether there is room for another body.
    pub fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) < Self::ROOM
    }

    /// Counts `bytes` for as long as the result lives.
    pub fn count(&self, bytes: usize) -> Counted {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Counted { fresh: self.clone(), bytes }
    }
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub struct Counted {
    fresh: Fresh,
    bytes: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.fresh.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_beyond_their_room_are_not_held_in_memory() {
        let fresh = Fresh::default();
        let most = fresh.count(Fresh::ROOM - 1);
        assert!(fresh.has_room());
        let one = fresh.count(1);
        assert!(!fresh.has_room());
        drop((most, one));
        assert!(fresh.has_room());
    }
}
