//! The deliveries of a lane by chain: those of one call go one at a time, in the order of their numbers.
//!
//! A chain's head is in flight, or has failed and holds the chain. Once it has held the chain long
//! enough, the others pass it; when it is due again it goes before them, as the oldest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::ids::{Chain, DeliveryId};
use crate::time::Moment;

/// A delivery's place in its chain: by its number, since an event that waited for its call has a lower id than
/// others with a lower number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    pub sequence: i64,
    pub id: DeliveryId,
}

/// A delivery to try now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    pub id: DeliveryId,
    pub sequence: i64,
    pub chain: Chain,
    /// How often it has failed, as far as this lane saw.
    pub failures: u32,
    /// It goes where its hook leads, wherever its call was bound to go.
    pub is_moved: bool,
    /// The lane's, when it started: stands for the hook's URL.
    pub target: u64,
}

/// What a delivery weighs, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Bytes of its body.
    pub bytes: u32,
    /// When it came, in seconds of the lane's own time; negative: before the router started.
    pub since: i32,
}

/// All deliveries of a lane that are not done.
#[derive(Debug, Default)]
pub struct Chains {
    /// Deliveries that wait for their turn.
    queue: BTreeMap<(Chain, Position), Load>,
    /// The head of a chain that is in flight, or that failed and still holds its chain.
    heads: HashMap<Chain, DeliveryId, RandomState>,
    /// Heads that may start, in order of arrival.
    ready: BTreeMap<DeliveryId, Chain>,
    in_flight: BTreeMap<DeliveryId, Load>,
    /// Deliveries that have failed and are not done.
    failed: BTreeMap<DeliveryId, Failed>,
    /// When failed deliveries are due.
    timers: BTreeSet<(Moment, DeliveryId)>,
    /// Until when, in healthy time, failed deliveries hold their chains; not while they are ready or
    /// in flight.
    holding: BTreeSet<(Duration, DeliveryId)>,
    /// How many are not done.
    pending: usize,
    /// Bytes of their bodies.
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    chain: Chain,
    sequence: i64,
    failures: u32,
    load: Load,
    /// When it is due.
    due: Moment,
    /// The end, in healthy time, of its hold on the chain; none once the others have passed it.
    holds_until: Option<Duration>,
}

impl Chains {
    /// Takes in a delivery that was never tried, or whose retry is due now. A known delivery changes nothing:
    /// pending deliveries are read again after a fault.
    pub fn add(&mut self, position: Position, chain: Chain, load: Load) {
        if !self.is_known(position, chain) {
            self.count(load.bytes);
            self.enqueue(position, chain, load);
        }
    }

    fn count(&mut self, bytes: u32) {
        self.pending += 1;
        self.bytes += u64::from(bytes);
    }

    fn uncount(&mut self, bytes: u32) {
        self.pending = self.pending.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
    }

    /// Takes in a delivery that failed before this start. It holds its chain until `holds_until`, in
    /// healthy time, unless the chain has a head already.
    pub fn add_failed(
        &mut self,
        position: Position,
        chain: Chain,
        load: Load,
        due: Moment,
        holds_until: Duration,
    ) {
        if self.is_known(position, chain) {
            return;
        }
        let Position { sequence, id } = position;
        self.count(load.bytes);
        let holds = !self.heads.contains_key(&chain);
        self.failed.insert(id, Failed { chain, sequence, failures: 0, load, due, holds_until: None });
        if holds {
            self.withdraw(chain);
            self.heads.insert(chain, id);
            self.hold_chain(id, holds_until);
        }
        self.timers.insert((due, id));
    }

    /// How many deliveries are not done.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The delivery that came first of those that are not done. What waits behind the head of its chain is not looked
    /// at: the head came before it, or was released with it.
    pub fn oldest(&self) -> Option<DeliveryId> {
        let ready = self.ready.first_key_value().map(|(id, _)| *id);
        let failed = self.failed.first_key_value().map(|(id, _)| *id);
        [ready, failed, self.in_flight.first_key_value().map(|(id, _)| *id)].into_iter().flatten().min()
    }

    /// Whether one could be tried now.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next delivery to try, now in flight: the first that may start, or the first behind this one.
    pub fn start_behind(&mut self, last: Option<DeliveryId>) -> Option<Start> {
        let behind = last.map(|last| DeliveryId(last.0.saturating_add(1)));
        let behind = behind.and_then(|id| self.ready.range(id..).next());
        let (id, chain) = behind.or_else(|| self.ready.first_key_value()).map(|(id, chain)| (*id, *chain))?;
        let sequence = self.sequence(id, chain);
        self.ready.remove(&id);
        let waited = self.queue.remove(&(chain, Position { sequence, id }));
        let failed = self.failed.get(&id);
        let load = waited.or(failed.map(|failed| failed.load)).unwrap_or_default();
        let failures = failed.map_or(0, |failed| failed.failures);
        self.heads.insert(chain, id);
        self.in_flight.insert(id, load);
        Some(Start { id, sequence, chain, failures, is_moved: false, target: 0 })
    }

    /// The delivery in flight is delivered or given up: the next of its chain may go.
    pub fn finish(&mut self, start: Start) {
        self.failed.remove(&start.id);
        let load = self.in_flight.remove(&start.id).unwrap_or_default();
        self.uncount(load.bytes);
        self.release(start.chain);
    }

    /// The delivery in flight is to be tried again at `due`. With its first failure it begins to hold
    /// its chain, for `order_wait` of healthy time; `counts`: the attempt counts as a failure.
    pub fn fail(&mut self, start: Start, due: Moment, counts: bool, healthy: Duration, order_wait: Duration) {
        let Start { id, sequence, chain, .. } = start;
        let first = !self.failed.contains_key(&id);
        let load = self.in_flight.remove(&id).unwrap_or_default();
        let failed = self.failed.entry(id);
        let failed = failed.or_insert(Failed { chain, sequence, failures: 0, load, due, holds_until: None });
        failed.failures = failed.failures.saturating_add(u32::from(counts));
        failed.due = due;
        self.timers.insert((due, id));
        if first {
            self.hold_chain(id, healthy + order_wait);
        } else {
            self.keep_holding(id, healthy);
        }
    }

    /// Takes out the oldest delivery that is not in flight: one that may start, or has failed. None: all are in
    /// flight, or wait behind one that is; or they came after `last`.
    pub fn evict(&mut self, last: DeliveryId) -> Option<DeliveryId> {
        let failed = self.failed.iter().find(|(id, _)| !self.in_flight.contains_key(id));
        let failed = failed.map(|(id, failed)| (*id, failed.chain));
        let ready = self.ready.first_key_value().map(|(id, chain)| (*id, *chain));
        let (id, chain) = [failed, ready].into_iter().flatten().min().filter(|(id, _)| *id <= last)?;
        self.take_out(id, chain);
        Some(id)
    }

    /// Takes out deliveries that may start and came before a time, the oldest of the first `most`; never `but`.
    pub fn expire(&mut self, before: i32, but: DeliveryId, most: usize) -> Vec<DeliveryId> {
        let (mut expired, mut next) = (Vec::new(), DeliveryId(i64::MIN));
        for _ in 0..=most {
            let Some((&id, &chain)) = self.ready.range(next..).next() else { break };
            next = DeliveryId(id.0.saturating_add(1));
            if id != but && expired.len() < most && self.load(id, chain).since < before {
                self.take_out(id, chain);
                expired.push(id);
            }
        }
        expired
    }

    /// The number of a delivery that may start, or has failed: any other waits behind one of its chain.
    fn sequence(&self, id: DeliveryId, chain: Chain) -> i64 {
        let failed = self.failed.get(&id).map(|failed| failed.sequence);
        let first = || self.waiting(chain).next().map(|position| position.sequence);
        failed.or_else(first).unwrap_or_default()
    }

    /// What a delivery weighs that may start, or has failed.
    fn load(&self, id: DeliveryId, chain: Chain) -> Load {
        let failed = self.failed.get(&id).map(|failed| failed.load);
        let sequence = self.sequence(id, chain);
        let waits = || self.queue.get(&(chain, Position { sequence, id })).copied();
        failed.or_else(waits).unwrap_or_default()
    }

    /// Takes out a delivery that may start, or has failed and is not in flight.
    fn take_out(&mut self, id: DeliveryId, chain: Chain) {
        let (load, sequence) = (self.load(id, chain), self.sequence(id, chain));
        self.uncount(load.bytes);
        if let Some(failed) = self.failed.remove(&id) {
            self.timers.remove(&(failed.due, id));
            if let Some(end) = failed.holds_until {
                self.holding.remove(&(end, id));
            }
        }
        self.ready.remove(&id);
        self.queue.remove(&(chain, Position { sequence, id }));
        if self.heads.get(&chain) == Some(&id) {
            self.heads.remove(&chain);
        }
        self.offer(chain);
    }

    /// Applies the time: due retries become ready, later events pass one that has held its chain long enough.
    pub fn tick(&mut self, now: Moment, healthy: Duration) {
        while let Some((_, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.pop_first();
            self.revive(id);
        }
        while let Some((_, id)) = self.holding.first().copied().filter(|(end, _)| *end <= healthy) {
            self.let_pass(id);
        }
    }

    /// Makes everything due at once, in order.
    pub fn revive_all(&mut self) {
        for (_, id) in std::mem::take(&mut self.timers) {
            self.revive(id);
        }
    }

    /// When the next failed delivery is due.
    pub fn next_due(&self) -> Option<Moment> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// When, in healthy time, the next failed delivery is passed.
    pub fn next_pass(&self) -> Option<Duration> {
        self.holding.first().map(|(end, _)| *end)
    }

    fn is_known(&self, position: Position, chain: Chain) -> bool {
        self.heads.get(&chain) == Some(&position.id)
            || self.queue.contains_key(&(chain, position))
            || self.failed.contains_key(&position.id)
    }

    fn enqueue(&mut self, position: Position, chain: Chain, load: Load) {
        self.queue.insert((chain, position), load);
        self.offer(chain);
    }

    /// What waits in a chain, in order.
    fn waiting(&self, chain: Chain) -> impl Iterator<Item = Position> {
        let at = |end| Position { sequence: end, id: DeliveryId(end) };
        let all = (chain, at(i64::MIN))..=(chain, at(i64::MAX));
        self.queue.range(all).map(|((_, position), _)| *position)
    }

    /// Makes the first of a chain ready, unless the chain has a head.
    fn offer(&mut self, chain: Chain) {
        if self.heads.contains_key(&chain) {
            return;
        }
        let mut waiting = self.waiting(chain);
        let (first, second) = (waiting.next(), waiting.next());
        drop(waiting);
        let Some(first) = first else { return };
        // A passed event that is due again stands before the one that was ready.
        if let Some(second) = second {
            self.ready.remove(&second.id);
        }
        self.ready.insert(first.id, chain);
    }

    /// Takes back the ready one of a chain, because an older event turned up.
    fn withdraw(&mut self, chain: Chain) {
        let first = self.waiting(chain).next();
        if let Some(first) = first {
            self.ready.remove(&first.id);
        }
    }

    fn release(&mut self, chain: Chain) {
        self.heads.remove(&chain);
        self.offer(chain);
    }

    fn hold_chain(&mut self, id: DeliveryId, end: Duration) {
        if let Some(failed) = self.failed.get_mut(&id) {
            failed.holds_until = Some(end);
            self.holding.insert((end, id));
        }
    }

    /// After another failure: a delivery that has not held its chain long enough goes on holding it.
    fn keep_holding(&mut self, id: DeliveryId, healthy: Duration) {
        let Some(failed) = self.failed.get(&id).copied() else { return };
        match failed.holds_until {
            Some(end) if end > healthy => {
                self.holding.insert((end, id));
            }
            _ => self.let_pass(id),
        }
    }

    /// Ends the hold of a failed delivery on its chain: the next of the chain may go.
    fn let_pass(&mut self, id: DeliveryId) {
        let Some(failed) = self.failed.get_mut(&id) else { return };
        let chain = failed.chain;
        if let Some(end) = failed.holds_until.take() {
            self.holding.remove(&(end, id));
        }
        self.release(chain);
    }

    /// Makes a failed delivery ready again.
    fn revive(&mut self, id: DeliveryId) {
        let Some(failed) = self.failed.get(&id).copied() else { return };
        match failed.holds_until {
            // Still the head of its chain: it goes first, whatever has come since.
            Some(end) => {
                self.holding.remove(&(end, id));
                self.ready.insert(id, failed.chain);
            }
            None => self.enqueue(Position { sequence: failed.sequence, id }, failed.chain, failed.load),
        }
    }
}
