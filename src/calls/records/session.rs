//! One room session as deciding knows it.

use std::sync::Arc;

use crate::ids::HookId;
use crate::registry::HookChange;
use crate::route::{Binding, Call, Placement};
use crate::time::UnixMillis;

/// How late [`Session::seen_at`] may be in the store.
const SEEN_WITHIN_MS: i64 = 3_600_000;

/// A room session: what routing knows of the call, and its times.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Session {
    pub call: Call,
    /// The key of the room's name.
    pub room: Option<Arc<str>>,
    pub began_at: UnixMillis,
    /// Its last event, give or take an hour.
    pub seen_at: UnixMillis,
    pub finished_at: Option<UnixMillis>,
}

/// What an event does to the session it belongs to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Effects {
    /// It is the session's first event.
    pub begins: bool,
    /// It is the first event of a SIP participant.
    pub first_sip: bool,
    /// Where its participant belongs from here on.
    pub placement: Option<Placement>,
    /// The hook the call is bound to from here on.
    pub binding: Option<Binding>,
    /// Its participant had no hook, and has one now.
    pub adopts: bool,
    /// The tenant whose participant joins another tenant's call.
    pub shared_with: Option<Box<str>>,
    pub finishes: bool,
}

impl Effects {
    /// Whether events that waited may go now.
    pub fn releases(&self) -> bool {
        self.binding.is_some() || self.adopts
    }

    /// Whether the rules have looked at a participant anew.
    pub fn places(&self) -> bool {
        self.placement.is_some()
    }
}

impl Session {
    /// Applies an edit of the hook table: what is bound to its hook goes elsewhere, or belongs to no tenant.
    pub fn edit(&mut self, edit: &HookChange) {
        match edit {
            HookChange::Move { id, url, format } => {
                let url: Arc<str> = url.as_str().into();
                let to = |binding: &mut Binding| (binding.url, binding.format) = (Arc::clone(&url), *format);
                self.call.rebind(*id, to);
            }
            HookChange::Cut { id } => self.call.rebind(*id, |binding| binding.hook = HookId::NOBODY),
            HookChange::Add { .. } | HookChange::Alter { .. } | HookChange::Remove { .. } => {}
        }
    }

    /// Applies what an event does. True if the time it was seen at must be written, too.
    pub fn apply(&mut self, effects: &Effects, participant: Option<&str>, at: UnixMillis) -> bool {
        let Effects { begins, first_sip, placement, binding, adopts: _, shared_with, finishes } = effects;
        if *begins {
            (self.began_at, self.seen_at) = (at, at);
        }
        self.call.sip |= *first_sip;
        match (binding, placement, participant) {
            (Some(binding), _, participant) => self.call.bind(binding.clone(), participant),
            (None, Some(placement), Some(sid)) => self.call.place(sid, placement.clone()),
            (None, Some(_), None) | (None, None, _) => {}
        }
        self.call.shared |= shared_with.is_some();
        if *finishes && self.finished_at.is_none() {
            self.finished_at = Some(at);
            self.seen_at = at;
        }
        let is_stale = at.0 - self.seen_at.0 > SEEN_WITHIN_MS;
        if is_stale {
            self.seen_at = at;
        }
        is_stale
    }
}
