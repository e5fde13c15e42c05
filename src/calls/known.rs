//! What deciding knows: the sessions and numbers in memory, and what was loaded for the present batch.
//!
//! Deciding updates it, and nothing is rolled back. All that an unwritten change touches stays in memory, and
//! what is loaded from the store is corrected by it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::records::{
    Answers, CalledLately, Change, Loaded, NewEvent, Place, Post, Sequences, Session, Waiting,
};
use crate::hooks::Number;
use crate::ids::{DeliveryId, HookId};
use crate::registry::{HookChange, Pauses};
use crate::route::{Binding, Call};
use crate::time::UnixMillis;

/// At most this many sessions are kept in memory; others are loaded when their events come.
const SESSIONS: usize = 50_000;

/// The same of called numbers.
const NUMBERS: usize = 20_000;

/// How long, and how many, event ids are remembered, to find duplicates while the store cannot be read.
const RECENT_MS: i64 = 120_000;
const RECENT: usize = 1 << 18;

/// The state of deciding. Never printed: URLs may hold credentials.
#[derive(Default)]
pub struct Known {
    pub(super) sessions: HashMap<Arc<str>, Box<Session>, RandomState>,
    pub sequences: Sequences,
    pub pauses: Pauses,
    pub(super) numbers: HashMap<Number, CalledLately, RandomState>,
    /// The URL of each hook's latest call: most calls of a hook share it.
    urls: HashMap<HookId, Arc<str>>,
    /// The id of the last event.
    last_id: i64,
    /// The id of the last record in the audit log.
    last_audit_id: i64,
    recent: Recent,
    unwritten: Unwritten,
    /// Batches of changes that are not written.
    pub(super) batches: usize,
    /// Sessions to drop from memory once all is written.
    finished: Vec<Arc<str>>,
    /// What was loaded for the present batch.
    pub(super) loaded: Answers,
}

/// What is decided and not written yet, where it must be found again.
#[derive(Debug, Default)]
struct Unwritten {
    /// Keys of events.
    keys: HashSet<Arc<str>, RandomState>,
    waiting: HashMap<Place, Vec<Waiting>, RandomState>,
    /// Events that waited and have a hook now, which the store does not know yet.
    freed: HashSet<DeliveryId, RandomState>,
    /// Edits that move calls or cut them off, in order: sessions are loaded as they were before.
    edits: Vec<HookChange>,
    /// Sessions by their room's name, in the order they began.
    rooms: HashMap<Arc<str>, Vec<Arc<str>>, RandomState>,
}

/// Ids that came within [`RECENT_MS`], by hash: only asked while the store cannot be read.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<(UnixMillis, u64)>,
    hashes: HashSet<u64, RandomState>,
    state: RandomState,
}

impl Known {
    /// Knows the id of the last event, the pauses, and the sequence numbers that are not stored yet.
    pub fn new(last_id: i64, pauses: Pauses, sequences: Sequences) -> Self {
        Self { sequences, pauses, last_id, ..Self::default() }
    }

    /// The same, with the id of the last record in the audit log.
    #[must_use]
    pub fn audited(self, last_audit_id: i64) -> Self {
        Self { last_audit_id, ..self }
    }

    /// The id of the next record in the audit log.
    pub fn next_audit_id(&mut self) -> i64 {
        self.last_audit_id += 1;
        self.last_audit_id
    }

    /// The id of the last record in the audit log.
    pub fn last_audit_id(&self) -> i64 {
        self.last_audit_id
    }

    /// The id of the next event. Handed out before the commit, so that a commit of unknown outcome can be
    /// repeated.
    pub fn next_id(&mut self) -> DeliveryId {
        self.last_id += 1;
        DeliveryId(self.last_id)
    }

    /// The highest id so far.
    pub fn last_id(&self) -> DeliveryId {
        DeliveryId(self.last_id)
    }

    /// What is known of a session.
    pub fn call(&self, session: &str) -> Option<&Call> {
        self.session(session).map(|session| &session.call)
    }

    pub(super) fn session(&self, session: &str) -> Option<&Session> {
        self.sessions.get(session).map(|session| &**session)
    }

    pub(super) fn session_or_new(&mut self, session: &Arc<str>, post: &Post) -> &mut Session {
        let first = || Box::new(Session { room: post.room.clone(), ..Session::default() });
        self.sessions.entry(Arc::clone(session)).or_insert_with(first)
    }

    /// The session an event belongs to: its room's sid, else the session of that name which began last, unless
    /// it is finished.
    pub fn session_of(&self, post: &Post) -> Option<Arc<str>> {
        if let Some(sid) = &post.sid {
            return Some(Arc::clone(sid));
        }
        self.live_session(post.room.as_ref()?)
    }

    /// The session that has a room's name now: the one that began last, unless it is finished.
    pub(super) fn live_session(&self, room: &Arc<str>) -> Option<Arc<str>> {
        let latest = self.latest_of(room)?;
        // The store's index of names may be damaged: the session says by itself what its name is.
        let is_live = |session: &Session| {
            session.finished_at.is_none() && session.room.as_ref().is_none_or(|name| name == room)
        };
        self.session(&latest).is_none_or(is_live).then_some(latest)
    }

    /// The session of a room's name that began last.
    pub(super) fn latest_of(&self, room: &Arc<str>) -> Option<Arc<str>> {
        let unwritten = self.unwritten.rooms.get(room).and_then(|sessions| sessions.last());
        unwritten.or_else(|| self.loaded.rooms.get(room)?.first()).cloned()
    }

    /// Whether a room's name is or was another session's, too.
    pub(super) fn has_other_session(&self, room: &Arc<str>, session: &str) -> bool {
        let unwritten = self.unwritten.rooms.get(room).into_iter().flatten();
        let stored = self.loaded.rooms.get(room).into_iter().flatten();
        unwritten.chain(stored).any(|other| **other != *session)
    }

    /// Whether an event of this key was decided before.
    pub fn is_duplicate(&self, key: &Arc<str>) -> bool {
        self.unwritten.keys.contains(key)
            || self.loaded.stored.contains(key)
            || (!self.loaded.asked.contains(key) && self.recent.has(key))
    }

    /// The events of a place that have no hook, in order of arrival: those in the store as they were loaded,
    /// and what was decided since.
    pub(super) fn waiting(&self, place: &Place) -> Vec<Waiting> {
        let stored = self.loaded.waiting.get(place).into_iter().flatten();
        let stored = stored.filter(|waiting| !self.unwritten.freed.contains(&waiting.id));
        let unwritten = self.unwritten.waiting.get(place).map_or(&[][..], Vec::as_slice);
        let is_newer = |stored: &&Waiting| !unwritten.iter().any(|waiting| waiting.id == stored.id);
        let mut waiting: Vec<_> = stored.filter(is_newer).chain(unwritten).cloned().collect();
        waiting.sort_by_key(|waiting| waiting.id);
        waiting
    }

    /// Adds what was loaded for the present batch. What is in memory already is newer and stays.
    pub fn learn(&mut self, loaded: Loaded) {
        let Loaded { sessions, chains, numbers, damaged: _, answers } = loaded;
        for (key, mut session) in sessions {
            if self.sessions.contains_key(&key) {
                continue;
            }
            self.unwritten.edits.iter().for_each(|edit| session.edit(edit));
            session.call.binding = session.call.binding.map(|binding| self.sharing(&binding));
            if session.finished_at.is_some() {
                self.finished.push(Arc::clone(&key));
            }
            self.sessions.insert(key, Box::new(session));
        }
        chains.into_iter().for_each(|last| self.sequences.learn(last));
        for (number, last) in numbers {
            self.numbers.entry(number).or_insert_with(|| last.into());
        }
        self.loaded.extend(answers);
    }

    /// The batch is decided: what was loaded for it alone may be out of date from here on.
    pub fn end_batch(&mut self) {
        self.loaded.clear();
    }

    /// The same binding, with the URL text that other calls of its hook have.
    pub(super) fn sharing(&mut self, binding: &Binding) -> Binding {
        let url = self.urls.entry(binding.hook).or_insert_with(|| Arc::clone(&binding.url));
        if **url != *binding.url {
            *url = Arc::clone(&binding.url);
        }
        Binding { hook: binding.hook, url: Arc::clone(url), format: binding.format }
    }

    /// Applies an edit of the hook table to the calls in memory; those that are loaded before it is written follow.
    pub(super) fn edit(&mut self, edit: &HookChange) {
        if edit.moves_calls() {
            self.sessions.values_mut().for_each(|session| session.edit(edit));
            self.unwritten.edits.push(edit.clone());
        }
    }

    /// Notes what a change touches, until [`Self::written`].
    pub(super) fn note(&mut self, change: &Change) {
        match change {
            Change::EventAdded(event) => {
                self.unwritten.keys.insert(Arc::clone(&event.post.key));
                self.recent.add(&event.post.key, event.post.received_at);
                if let (Some(place), Err(reason)) = (place(event), &event.fate)
                    && reason.is_mendable()
                {
                    let waiting = Waiting { id: event.id, reason: *reason, post: Arc::clone(&event.post) };
                    self.unwritten.waiting.entry(place).or_default().push(waiting);
                }
            }
            Change::CallBegun { session, room: Some(room), .. } => {
                self.unwritten.rooms.entry(Arc::clone(room)).or_default().push(Arc::clone(session));
            }
            Change::EventFreed(freed) => self.note_freed(&freed.place, freed.id),
            Change::EventStays { id, place, reason, .. } => {
                if !reason.is_mendable() {
                    self.note_freed(place, *id);
                }
            }
            // Sessions, numbers and pauses are in memory themselves until all is written.
            Change::CallBegun { room: None, .. }
            | Change::CallSeen { .. }
            | Change::CallBound { .. }
            | Change::CallHasSip { .. }
            | Change::CallShared { .. }
            | Change::CallFinished { .. }
            | Change::ParticipantPlaced { .. }
            | Change::NumberCalled(_)
            | Change::HookPaused { .. }
            | Change::HookResumed { .. }
            | Change::Swept { .. } => {}
            // Nothing of these is asked for before it is written: what was held is released like what is.
            Change::HoldEnded(_)
            | Change::Attempted(_)
            | Change::GivenUp(_)
            | Change::PutRight(_)
            | Change::LetterRevived { .. }
            | Change::Hook(_)
            | Change::SecretRotated { .. }
            | Change::TenantRevoked { .. }
            | Change::TokenRevoked { .. }
            | Change::Audited(_)
            | Change::HistoryCopied(_)
            | Change::Digested(_)
            | Change::ErasureBegun { .. }
            | Change::Erased(_) => {}
        }
    }

    fn note_freed(&mut self, place: &Place, id: DeliveryId) {
        self.unwritten.freed.insert(id);
        self.drop_waiting(place, id);
    }

    /// These changes are in the store: what only they kept in memory may be dropped.
    pub fn written(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::EventAdded(event) => {
                    self.unwritten.keys.remove(&event.post.key);
                    if let Some(place) = place(event).filter(|_| event.fate.is_err()) {
                        self.drop_waiting(&place, event.id);
                    }
                }
                Change::CallBegun { session, room: Some(room), .. } => {
                    if let Some(sessions) = self.unwritten.rooms.get_mut(room) {
                        sessions.retain(|other| other != session);
                        if sessions.is_empty() {
                            self.unwritten.rooms.remove(room);
                        }
                    }
                }
                Change::EventFreed(freed) => drop(self.unwritten.freed.remove(&freed.id)),
                Change::EventStays { id, .. } => drop(self.unwritten.freed.remove(id)),
                Change::CallFinished { session, .. } => self.finished.push(Arc::clone(session)),
                Change::Hook(edit) if edit.moves_calls() => drop(self.unwritten.edits.remove(0)),
                Change::Swept { sweep, .. } => {
                    self.finished.extend(sweep.sessions.iter().map(|session| session.as_str().into()));
                }
                // What memory has of them is read again, as it is stored now.
                Change::Erased(part) => {
                    self.finished.extend(part.sessions().into_iter().map(Into::into));
                    let numbers = part.numbers().into_iter().filter_map(Number::new);
                    numbers.for_each(|number| drop(self.numbers.remove(&number)));
                }
                // What `note` kept nothing of.
                Change::CallBegun { room: None, .. }
                | Change::CallSeen { .. }
                | Change::CallBound { .. }
                | Change::CallHasSip { .. }
                | Change::CallShared { .. }
                | Change::ParticipantPlaced { .. }
                | Change::HoldEnded(_)
                | Change::NumberCalled(_)
                | Change::Attempted(_)
                | Change::GivenUp(_)
                | Change::PutRight(_)
                | Change::LetterRevived { .. }
                | Change::Hook(_)
                | Change::HookPaused { .. }
                | Change::HookResumed { .. }
                | Change::SecretRotated { .. }
                | Change::TenantRevoked { .. }
                | Change::TokenRevoked { .. }
                | Change::Audited(_)
                | Change::HistoryCopied(_)
                | Change::Digested(_)
                | Change::ErasureBegun { .. } => {}
            }
        }
        self.batches = self.batches.saturating_sub(1);
        if self.batches == 0 {
            self.forget();
        }
    }

    fn drop_waiting(&mut self, place: &Place, id: DeliveryId) {
        if let Some(waiting) = self.unwritten.waiting.get_mut(place) {
            waiting.retain(|waiting| waiting.id != id);
            if waiting.is_empty() {
                self.unwritten.waiting.remove(place);
            }
        }
    }

    /// Keeps memory within its bounds. Called only while all is written.
    fn forget(&mut self) {
        // Few events follow a finished session; those that do load it again.
        for session in self.finished.drain(..) {
            self.sessions.remove(&session);
        }
        if self.sessions.len() > SESSIONS || self.urls.len() > SESSIONS {
            self.sessions.clear();
            self.urls.clear();
        }
        if self.numbers.len() > NUMBERS {
            self.numbers.clear();
        }
        self.sequences.forget();
    }
}

/// Where an event without a hook is found again.
fn place(event: &NewEvent) -> Option<Place> {
    let session = event.session.clone().map(Place::Session);
    session.or_else(|| event.post.room.clone().map(Place::Room))
}

impl Recent {
    fn add(&mut self, key: &str, at: UnixMillis) {
        let is_old = |(then, _): &(UnixMillis, u64)| at.0 - then.0 > RECENT_MS;
        while self.order.len() >= RECENT || self.order.front().is_some_and(is_old) {
            if let Some((_, hash)) = self.order.pop_front() {
                self.hashes.remove(&hash);
            }
        }
        let hash = self.state.hash_one(key);
        if self.hashes.insert(hash) {
            self.order.push_back((at, hash));
        }
    }

    fn has(&self, key: &str) -> bool {
        self.hashes.contains(&self.state.hash_one(key))
    }
}

#[cfg(test)]
mod tests;
