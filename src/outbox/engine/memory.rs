//! A second engine, in memory: the plainest thing that stores changes, for tests.

mod kept;
mod row;
mod stored;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::row::Row;
use super::{Engine, StoreFault};
use crate::calls::{
    AuditRecord, Change, FreedEvent, Keys, Known, LastCalled, LastNumber, Loaded, NewEvent, Next,
    NumberCalled, Place, Replay, Sequences, Session, Settlement, Shelf, Sweep, Waiting,
};
use crate::hooks::Number;
use crate::ids::{Chain, DeliveryId, HookId};
use crate::registry::{HookChange, Pause, Pauses};
use crate::route::{Call, Reason};
use crate::time::UnixMillis;

/// What outlives an engine.
#[derive(Default)]
pub struct Disk {
    rows: Mutex<Rows>,
    /// Whether commits fail.
    pub refuses: AtomicBool,
}

/// An engine on a [`Disk`].
pub struct Memory(pub Arc<Disk>);

#[derive(Default)]
struct Rows {
    events: BTreeMap<DeliveryId, Row>,
    sessions: HashMap<Arc<str>, Session>,
    chains: HashMap<Chain, LastNumber>,
    /// Up to this event `chains` is complete.
    complete: i64,
    numbers: HashMap<Number, LastCalled>,
    hooks: HashSet<HookId>,
    pauses: HashMap<HookId, Pause>,
    audit: BTreeMap<i64, Arc<AuditRecord>>,
}

impl Memory {
    /// What deciding knows at a start.
    pub fn known(&self) -> Known {
        let rows = self.rows();
        let mut sequences = Sequences::default();
        for (id, row) in rows.events.range(DeliveryId(rows.complete + 1)..) {
            if let Some((chain, number)) = row.numbered {
                sequences.learn(rows.last_number(chain));
                let number = number.max(sequences.next(chain) - 1);
                sequences.count(chain, number, *id, row.post.received_at);
            }
        }
        let last_audit_id = rows.audit.last_key_value().map_or(0, |(id, _)| *id);
        Known::new(rows.last_id().0, Pauses::new(rows.pauses.clone()), sequences).audited(last_audit_id)
    }

    /// Why each stored event that has no hook has none, by its key.
    pub fn reasons(&self) -> BTreeMap<String, &'static str> {
        let rows = self.rows();
        let without =
            rows.events.values().filter_map(|row| Some((row.post.key.to_string(), row.reason?.as_str())));
        without.collect()
    }

    /// The events that wait for their call.
    pub fn held(&self) -> Vec<DeliveryId> {
        let rows = self.rows();
        let held = rows.events.iter().filter(|(_, row)| row.shelf == Shelf::Held);
        held.map(|(id, _)| *id).collect()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Memory {
    fn load(&mut self, keys: &Keys) -> Result<Loaded, StoreFault> {
        Ok(self.rows().load(keys))
    }

    fn commit(&mut self, changes: &[&[Change]]) -> Result<(), StoreFault> {
        if self.0.refuses.load(Ordering::Acquire) {
            return Err(StoreFault::Slow);
        }
        let mut rows = self.rows();
        changes.iter().copied().flatten().for_each(|change| rows.apply(change));
        Ok(())
    }

    fn check(&mut self) -> Result<bool, StoreFault> {
        Ok(false)
    }

    fn rest(&mut self) {}

    fn tidy(&mut self, _closing: bool) {}
}

impl Rows {
    fn load(&self, keys: &Keys) -> Loaded {
        let mut loaded = Loaded::default();
        let answers = &mut loaded.answers;
        let stored: HashSet<_> = self.events.values().map(|row| &row.post.key).collect();
        answers.stored = keys.events.iter().filter(|key| stored.contains(key)).cloned().collect();
        answers.asked = keys.events.iter().cloned().collect();
        for key in &keys.sessions {
            match self.sessions.get(key) {
                Some(session) => loaded.sessions.push((Arc::clone(key), session.clone())),
                None => drop(answers.absent.insert(Arc::clone(key))),
            }
        }
        answers.rooms = keys.rooms.iter().map(|room| (Arc::clone(room), self.of_room(room))).collect();
        answers.waiting = keys.waiting.iter().map(|place| (place.clone(), self.waiting(place))).collect();
        loaded.chains = keys.chains.iter().map(|chain| self.last_number(*chain)).collect();
        let called = |number: &Number| Some((number.clone(), self.numbers.get(number)?.clone()));
        loaded.numbers = keys.numbers.iter().filter_map(called).collect();
        answers.numbers = keys.numbers.iter().cloned().collect();
        let replayable = |id| self.events.get(id).and_then(Row::replayable);
        answers.letters = keys.letters.iter().map(|id| (*id, replayable(id))).collect();
        loaded
    }

    fn last_id(&self) -> DeliveryId {
        self.events.last_key_value().map_or(DeliveryId(0), |(id, _)| *id)
    }

    fn of_room(&self, room: &Arc<str>) -> Vec<Arc<str>> {
        let named = self.sessions.iter().filter(|(_, session)| session.room.as_ref() == Some(room));
        let mut named: Vec<_> = named.map(|(key, session)| (session.began_at, Arc::clone(key))).collect();
        named.sort_by(|a, b| b.cmp(a));
        named.into_iter().map(|(_, key)| key).take(2).collect()
    }

    fn waiting(&self, place: &Place) -> Vec<Waiting> {
        let is_there = |row: &Row, reason: Reason| match place {
            Place::Session(session) => row.session.as_ref() == Some(session) && reason.is_mendable(),
            Place::Room(room) => {
                row.session.is_none() && row.post.room.as_ref() == Some(room) && reason.waits_for_call()
            }
        };
        let waiting = self.events.iter().filter_map(|(id, row)| {
            let (reason, body) = (row.reason.filter(|reason| is_there(row, *reason))?, row.body.clone()?);
            let post = row.stored(body);
            Some(Waiting { id: *id, reason, post: Arc::new(post) })
        });
        waiting.collect()
    }

    fn last_number(&self, chain: Chain) -> LastNumber {
        let none = LastNumber { chain, sequence: 0, seen_at: UnixMillis(0) };
        self.chains.get(&chain).copied().unwrap_or(none)
    }

    fn set_last_number(&mut self, new: LastNumber) {
        let last = self.chains.entry(new.chain).or_insert(new);
        last.sequence = last.sequence.max(new.sequence);
        last.seen_at = last.seen_at.max(new.seen_at);
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::EventAdded(event) => self.add(event),
            Change::CallBegun { session, room, sip, at, space: _, bound } => {
                self.sessions.entry(Arc::clone(session)).or_insert_with(|| {
                    let mut call = Call::new(*sip, false);
                    bound.iter().for_each(|(bound, by)| call.bind(bound.binding.clone(), by.as_deref()));
                    let (room, began_at, seen_at) = (room.clone(), *at, *at);
                    Session { call, room, began_at, seen_at, ..Session::default() }
                });
            }
            Change::CallSeen { session, at } => {
                self.with(session, |session| session.seen_at = session.seen_at.max(*at));
            }
            Change::CallBound { session, bound, participant } => {
                let binding = bound.binding.clone();
                self.with(session, |session| session.call.bind(binding, participant.as_deref()));
            }
            Change::CallHasSip { session } => self.has_sip(session),
            Change::CallShared { session } => self.with(session, |session| session.call.shared = true),
            Change::CallFinished { session, at } => self.with(session, |session| {
                if session.finished_at.is_none() {
                    (session.finished_at, session.seen_at) = (Some(*at), *at);
                }
            }),
            Change::ParticipantPlaced { session, participant, placement, tenant: _, space: _ } => {
                self.with(session, |session| session.call.place(participant, placement.clone()));
            }
            Change::EventFreed(freed) => self.free(freed),
            Change::EventStays { id, session, reason, place: _, tenant: _ } => {
                self.stay(*id, session, *reason);
            }
            Change::HoldEnded(ids) => ids.iter().for_each(|id| self.end_hold(*id)),
            Change::NumberCalled(called) => self.called(called),
            Change::Attempted(settlement) => self.settle(settlement),
            Change::GivenUp(given_up) => self.give_up(given_up.delivery),
            Change::LetterRevived { replay, at: _ } => self.revive(*replay),
            Change::Hook(change) => self.edit(change),
            Change::HookPaused { hook, at, by } => {
                if self.hooks.contains(hook) {
                    self.pauses.entry(*hook).or_default().begin(*at, *by);
                }
            }
            Change::HookResumed { hook, paused_ms } => {
                if let Some(pause) = self.pauses.get_mut(hook).filter(|pause| pause.since.is_some()) {
                    *pause = Pause { before_ms: *paused_ms, ..Pause::default() };
                }
            }
            Change::Audited(entry) => drop(self.audit.insert(entry.id, Arc::clone(&entry.record))),
            // Its states are never altered, and no decision needs the others.
            Change::PutRight(_)
            | Change::SecretRotated { .. }
            | Change::TenantRevoked { .. }
            | Change::TokenRevoked { .. }
            | Change::HistoryCopied(_)
            | Change::Digested(_)
            | Change::ErasureBegun { .. }
            | Change::Erased(_) => {}
            Change::Swept { sweep, numbers, complete } => self.sweep(sweep, numbers, *complete),
        }
    }

    fn add(&mut self, event: &NewEvent) {
        if !self.events.values().any(|row| row.post.key == event.post.key) {
            self.events.insert(event.id, Row::new(event));
        }
    }

    fn with(&mut self, session: &Arc<str>, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.get_mut(session) {
            change(session);
        }
    }

    fn has_sip(&mut self, session: &Arc<str>) {
        self.with(session, |session| session.call.sip = true);
        let of_session = self.events.values_mut().filter(|row| row.session.as_ref() == Some(session));
        of_session.filter(|row| row.shelf == Shelf::WithoutSip).for_each(|row| row.shelf = Shelf::Unrouted);
    }

    /// The event, if it has no hook.
    fn unrouted(&mut self, id: DeliveryId) -> Option<&mut Row> {
        self.events.get_mut(&id).filter(|row| row.reason.is_some())
    }

    fn free(&mut self, freed: &FreedEvent) {
        let (chain, sequence) = (freed.destination.chain, freed.destination.sequence);
        if let Some(row) = self.unrouted(freed.id) {
            (row.shelf, row.reason) = (Shelf::Pending, None);
            row.session = Some(Arc::clone(&freed.session));
            row.numbered = Some((chain, sequence));
        }
        self.set_last_number(LastNumber { chain, sequence, seen_at: freed.at });
    }

    fn stay(&mut self, id: DeliveryId, session: &Arc<str>, reason: Reason) {
        if let Some(row) = self.unrouted(id) {
            (row.shelf, row.reason) = (Shelf::Unrouted, Some(reason));
            row.session = Some(Arc::clone(session));
            row.body = row.body.take().filter(|_| reason != Reason::Filtered);
        }
    }

    fn end_hold(&mut self, id: DeliveryId) {
        let Some(row) = self.events.get_mut(&id).filter(|row| row.shelf == Shelf::Held) else { return };
        let session = row.session.as_ref().and_then(|session| self.sessions.get(session));
        let has_sip = session.is_some_and(|session| session.call.sip);
        row.shelf = if has_sip { Shelf::Unrouted } else { Shelf::WithoutSip };
        row.reason = Some(Reason::NoCall);
    }

    fn called(&mut self, called: &NumberCalled) {
        let NumberCalled { number, now, before } = called;
        let last = self.numbers.entry(number.clone()).or_insert_with(|| now.clone());
        // Without one before it is the same domain.
        let domain = if before.is_some() { &now.domain } else { &last.domain };
        *last = LastCalled { domain: domain.clone(), ..now.clone() };
    }

    fn settle(&mut self, settlement: &Settlement) {
        let Some(row) = self.events.get_mut(&settlement.delivery) else { return };
        match settlement.next {
            Next::Delivered => {
                (row.shelf, row.body) = (Shelf::Delivered, None);
                row.is_kept |= settlement.kept.is_some();
            }
            Next::Dead(_) => row.shelf = Shelf::Dead,
            Next::Retry { .. } => {}
        }
    }

    fn give_up(&mut self, delivery: DeliveryId) {
        if let Some(row) = self.events.get_mut(&delivery).filter(|row| row.shelf == Shelf::Pending) {
            row.shelf = Shelf::Dead;
        }
    }

    fn revive(&mut self, replay: Replay) {
        let is_there = |row: &&mut Row| row.replayable() == Some(replay.from);
        if let Some(row) = self.events.get_mut(&replay.id).filter(is_there) {
            row.shelf = Shelf::Pending;
            row.numbered = row.numbered.map(|(_, sequence)| (replay.chain, sequence));
        }
    }

    fn edit(&mut self, change: &HookChange) {
        let calls = self.sessions.values_mut().map(|session| &mut session.call);
        match change {
            HookChange::Add { id, .. } => drop(self.hooks.insert(*id)),
            HookChange::Alter { .. } => {}
            HookChange::Remove { id, .. } => {
                self.hooks.remove(id);
                self.pauses.remove(id);
            }
            HookChange::Move { id, url, format } => calls.for_each(|call| {
                call.rebind(*id, |binding| (binding.url, binding.format) = (url.as_str().into(), *format));
            }),
            HookChange::Cut { id } => {
                calls.for_each(|call| call.rebind(*id, |binding| binding.hook = HookId::NOBODY));
            }
        }
    }

    fn sweep(&mut self, sweep: &Sweep, numbers: &[LastNumber], complete: i64) {
        numbers.iter().for_each(|last| self.set_last_number(*last));
        self.complete = self.complete.max(complete);
        let newest = self.last_id();
        for (id, shelf) in &sweep.events {
            // The newest stays: its id must not be given again.
            if *id < newest && self.events.get(id).is_some_and(|row| row.shelf == *shelf) {
                self.events.remove(id);
            }
        }
        for id in &sweep.stripped {
            if let Some(row) = self.events.get_mut(id).filter(|row| row.shelf == Shelf::WithoutSip) {
                (row.shelf, row.body) = (Shelf::Unrouted, None);
            }
        }
        for id in &sweep.kept {
            // It stays with an event that is being sent again.
            if let Some(row) = self.events.get_mut(id).filter(|row| row.shelf == Shelf::Delivered) {
                row.is_kept = false;
            }
        }
        let (finished, seen) = sweep.ended_before;
        for gone in &sweep.sessions {
            // One may have come alive since it was named.
            let is_over = |session: &Session| {
                session.finished_at.is_some_and(|at| at.0 < finished) || session.seen_at.0 < seen
            };
            if self.sessions.get(gone.as_str()).is_some_and(is_over) {
                self.sessions.remove(gone.as_str());
            }
        }
        let audit = &sweep.audit;
        self.audit.retain(|id, _| (audit.records == 0 || *id > audit.up_to) && !audit.surplus.contains(id));
        self.numbers.retain(|number, _| !sweep.numbers.iter().any(|gone| gone == number.as_str()));
        let is_silent =
            |last: &LastNumber| sweep.chains.contains(&last.chain.0) && last.seen_at.0 < sweep.silent_since;
        self.chains.retain(|_, last| !is_silent(last));
    }
}
