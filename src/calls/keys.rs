//! Which keys of a batch are missing in memory: they are loaded before it is decided.

use std::collections::HashSet;
use std::sync::Arc;

use super::ground::Ground;
use super::known::Known;
use super::records::numbers::dialled;
use super::records::{Keys, Order, Place, Post};
use crate::ids::{Chain, HookId};
use crate::route::{self, Call, Placement};

impl Keys {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.numbers.is_empty() && !self.blocks() && self.letters.is_empty()
    }

    /// Whether something is missing without which an event cannot be decided.
    pub fn blocks(&self) -> bool {
        !(self.sessions.is_empty()
            && self.rooms.is_empty()
            && self.waiting.is_empty()
            && self.chains.is_empty())
    }

    /// Whether other keys may show once these are loaded.
    pub fn shows_more(&self) -> bool {
        self.blocks() || !self.letters.is_empty()
    }

    /// Each key once.
    #[must_use]
    pub fn deduplicated(mut self) -> Self {
        fn once<T: Eq + std::hash::Hash + Clone>(keys: &mut Vec<T>) {
            if keys.len() > 1 {
                let mut seen = HashSet::with_capacity(keys.len());
                keys.retain(|key| seen.insert(key.clone()));
            }
        }
        once(&mut self.events);
        once(&mut self.sessions);
        once(&mut self.rooms);
        once(&mut self.waiting);
        once(&mut self.chains);
        once(&mut self.numbers);
        self
    }

    /// Adds what is missing to decide `post`. Some keys show only once others are loaded: repeat until nothing
    /// is missing.
    pub fn of_post(&mut self, known: &Known, ground: &Ground<'_>, post: &Post) {
        if !known.loaded.asked.contains(&post.key) {
            self.events.push(Arc::clone(&post.key));
        }
        if let Some(number) = dialled(post)
            && !known.numbers.contains_key(&number)
            && !known.loaded.numbers.contains(&number)
        {
            self.numbers.push(number);
        }
        self.blocking(known, ground, post);
    }

    /// The part of [`Self::of_post`] without which `post` cannot be decided.
    pub fn blocking(&mut self, known: &Known, ground: &Ground<'_>, post: &Post) {
        if !post.is_readable {
            return;
        }
        if post.sid.is_none()
            && let Some(room) = &post.room
            && known.latest_of(room).is_none()
            && !known.loaded.rooms.contains_key(room)
        {
            self.rooms.push(Arc::clone(room));
            return;
        }
        match known.session_of(post) {
            Some(session) => self.of_session(known, ground, post, &session),
            // The latest session of its name may not be loaded yet, or it is finished.
            None => self.without_session(known, ground, post),
        }
    }

    fn of_session(&mut self, known: &Known, ground: &Ground<'_>, post: &Post, session: &Arc<str>) {
        let found = known.session(session);
        if found.is_none() && !known.loaded.absent.contains(session) {
            self.sessions.push(Arc::clone(session));
            return;
        }
        let call = found.map(|found| &found.call);
        let hook = hook_of(ground, post, call);
        if hook.is_none() || !may_release(post, call) {
            // Also of a session that begins: one of its key may have been swept, and its numbers go on.
            self.numbers_at(known, session, hook);
            return;
        }
        let room = found.and_then(|found| found.room.clone()).or_else(|| post.room.clone());
        self.all_waiting(known, session, room.as_ref());
        self.numbers_of(
            known,
            ground,
            session,
            hook.into_iter().chain(call.into_iter().flat_map(Call::hooks)),
        );
    }

    fn without_session(&mut self, known: &Known, ground: &Ground<'_>, post: &Post) {
        // An event without a room has a chain of its own.
        let Some(room) = &post.room else { return };
        let hook = hook_of(ground, post, None);
        let chains = hook.into_iter().map(|hook| Chain::new(hook, room));
        self.chains.extend(chains.filter(|chain| !known.sequences.knows(*chain)));
    }

    /// Adds what is missing to carry out an order.
    pub fn of_order(&mut self, known: &Known, ground: &Ground<'_>, order: &Order) {
        match order {
            Order::Revive { replays, .. } => {
                let ids = replays.iter().map(|replay| replay.id);
                self.letters.extend(ids.filter(|id| !known.loaded.letters.contains_key(id)));
            }
            Order::Reroute { sessions, .. } => {
                sessions.iter().for_each(|session| self.of_replay(known, ground, session));
            }
            Order::Together(orders) => {
                orders.iter().for_each(|order| self.of_order(known, ground, order));
            }
            Order::Settle(_)
            | Order::GiveUp(_)
            | Order::PutRight(_)
            | Order::Pause { .. }
            | Order::Resume { .. }
            | Order::Edit(_)
            | Order::EndHold(_)
            | Order::Sweep(_)
            | Order::CopyHistory(_)
            | Order::Digest(_)
            | Order::BeginErasure { .. }
            | Order::Erase(_)
            | Order::Rotate { .. }
            | Order::RevokeTenant { .. }
            | Order::RevokeToken { .. }
            | Order::Audit(_) => {}
        }
    }

    /// What a replay of a session's unrouted events needs to know.
    pub fn of_replay(&mut self, known: &Known, ground: &Ground<'_>, session: &Arc<str>) {
        let found = known.session(session);
        if found.is_none() && !known.loaded.absent.contains(session) {
            self.sessions.push(Arc::clone(session));
            return;
        }
        let room = found.and_then(|found| found.room.clone());
        self.all_waiting(known, session, room.as_ref());
        let hooks = found.into_iter().flat_map(|found| found.call.hooks());
        self.numbers_of(known, ground, session, hooks);
    }

    fn all_waiting(&mut self, known: &Known, session: &Arc<str>, room: Option<&Arc<str>>) {
        let of_session = Some(Place::Session(Arc::clone(session)));
        let of_room = room.map(|room| Place::Room(Arc::clone(room)));
        let places = of_session.into_iter().chain(of_room);
        self.waiting.extend(places.filter(|place| !known.loaded.waiting.contains_key(place)));
        self.rooms.extend(room.filter(|room| !known.loaded.rooms.contains_key(*room)).cloned());
    }

    /// The session's last numbers at these hooks.
    fn numbers_at(&mut self, known: &Known, session: &str, hooks: impl IntoIterator<Item = HookId>) {
        let chains = hooks.into_iter().map(|hook| Chain::new(hook, session));
        self.chains.extend(chains.filter(|chain| !known.sequences.knows(*chain)));
    }

    /// The last numbers of every hook the session's events may go to: of these hooks, and of those that waiting
    /// callers dial.
    fn numbers_of(
        &mut self,
        known: &Known,
        ground: &Ground<'_>,
        session: &Arc<str>,
        hooks: impl Iterator<Item = HookId>,
    ) {
        let waiting = known.loaded.waiting.get(&Place::Session(Arc::clone(session))).into_iter().flatten();
        let dialled = waiting.filter_map(|waiting| hook_of(ground, &waiting.post, None)).collect::<Vec<_>>();
        self.numbers_at(known, session, hooks.chain(dialled));
    }
}

/// The hook the rules choose for `post`, with what is known of its call so far.
fn hook_of(ground: &Ground<'_>, post: &Post, call: Option<&Call>) -> Option<HookId> {
    let route = route::route(&post.event, ground.hooks(&post.door), ground.to_fallback, call);
    route.outcome.ok().map(|(hook, _)| hook.id)
}

/// Whether an event that finds a hook may release others: its call is not bound yet, or its participant had no
/// hook.
fn may_release(post: &Post, call: Option<&Call>) -> bool {
    let Some(call) = call else { return true };
    let placement = post.event.participant.as_deref().and_then(|sid| call.placement(sid));
    call.binding.is_none() || matches!(placement, Some(Placement::Nowhere(..)))
}
