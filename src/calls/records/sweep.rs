//! What one round of the sweeper removes: planned by a reader, so that no request waits for a search.

use crate::ids::DeliveryId;

/// What is removed or moved in one round.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sweep {
    /// Events past their time, by what they are kept as.
    pub events: Vec<(DeliveryId, Shelf)>,
    /// Unrouted events of rooms without SIP whose bodies are removed.
    pub stripped: Vec<DeliveryId>,
    /// Chains that have been silent since `silent_since`.
    pub chains: Vec<i64>,
    pub silent_since: i64,
    /// Called numbers, where too many are stored.
    pub numbers: Vec<String>,
    /// Sessions that are over.
    pub sessions: Vec<String>,
    /// Unless they were finished or seen after these times, Unix milliseconds: one may have come alive since.
    pub ended_before: (i64, i64),
    /// Pending events that wait for longer and are to be found by an index.
    pub parked: Vec<DeliveryId>,
    /// Up to this event all that waits is parked then; and before this round.
    pub progress: (i64, i64),
    pub audit: AuditSweep,
    /// The file is over its limit, and nothing can be removed.
    pub exhausted: bool,
    /// How far the walk through delivered events has come; 0: it begins anew.
    pub walked_to: i64,
}

/// What is removed of the audit log and of revocations.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditSweep {
    /// So many records are removed, up to this one.
    pub records: usize,
    pub up_to: i64,
    /// Further records, by id: where there are too many.
    pub surplus: Vec<i64>,
    /// Revoked tokens (`jti`) that have expired.
    pub tokens: Vec<String>,
}

impl AuditSweep {
    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.surplus.is_empty() && self.tokens.is_empty()
    }
}

/// What a stored event is kept as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shelf {
    Pending = 0,
    Delivered = 1,
    Dead = 2,
    Unrouted = 3,
    /// It waits for its call to be bound.
    Held = 4,
    /// Unrouted, in a room where no SIP participant was seen: its body is removed early.
    WithoutSip = 5,
}

impl Sweep {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.stripped.is_empty()
            && self.chains.is_empty()
            && self.numbers.is_empty()
            && self.sessions.is_empty()
            && self.progress.0 == self.progress.1
            && self.audit.is_empty()
    }

    /// Whether another round is likely to find more. `rows`: how many of each kind one round takes.
    pub fn is_full(&self, rows: usize) -> bool {
        let behind = usize::try_from(self.progress.1 - self.progress.0).unwrap_or(0);
        let audit = self.audit.records.max(self.audit.surplus.len()).max(self.audit.tokens.len());
        [self.events.len(), self.stripped.len(), self.chains.len(), self.sessions.len(), behind, audit]
            .into_iter()
            .any(|count| count >= rows)
    }
}
