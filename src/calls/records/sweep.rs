//! What one round of the sweeper removes: planned by a reader, so that no request waits for a search.

pub mod erasure;

use crate::ids::DeliveryId;

/// What is removed or moved in one round.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sweep {
    /// Events past their time, by what they are kept as.
    pub events: Vec<(DeliveryId, Shelf)>,
    /// Unrouted events of rooms without SIP whose bodies are removed.
    pub stripped: Vec<DeliveryId>,
    /// Bodies of delivered events that were kept for long enough.
    pub kept: Vec<DeliveryId>,
    /// Chains that have been silent since `silent_since`.
    pub chains: Vec<i64>,
    pub silent_since: i64,
    /// Entries of the index of events whose rows are removed.
    pub entries: Vec<i64>,
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
    /// Rows of usage that are past their time, by day and tenant.
    pub usage: Vec<(i64, String)>,
    pub facts: FactSpan,
    /// The file is over its limit, and nothing can be removed.
    pub exhausted: bool,
    /// How far the walks have come with it.
    pub walked: Walked,
}

/// How far the walks through large tables have come: in each round they look at a part, and behind the last row they
/// begin anew.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Walked {
    /// Among delivered events, by row.
    pub events: i64,
    /// Among sessions, by key.
    pub calls: String,
    /// Among last numbers, by chain; none: at the beginning.
    pub chains: Option<i64>,
    /// Among entries of the index of events.
    pub entries: i64,
}

/// What is removed of the facts kept of calls: those behind `after`, up to `up_to`, by their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FactSpan {
    pub after: i64,
    pub up_to: i64,
    /// The last event that had facts when it was planned. If all are removed, numbers begin at 1 again: those of
    /// later events are not meant.
    pub last_seq: i64,
}

impl FactSpan {
    /// How many there are at most.
    pub fn len(self) -> usize {
        usize::try_from(self.up_to - self.after).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Takes the first of them out, as many as one part has.
    fn split_off(&mut self) -> Self {
        let up_to = self.up_to.min(self.after.saturating_add(PART as i64));
        Self { after: std::mem::replace(&mut self.after, up_to), up_to, ..*self }
    }
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

impl Shelf {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Delivered, Self::Dead, Self::Unrouted, Self::Held, Self::WithoutSip];
}

/// At most this many of each kind in one transaction: the next events wait for it.
const PART: usize = 256;

/// Entries of the index in one transaction: they stand side by side.
const ENTRIES: usize = 4 * PART;

impl Sweep {
    /// At most this many of each kind are planned in one round.
    pub const ROWS: usize = 2000;

    /// At most this many events are looked at in one round for what has waited for a while.
    pub const BEHIND: usize = 50 * Self::ROWS;

    /// At most this many entries of the index: an event has up to four.
    pub const ENTRIES: usize = 4 * Self::ROWS;

    /// The same in parts, one for each transaction, to be carried out in order.
    pub fn parts(mut self) -> Vec<Self> {
        let mut parts: Vec<_> = std::iter::from_fn(|| self.split_off()).collect();
        parts.push(self);
        parts
    }

    /// Takes a part out; none if what is left is one.
    fn split_off(&mut self) -> Option<Self> {
        let kept = [self.events.len(), self.stripped.len(), self.kept.len(), self.parked.len()];
        let known = [self.chains.len(), self.numbers.len(), self.sessions.len()];
        let rest = [self.usage.len(), self.facts.len()];
        let mut all = kept.into_iter().chain(known).chain(rest);
        if all.all(|count| count <= PART) && self.entries.len() <= ENTRIES {
            return None;
        }
        let (parked, stripped) = (first(&mut self.parked), first(&mut self.stripped));
        // A session goes with the last of its bodies, or after it.
        let sessions = if self.stripped.is_empty() { first(&mut self.sessions) } else { Vec::new() };
        let up_to = parked.last().map_or(self.progress.0, |last| last.0);
        let progress = (std::mem::replace(&mut self.progress.0, up_to), up_to);
        Some(Self {
            events: first(&mut self.events),
            stripped,
            kept: first(&mut self.kept),
            chains: first(&mut self.chains),
            entries: self.entries.drain(..self.entries.len().min(ENTRIES)).collect(),
            silent_since: self.silent_since,
            numbers: first(&mut self.numbers),
            sessions,
            usage: first(&mut self.usage),
            ended_before: self.ended_before,
            parked,
            progress,
            facts: self.facts.split_off(),
            ..Self::default()
        })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.stripped.is_empty()
            && self.kept.is_empty()
            && self.chains.is_empty()
            && self.entries.is_empty()
            && self.numbers.is_empty()
            && self.sessions.is_empty()
            && self.progress.0 == self.progress.1
            && self.audit.is_empty()
            && self.usage.is_empty()
            && self.facts.is_empty()
    }

    /// Whether another round is likely to find more.
    pub fn is_full(&self) -> bool {
        let behind = usize::try_from(self.progress.1 - self.progress.0).unwrap_or(0);
        let audit = self.audit.records.max(self.audit.surplus.len()).max(self.audit.tokens.len());
        let events = [self.events.len(), self.stripped.len(), self.kept.len(), self.parked.len()];
        let rest = [self.chains.len(), self.sessions.len(), self.facts.len(), self.usage.len(), audit];
        events.into_iter().chain(rest).any(|count| count >= Self::ROWS)
            || behind >= Self::BEHIND
            || self.entries.len() >= Self::ENTRIES
    }
}

/// Takes the first of these out, as many as one part has.
fn first<T>(list: &mut Vec<T>) -> Vec<T> {
    list.drain(..list.len().min(PART)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: i64) -> Vec<DeliveryId> {
        (1..=count).map(DeliveryId).collect()
    }

    #[test]
    fn a_sweep_in_parts_is_the_same_and_a_session_goes_after_its_bodies() {
        let few = PART as i64;
        let sweep = Sweep {
            events: ids(3 * few + 1).into_iter().map(|id| (id, Shelf::Dead)).collect(),
            stripped: ids(2 * few),
            kept: ids(few + 1),
            sessions: vec!["c".into()],
            parked: ids(few + 2),
            progress: (7, 5000),
            facts: FactSpan { after: 3, up_to: 3 + 2 * few, last_seq: 9 },
            ..Sweep::default()
        };
        let parts = sweep.clone().parts();
        let progress: Vec<_> = parts.iter().map(|part| part.progress).collect();
        assert_eq!(progress, [(7, few), (few, few + 2), (few + 2, few + 2), (few + 2, 5000)]);
        let sessions: Vec<_> = parts.iter().map(|part| part.sessions.len()).collect();
        assert_eq!(sessions, [0, 1, 0, 0]);
        let facts: Vec<_> = parts.iter().map(|part| (part.facts.after, part.facts.up_to)).collect();
        let end = 3 + 2 * few;
        assert_eq!(facts, [(3, 3 + few), (3 + few, end), (end, end), (end, end)]);
        let all =
            |list: fn(&Sweep) -> &Vec<DeliveryId>| parts.iter().flat_map(list).copied().collect::<Vec<_>>();
        assert_eq!(all(|part| &part.stripped), sweep.stripped);
        assert_eq!(all(|part| &part.kept), sweep.kept);
        assert_eq!(all(|part| &part.parked), sweep.parked);
        let events: Vec<_> = parts.iter().flat_map(|part| &part.events).copied().collect();
        assert_eq!(events, sweep.events);
    }

    #[test]
    fn a_small_sweep_is_one_part() {
        let sweep = Sweep { parked: ids(3), progress: (0, 9), exhausted: true, ..Sweep::default() };
        assert_eq!(sweep.clone().parts(), [sweep]);
    }
}
