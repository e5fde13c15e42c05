//! One hook's lane: order within calls, the window of attempts in flight, holds and pauses.
//!
//! Pure: time goes in, what to start comes out. Events of one call (a chain) go one at a time in
//! order of arrival; chains go in parallel, the one whose head waits longest first.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::ids::{Chain, DeliveryId};
use crate::time::Moment;

/// The window's first size.
const WINDOW: usize = 2;

/// What a hook sets of its lane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// An event that keeps failing holds its call's later events at most this long.
    pub order_wait: Duration,
    /// Attempts in flight, at most.
    pub window: usize,
    /// Between the starts of two attempts, at least.
    pub interval: Option<Duration>,
}

/// What became of an attempt, for the lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Delivered or given up: the next of its call may go.
    Done,
    /// To be tried again at `due`.
    Retry { due: Moment },
    /// Not tried: the router's own fault, which the receiver is not to pay for.
    Postponed { due: Moment },
}

/// A delivery to try now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    pub id: DeliveryId,
    pub chain: Chain,
    /// How often it has failed, as far as this lane saw.
    pub failures: u32,
}

/// The queue of one hook.
#[derive(Debug)]
pub struct Lane {
    limits: Limits,
    /// What waits for its turn.
    queue: BTreeSet<(Chain, DeliveryId)>,
    /// The head of a chain that is in flight, or that failed and still holds its chain.
    heads: HashMap<Chain, DeliveryId, RandomState>,
    /// Heads that may start, in order of arrival.
    ready: BTreeSet<(DeliveryId, Chain)>,
    /// What has failed and is not in flight or done.
    retries: HashMap<DeliveryId, Retry, RandomState>,
    /// When the failed are due.
    timers: BTreeSet<(Moment, DeliveryId)>,
    /// Until when, in healthy time, the failed hold their chains.
    holding: BTreeSet<(Duration, DeliveryId)>,
    /// All that is not done.
    pending: usize,
    in_flight: usize,
    window: usize,
    paused: bool,
    held_until: Option<Moment>,
    healthy: HealthyTime,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    chain: Chain,
    failures: u32,
    /// The end, in healthy time, of its hold on the chain; none once the others have passed it.
    holds_until: Option<Duration>,
}

/// Time during which the lane could have delivered.
#[derive(Clone, Copy, Debug)]
struct HealthyTime {
    total: Duration,
    since: Option<Moment>,
}

impl HealthyTime {
    fn at(&self, now: Moment) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    fn set(&mut self, healthy: bool, now: Moment) {
        if healthy != self.since.is_some() {
            self.total = self.at(now);
            self.since = healthy.then_some(now);
        }
    }
}

impl Lane {
    /// An empty lane.
    pub fn new(limits: Limits, now: Moment) -> Self {
        Self {
            limits,
            queue: BTreeSet::new(),
            heads: HashMap::default(),
            ready: BTreeSet::new(),
            retries: HashMap::default(),
            timers: BTreeSet::new(),
            holding: BTreeSet::new(),
            pending: 0,
            in_flight: 0,
            window: WINDOW.min(limits.window),
            paused: false,
            held_until: None,
            healthy: HealthyTime { total: Duration::ZERO, since: Some(now) },
        }
    }

    /// The hook's settings have changed.
    pub fn configure(&mut self, limits: Limits) {
        self.limits = limits;
        self.window = self.window.min(limits.window);
    }

    /// Takes in a delivery that was never tried, or whose retry is due now.
    pub fn add(&mut self, id: DeliveryId, chain: Chain) {
        // At a start, what is set free may be found in the store, too.
        let known = self.heads.get(&chain) == Some(&id)
            || self.queue.contains(&(chain, id))
            || self.retries.contains_key(&id);
        if known {
            return;
        }
        self.pending += 1;
        self.enqueue(id, chain);
    }

    /// Takes in a delivery that failed before this start.
    pub fn add_failed(&mut self, id: DeliveryId, chain: Chain, due: Moment, now: Moment) {
        self.pending += 1;
        let holds = !self.heads.contains_key(&chain);
        self.retries.insert(id, Retry { chain, failures: 0, holds_until: None });
        if holds {
            self.withdraw(chain);
            self.heads.insert(chain, id);
            self.hold_chain(id, now);
        }
        self.timers.insert((due, id));
    }

    /// Gives a delivery that has not been tried yet the id of its row, and with it its place among
    /// the others of its chain. False if it is under way already, or has failed: then it is first
    /// anyway.
    pub fn rename(&mut self, id: DeliveryId, row: DeliveryId, chain: Chain) -> bool {
        if self.retries.contains_key(&id) || !self.queue.contains(&(chain, id)) {
            return false;
        }
        self.withdraw(chain);
        self.queue.remove(&(chain, id));
        self.enqueue(row, chain);
        true
    }

    /// How many deliveries are not done.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether nothing distinguishes this lane from a new one.
    pub fn is_idle(&self) -> bool {
        self.pending == 0 && !self.paused && self.held_until.is_none()
    }

    /// Whether something could start at `now`.
    pub fn can_start(&self, now: Moment) -> bool {
        self.in_flight < self.window && !self.ready.is_empty() && self.is_open(now)
    }

    fn is_open(&self, now: Moment) -> bool {
        !self.paused && self.held_until.is_none_or(|until| until <= now)
    }

    /// The next delivery to try, now in flight.
    pub fn start(&mut self, now: Moment) -> Option<Start> {
        if !self.can_start(now) {
            return None;
        }
        let (id, chain) = self.ready.pop_first()?;
        self.queue.remove(&(chain, id));
        self.heads.insert(chain, id);
        self.in_flight += 1;
        if let Some(interval) = self.limits.interval {
            self.hold(now + interval, now);
        }
        let failures = self.retries.get(&id).map_or(0, |retry| retry.failures);
        Some(Start { id, chain, failures })
    }

    /// What the attempt of a delivery in flight came to.
    pub fn settle(&mut self, id: DeliveryId, chain: Chain, settled: Settled, now: Moment) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match settled {
            Settled::Done => {
                self.pending = self.pending.saturating_sub(1);
                self.retries.remove(&id);
                self.release(chain);
            }
            Settled::Retry { due } | Settled::Postponed { due } => {
                let first = !self.retries.contains_key(&id);
                let retry = self.retries.entry(id).or_insert(Retry { chain, failures: 0, holds_until: None });
                let tried = u32::from(matches!(settled, Settled::Retry { .. }));
                retry.failures = retry.failures.saturating_add(tried);
                self.timers.insert((due, id));
                if first {
                    self.hold_chain(id, now);
                } else {
                    self.keep_holding(id, now);
                }
            }
        }
    }

    /// The window grows with success and shrinks with timeouts.
    pub fn adapt(&mut self, delivered: bool, timed_out: bool) {
        if delivered {
            self.window = (self.window * 2).min(self.limits.window);
        } else if timed_out {
            self.window = (self.window / 2).max(1);
        }
    }

    /// Starts nothing before `until`: the receiver asked for it.
    pub fn hold(&mut self, until: Moment, now: Moment) {
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        self.healthy.set(false, now);
    }

    /// Starts nothing until resumed.
    pub fn pause(&mut self, now: Moment) {
        self.paused = true;
        self.healthy.set(false, now);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Ends a pause and any hold: everything is due at once, in order.
    pub fn resume(&mut self, now: Moment) {
        self.paused = false;
        self.held_until = None;
        self.healthy.set(true, now);
        for (_, id) in std::mem::take(&mut self.timers) {
            self.revive(id);
        }
    }

    /// Lets time pass: what is due becomes ready, what held its call long enough is passed.
    pub fn tick(&mut self, now: Moment) {
        if let Some(until) = self.held_until
            && until <= now
        {
            self.held_until = None;
            self.healthy.set(!self.paused, until);
        }
        while let Some((_, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.pop_first();
            self.revive(id);
        }
        let healthy = self.healthy.at(now);
        while let Some((_, id)) = self.holding.first().copied().filter(|(end, _)| *end <= healthy) {
            self.let_pass(id);
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_wake(&self, now: Moment) -> Option<Moment> {
        let due = self.timers.first().map(|(due, _)| *due);
        let pass = self.holding.first().filter(|_| self.healthy.since.is_some());
        let pass = pass.map(|(end, _)| now + end.saturating_sub(self.healthy.at(now)));
        [due, pass, self.held_until].into_iter().flatten().min()
    }

    fn enqueue(&mut self, id: DeliveryId, chain: Chain) {
        self.queue.insert((chain, id));
        self.offer(chain);
    }

    /// Makes the head of a chain ready, unless the chain is taken.
    fn offer(&mut self, chain: Chain) {
        if self.heads.contains_key(&chain) {
            return;
        }
        let mut waiting = self.queue.range((chain, DeliveryId(i64::MIN))..=(chain, DeliveryId(i64::MAX)));
        let Some((_, head)) = waiting.next().copied() else { return };
        // A passed event that is due again stands before the one that was ready.
        if let Some((_, second)) = waiting.next().copied() {
            self.ready.remove(&(second, chain));
        }
        self.ready.insert((head, chain));
    }

    /// Takes back a ready head, because an older event turned up.
    fn withdraw(&mut self, chain: Chain) {
        let mut waiting = self.queue.range((chain, DeliveryId(i64::MIN))..=(chain, DeliveryId(i64::MAX)));
        if let Some((_, head)) = waiting.next().copied() {
            self.ready.remove(&(head, chain));
        }
    }

    fn release(&mut self, chain: Chain) {
        self.heads.remove(&chain);
        self.offer(chain);
    }

    fn hold_chain(&mut self, id: DeliveryId, now: Moment) {
        let end = self.healthy.at(now) + self.limits.order_wait;
        if let Some(retry) = self.retries.get_mut(&id) {
            retry.holds_until = Some(end);
            self.holding.insert((end, id));
        }
    }

    /// After another failure: holds on, if it still does; else the next of its call may go.
    fn keep_holding(&mut self, id: DeliveryId, now: Moment) {
        let Some(retry) = self.retries.get(&id).copied() else { return };
        match retry.holds_until {
            Some(end) if end > self.healthy.at(now) => {
                self.holding.insert((end, id));
            }
            Some(_) => self.let_pass(id),
            None => self.release(retry.chain),
        }
    }

    /// Ends an event's hold on its chain.
    fn let_pass(&mut self, id: DeliveryId) {
        let Some(retry) = self.retries.get_mut(&id) else { return };
        let chain = retry.chain;
        if let Some(end) = retry.holds_until.take() {
            self.holding.remove(&(end, id));
        }
        self.release(chain);
    }

    /// Makes a failed delivery ready again.
    fn revive(&mut self, id: DeliveryId) {
        let Some(retry) = self.retries.get(&id).copied() else { return };
        match retry.holds_until {
            // Still the head of its chain: it goes first, whatever has come since.
            Some(end) => {
                self.holding.remove(&(end, id));
                self.ready.insert((id, retry.chain));
            }
            None => self.enqueue(id, retry.chain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { order_wait: Duration::from_secs(30), window: 32, interval: None };

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    fn lane(ids: &[(i64, i64)]) -> Lane {
        let mut lane = Lane::new(LIMITS, at(0));
        for (id, chain) in ids {
            lane.add(DeliveryId(*id), Chain(*chain));
        }
        lane
    }

    fn start(lane: &mut Lane, now: Moment) -> Option<i64> {
        lane.start(now).map(|start| start.id.0)
    }

    fn fail(lane: &mut Lane, id: i64, chain: i64, now: u64, due: u64) {
        lane.settle(DeliveryId(id), Chain(chain), Settled::Retry { due: at(due) }, at(now));
    }

    fn done(lane: &mut Lane, id: i64, chain: i64, now: u64) {
        lane.settle(DeliveryId(id), Chain(chain), Settled::Done, at(now));
    }

    #[test]
    fn a_call_goes_one_at_a_time_and_calls_go_in_parallel() {
        let mut lane = lane(&[(1, 7), (2, 7), (3, 8)]);
        assert_eq!(start(&mut lane, at(0)), Some(1));
        assert_eq!(start(&mut lane, at(0)), Some(3));
        assert_eq!(start(&mut lane, at(0)), None);
        done(&mut lane, 1, 7, 0);
        assert_eq!(start(&mut lane, at(0)), Some(2));
        assert_eq!(lane.pending(), 2);
    }

    #[test]
    fn the_window_grows_with_success_and_halves_on_timeout() {
        let mut lane = lane(&(1..100).map(|id| (id, id)).collect::<Vec<_>>());
        let started = |lane: &mut Lane| std::iter::from_fn(|| start(lane, at(0))).count();
        assert_eq!(started(&mut lane), 2);
        for _ in 0..9 {
            lane.adapt(true, false);
        }
        assert_eq!(started(&mut lane), 30);
        lane.adapt(false, true);
        for id in 1..=17 {
            done(&mut lane, id, id, 0);
        }
        assert_eq!(started(&mut lane), 1);
    }

    #[test]
    fn a_failing_event_holds_its_call_for_order_wait_then_is_passed() {
        let mut lane = lane(&[(1, 7), (2, 7), (3, 7)]);
        start(&mut lane, at(0));
        fail(&mut lane, 1, 7, 0, 10);
        lane.tick(at(10));
        let again = Start { id: DeliveryId(1), chain: Chain(7), failures: 1 };
        assert_eq!(lane.start(at(10)), Some(again));
        fail(&mut lane, 1, 7, 10, 40);
        lane.tick(at(29));
        assert_eq!(start(&mut lane, at(29)), None);
        assert_eq!(lane.next_wake(at(29)), Some(at(30)));
        lane.tick(at(30));
        assert_eq!(start(&mut lane, at(30)), Some(2));
        lane.tick(at(40));
        // Due again while 2 is in flight: still one at a time, and before 3.
        assert_eq!(start(&mut lane, at(40)), None);
        done(&mut lane, 2, 7, 40);
        assert_eq!(start(&mut lane, at(40)), Some(1));
        fail(&mut lane, 1, 7, 41, 100);
        assert_eq!(start(&mut lane, at(41)), Some(3));
        done(&mut lane, 3, 7, 41);
        assert_eq!(lane.pending(), 1);
    }

    #[test]
    fn held_and_paused_time_does_not_let_others_pass() {
        let mut lane = lane(&[(1, 7), (2, 7)]);
        start(&mut lane, at(0));
        fail(&mut lane, 1, 7, 0, 5);
        lane.hold(at(100), at(0));
        lane.tick(at(99));
        assert_eq!((start(&mut lane, at(99)), lane.next_wake(at(99))), (None, Some(at(100))));
        lane.tick(at(100));
        assert_eq!(start(&mut lane, at(100)), Some(1));
        fail(&mut lane, 1, 7, 100, 105);
        lane.pause(at(101));
        lane.tick(at(1000));
        assert_eq!(start(&mut lane, at(1000)), None);
        lane.resume(at(1000));
        assert_eq!(start(&mut lane, at(1000)), Some(1));
        fail(&mut lane, 1, 7, 1000, 2000);
        lane.tick(at(1028));
        assert_eq!(start(&mut lane, at(1028)), None);
        lane.tick(at(1029));
        assert_eq!(start(&mut lane, at(1029)), Some(2));
    }

    #[test]
    fn a_rate_spaces_the_starts_and_a_smaller_window_holds_at_once() {
        let mut lane = lane(&[(1, 1), (2, 2), (3, 3)]);
        lane.configure(Limits { interval: Some(Duration::from_secs(2)), ..LIMITS });
        assert_eq!((start(&mut lane, at(0)), start(&mut lane, at(1))), (Some(1), None));
        assert_eq!(lane.next_wake(at(1)), Some(at(2)));
        lane.tick(at(2));
        assert_eq!((start(&mut lane, at(2)), start(&mut lane, at(3))), (Some(2), None));
        lane.configure(Limits { window: 1, ..LIMITS });
        lane.tick(at(4));
        done(&mut lane, 1, 1, 4);
        assert_eq!(start(&mut lane, at(4)), None);
        done(&mut lane, 2, 2, 4);
        assert_eq!(start(&mut lane, at(4)), Some(3));
    }

    #[test]
    fn what_failed_before_a_restart_still_holds_its_call() {
        let mut lane = Lane::new(LIMITS, at(0));
        lane.add_failed(DeliveryId(1), Chain(7), at(8), at(0));
        lane.add(DeliveryId(2), Chain(7));
        assert_eq!(start(&mut lane, at(0)), None);
        lane.tick(at(8));
        assert_eq!(start(&mut lane, at(8)), Some(1));
        done(&mut lane, 1, 7, 8);
        assert_eq!(start(&mut lane, at(8)), Some(2));
    }

    #[test]
    fn an_event_from_memory_takes_its_place_once_it_is_written() {
        let local = DeliveryId(DeliveryId::UNWRITTEN + 1);
        let mut lane = lane(&[(1, 7), (local.0, 7), (9, 7)]);
        assert!(lane.rename(local, DeliveryId(5), Chain(7)));
        for expected in [1, 5, 9] {
            assert_eq!(start(&mut lane, at(0)), Some(expected));
            done(&mut lane, expected, 7, 0);
        }
        assert!(!lane.rename(local, DeliveryId(5), Chain(7)));
        assert_eq!((lane.pending(), lane.is_idle()), (0, true));
    }

    #[test]
    fn an_event_from_memory_keeps_its_place_when_it_fails() {
        let local = DeliveryId::UNWRITTEN + 1;
        let mut lane = lane(&[(local, 7)]);
        start(&mut lane, at(0));
        lane.add(DeliveryId(5), Chain(7));
        fail(&mut lane, local, 7, 0, 1);
        lane.tick(at(1));
        assert_eq!(start(&mut lane, at(1)), Some(local));
        done(&mut lane, local, 7, 1);
        assert_eq!(start(&mut lane, at(1)), Some(5));
        done(&mut lane, 5, 7, 1);
        assert!(lane.is_idle());
        assert_eq!(lane.pending(), 0);
    }
}
