//! Which hooks are paused, and for how long they have been.

use std::collections::HashMap;

use crate::ids::HookId;
use crate::time::UnixMillis;

/// How long a hook was paused before, and since when it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pause {
    pub since: Option<UnixMillis>,
    /// What paused it, while it is.
    pub by: Option<PausedBy>,
    pub before_ms: i64,
}

impl Pause {
    /// Begins, unless it has begun. Whoever pauses a hook whose receiver answered 410 has it paused from then on: a
    /// new URL no longer resumes it.
    pub fn begin(&mut self, at: UnixMillis, by: PausedBy) {
        self.since.get_or_insert(at);
        if matches!(self.by, None | Some(PausedBy::Gone)) {
            self.by = Some(by);
        }
    }

    /// Ends and keeps how long it was.
    pub fn end(&mut self, at: UnixMillis) {
        *self = Self { since: None, by: None, before_ms: self.total(at) };
    }

    /// Milliseconds it has been paused in all, until `now`.
    pub fn total(&self, now: UnixMillis) -> i64 {
        self.before_ms + self.since.map_or(0, |since| (now.0 - since.0).max(0))
    }
}

/// What paused a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PausedBy {
    /// Its receiver, by answering 410.
    Gone,
    /// The operator, in the hooks file.
    File,
    /// Somebody, over the API.
    Api,
}

impl PausedBy {
    /// Its name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::File => "file",
            Self::Api => "api",
        }
    }

    /// What has this name in the store.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Gone, Self::File, Self::Api].into_iter().find(|by| by.as_str() == name)
    }
}

/// The hooks that are or were paused.
#[derive(Clone, Debug, Default)]
pub struct Pauses(HashMap<HookId, Pause>);

impl Pauses {
    /// Those the store knows.
    pub fn new(stored: HashMap<HookId, Pause>) -> Self {
        Self(stored)
    }

    /// Begins a pause, unless there is one.
    pub fn pause(&mut self, hook: HookId, at: UnixMillis, by: PausedBy) {
        self.0.entry(hook).or_default().begin(at, by);
    }

    /// Ends a pause and keeps how long it was.
    pub fn resume(&mut self, hook: HookId, at: UnixMillis) {
        if let Some(pause) = self.0.get_mut(&hook) {
            pause.end(at);
        }
    }

    /// A hook's pause; none: it never was.
    pub fn of(&self, hook: HookId) -> Pause {
        self.0.get(&hook).copied().unwrap_or_default()
    }

    /// Whether a hook is paused now.
    pub fn is_paused(&self, hook: HookId) -> bool {
        self.0.get(&hook).is_some_and(|pause| pause.since.is_some())
    }

    /// Milliseconds a hook has been paused in all, until `now`.
    pub fn total_ms(&self, hook: HookId, now: UnixMillis) -> i64 {
        self.0.get(&hook).map_or(0, |pause| pause.total(now))
    }

    /// The hooks that are paused now.
    pub fn paused(&self) -> Vec<HookId> {
        self.0.iter().filter(|(_, pause)| pause.since.is_some()).map(|(hook, _)| *hook).collect()
    }
}
