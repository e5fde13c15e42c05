//! Names of things, as types of their own.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// SHA-256 of a posted body: what LiveKit's token promises, and an id where the event has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyHash(pub [u8; 32]);

impl BodyHash {
    /// Hashes `body`.
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }
}

/// An event's id in `webhook-id`, log and store; duplicates are found by it.
///
/// LiveKit's own `id` where it fits a header and a log line (`[A-Za-z0-9_-]{1,128}`), else the hash
/// of the body. Standard Webhooks §"webhook-id" forbids `.` in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EventId(Arc<str>);

impl EventId {
    /// The id of the event with this `id` field and body.
    pub fn new(id: Option<&str>, hash: &BodyHash) -> Self {
        match id {
            Some(id) if is_token(id) => Self(id.into()),
            _ => Self(hash.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()),
        }
    }

    /// An id read back from the store, which only ever held valid ones.
    pub fn stored(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text that is shared, not copied.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_token(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A hook, for as long as it exists; a host removed and added again gets a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HookId(pub i64);

impl HookId {
    /// Stands for the hook of calls that were cut off: no hook ever has this id.
    pub const NOBODY: Self = Self(0);

    /// Stands for the hook of calls of which something stored is damaged: no hook ever has this id.
    pub const DAMAGED: Self = Self(-1);
}

/// The unit of order: one call's deliveries to one hook.
///
/// A hash rather than a row's number, so that it is known without the store. Two calls that collide (one chance
/// in 10⁷ among a million) only wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Chain(pub i64);

impl Chain {
    /// The chain of `call` (room sid, else room name, else the event's own id) at `hook`.
    pub fn new(hook: HookId, call: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(hook.0.to_le_bytes());
        hasher.update(call.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(i64::from_le_bytes(first))
    }
}

/// An event's place in the order of arrival, and its delivery's: handed out when it is decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DeliveryId(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_fits_a_header_is_kept_and_any_other_becomes_the_hash() {
        let hash = BodyHash::of(b"{}");
        assert_eq!(EventId::new(Some("EV_zSu7ATiCU6BB"), &hash).as_str(), "EV_zSu7ATiCU6BB");
        let hex = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        for bad in [None, Some(""), Some("a.b"), Some("a\r\nb"), Some("ü"), Some(&*"x".repeat(129))] {
            assert_eq!(EventId::new(bad, &hash).as_str(), hex);
        }
    }
}
