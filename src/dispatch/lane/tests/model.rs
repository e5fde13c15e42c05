//! What a lane is to do, without its indexes: every question is answered by looking at all
//! deliveries, and time passes second by second.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Position, Resize, Seen};
use crate::ids::DeliveryId;

/// The position of a delivery that did not wait: its number rises with its id.
pub fn position(id: i64) -> Position {
    Position { sequence: id, id: DeliveryId(id) }
}

/// What a hook sets, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub order_wait: u64,
    pub window: usize,
    pub interval: Option<u64>,
    pub target: u64,
}

/// What an attempt means, in seconds from its end.
#[derive(Clone, Copy, Debug)]
pub struct Conclusion {
    pub again: Option<u64>,
    pub seen: Seen,
    pub window: Resize,
    pub hold: Option<u64>,
    pub pause: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    InFlight,
    /// It waits until then.
    Failed(u64),
}

#[derive(Clone, Copy, Debug)]
struct Item {
    chain: i64,
    state: State,
    failures: u32,
    /// The target of its last start.
    target: u64,
    /// The others of its chain wait for it.
    head: bool,
    /// The end, in healthy time, of the time the others wait for it; none before it fails.
    holds_until: Option<u64>,
}

/// A lane as a list.
#[derive(Debug)]
pub struct Model {
    pub now: u64,
    healthy: u64,
    limits: Limits,
    items: BTreeMap<i64, Item>,
    window: usize,
    paused: bool,
    held_until: Option<u64>,
    /// The deliveries of all faults since the last answer.
    faults: Vec<i64>,
    /// While the breaker is open: the wait between probes, when the next may start, and the last one.
    probes: Option<(u64, u64, i64)>,
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Self {
            now: 0,
            healthy: 0,
            limits,
            items: BTreeMap::new(),
            window: 2.min(limits.window),
            paused: false,
            held_until: None,
            faults: Vec::new(),
            probes: None,
        }
    }

    pub fn configure(&mut self, limits: Limits) {
        let is_elsewhere = limits.target != self.limits.target;
        self.limits = limits;
        self.window = self.window.min(limits.window);
        if is_elsewhere {
            self.window = 2.min(limits.window);
            self.held_until = None;
            self.close();
        }
    }

    fn close(&mut self) {
        self.faults.clear();
        self.probes = None;
        self.revive();
    }

    fn revive(&mut self) {
        let failed = self.items.values_mut().filter(|item| matches!(item.state, State::Failed(_)));
        failed.for_each(|item| item.state = State::Waiting);
    }

    pub fn pending(&self) -> usize {
        self.items.len()
    }

    pub fn oldest(&self) -> Option<i64> {
        self.items.keys().next().copied()
    }

    pub fn knows(&self, id: i64) -> bool {
        self.items.contains_key(&id)
    }

    pub fn chain(&self, id: i64) -> i64 {
        self.items[&id].chain
    }

    /// Where the last attempt of a delivery went.
    pub fn target(&self, id: i64) -> u64 {
        self.items[&id].target
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The deliveries in flight and their chains.
    pub fn in_flight(&self) -> Vec<(i64, i64)> {
        let in_flight = self.items.iter().filter(|(_, item)| item.state == State::InFlight);
        in_flight.map(|(id, item)| (*id, item.chain)).collect()
    }

    pub fn add(&mut self, id: i64, chain: i64) {
        let item =
            Item { chain, state: State::Waiting, failures: 0, target: 0, head: false, holds_until: None };
        self.items.entry(id).or_insert(item);
    }

    pub fn add_failed(&mut self, id: i64, chain: i64, due: u64) {
        let head = !self.items.values().any(|item| item.chain == chain && item.head);
        // Behind another head it holds nothing: it counts as passed.
        let holds_until = Some(if head { self.healthy + self.limits.order_wait } else { 0 });
        let state = State::Failed(self.now + due);
        self.items.insert(id, Item { chain, state, failures: 0, target: 0, head, holds_until });
    }

    /// Takes out the oldest that has failed or may start, as far as its call decides.
    pub fn evict(&mut self) -> Option<i64> {
        let chains: BTreeSet<_> = self.items.values().map(|item| item.chain).collect();
        let firsts = chains.into_iter().filter_map(|chain| self.first_of(chain));
        let has_failed = |item: &Item| item.holds_until.is_some() && item.state != State::InFlight;
        let failed = self.items.iter().filter(|(_, item)| has_failed(item)).map(|(id, _)| *id);
        let id = firsts.chain(failed).min()?;
        self.items.remove(&id);
        Some(id)
    }

    /// The delivery that may start, its chain, and how often it failed.
    pub fn next(&self) -> Option<(i64, i64, u32)> {
        let open = !self.paused && self.held_until.is_none_or(|until| until <= self.now);
        let probe = self.probes.is_none_or(|(_, next, _)| self.in_flight().is_empty() && next <= self.now);
        if !open || !probe || self.in_flight().len() >= self.window {
            return None;
        }
        let chains: BTreeSet<_> = self.items.values().map(|item| item.chain).collect();
        let firsts: Vec<_> = chains.into_iter().filter_map(|chain| self.first_of(chain)).collect();
        let behind = self.probes.map_or(0, |(_, _, last)| last);
        let id = firsts.iter().filter(|id| **id > behind).min().or(firsts.iter().min()).copied()?;
        Some((id, self.items[&id].chain, self.items[&id].failures))
    }

    fn first_of(&self, chain: i64) -> Option<i64> {
        let of_chain = || self.items.iter().filter(move |(_, item)| item.chain == chain);
        let head = of_chain().find(|(_, item)| item.head);
        let mut first = head.into_iter().chain(of_chain().filter(|_| head.is_none()));
        first.find(|(_, item)| item.state == State::Waiting).map(|(id, _)| *id)
    }

    /// The others of its chain that should go before this one, which never failed.
    pub fn overtaken(&self, id: i64) -> Vec<i64> {
        let item = self.items[&id];
        if item.holds_until.is_some() {
            return Vec::new();
        }
        let older = self.items.range(..id).filter(|(_, other)| other.chain == item.chain);
        let patient = older.filter(|(_, other)| other.holds_until.is_none_or(|end| end > self.healthy));
        patient.map(|(id, _)| *id).collect()
    }

    pub fn start(&mut self, id: i64) {
        let item = self.items.get_mut(&id).expect("a delivery");
        (item.state, item.head, item.target) = (State::InFlight, true, self.limits.target);
        self.probes.iter_mut().for_each(|(_, _, last)| *last = id);
        if let Some(interval) = self.limits.interval {
            self.hold(interval);
        }
    }

    /// True if it is paused from here on and was not before.
    pub fn settle(&mut self, id: i64, mut conclusion: Conclusion) -> bool {
        if self.target(id) != self.limits.target {
            let seen = match conclusion.seen {
                Seen::Nothing => Seen::Nothing,
                seen => Seen::Elsewhere { delivered: seen.is_success() },
            };
            let again = conclusion.again.map(|_| 0);
            conclusion = Conclusion { again, seen, window: Resize::Keep, hold: None, pause: false };
        }
        self.window = match conclusion.window {
            Resize::Keep => self.window,
            Resize::Double => (2 * self.window).min(self.limits.window),
            Resize::Halve => (self.window / 2).max(1),
        };
        conclusion.hold.into_iter().for_each(|hold| self.hold(hold));
        let pauses = conclusion.pause && !self.paused;
        self.paused |= conclusion.pause;
        self.learn(id, conclusion);
        match conclusion.again {
            None => drop(self.items.remove(&id)),
            Some(again) => {
                let item = self.items.get_mut(&id).expect("a delivery");
                item.state = State::Failed(self.now + again);
                item.failures += u32::from(conclusion.seen.is_failure());
                match item.holds_until {
                    None => item.holds_until = Some(self.healthy + self.limits.order_wait),
                    Some(end) => item.head = end > self.healthy,
                }
            }
        }
        if self.probes.is_some() {
            self.revive();
        }
        pauses
    }

    fn learn(&mut self, id: i64, conclusion: Conclusion) {
        match conclusion.seen {
            Seen::Nothing => {
                let again = self.now + conclusion.again.unwrap_or(0);
                self.probes.iter_mut().for_each(|(_, next, _)| *next = again.max(*next));
            }
            Seen::Delivery | Seen::Answer if self.probes.is_some() => self.close(),
            Seen::Delivery | Seen::Answer => self.faults.clear(),
            Seen::Fault => self.fault(id),
            Seen::Elsewhere { .. } => {
                let of_this = self.probes.iter_mut().filter(|(.., last)| *last == id);
                of_this.for_each(|(wait, next, _)| *next = self.now + *wait);
            }
        }
    }

    fn fault(&mut self, id: i64) {
        self.faults.push(id);
        match &mut self.probes {
            Some((wait, next, last)) if *last == id => {
                *wait = (2 * *wait).min(30);
                *next = self.now + *wait;
            }
            Some(_) => {}
            None => {
                let several = self.faults.iter().any(|other| *other != id);
                self.probes = (self.faults.len() >= 5 && several).then_some((1, self.now + 1, 0));
            }
        }
    }

    fn hold(&mut self, time: u64) {
        self.held_until = self.held_until.max(Some(self.now + time));
    }

    pub fn pause(&mut self) {
        self.paused = true;
    }

    pub fn resume(&mut self) {
        if std::mem::take(&mut self.paused) {
            self.held_until = None;
            self.close();
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.catch_up();
        for _ in 0..seconds {
            self.healthy += u64::from(!self.paused && self.held_until.is_none() && self.probes.is_none());
            self.now += 1;
            self.catch_up();
        }
    }

    fn catch_up(&mut self) {
        self.held_until = self.held_until.filter(|until| *until > self.now);
        for item in self.items.values_mut() {
            match item.state {
                State::Failed(due) if due <= self.now => item.state = State::Waiting,
                State::Failed(_) => item.head &= item.holds_until.is_some_and(|end| end > self.healthy),
                State::Waiting | State::InFlight => {}
            }
        }
    }
}
