//! What cannot be read of a store that takes events all the same: each is logged once, and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store_fault::FaultKind;

/// Which kinds of fault keep something from being read, and nothing from being written.
const FAULTS: [FaultKind; KINDS] = [FaultKind::Io, FaultKind::Damaged];

/// How many these are, and how many lines of the log each part has at most.
const KINDS: usize = 2;

/// What to do about it. Without paths: everybody may read `/readyz`.
pub fn fix(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Damaged => {
            "The database is damaged, and events are stored all the same: `switchhook store check` says where. Then stop the \
             router: `switchhook store recover` saves what can be read."
        }
        _ => {
            "The disk errs, and events are stored all the same: look at the system's log and at the disk. `switchhook store \
             check` says what cannot be read."
        }
    }
}

/// What cannot be read at present, by the words that the program has for it: so many at most as there are such words.
#[derive(Debug, Default)]
pub struct UnreadableParts {
    /// False: nothing is unreadable. Asked after each look into the store.
    any: AtomicBool,
    counts: [AtomicU64; KINDS],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: BTreeMap<&'static str, FaultKind>,
    logged: BTreeSet<(&'static str, &'static str)>,
}

impl UnreadableParts {
    /// Whether there is something.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Something could not be read.
    pub fn failed(&self, what: &'static str, kind: FaultKind, error: &dyn std::fmt::Display) {
        let Some(at) = FAULTS.iter().position(|of| *of == kind) else { return };
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        if state.logged.insert((what, kind.as_str())) {
            let (fault, fix) = (kind.as_str(), fix(kind));
            tracing::error!(what, fault, %error, fix, "a part of the store cannot be read; events are stored all the same");
        }
        self.any.store(true, Ordering::Relaxed);
        state.now.insert(what, kind);
    }

    /// Something could be read. Damage stays: the next look may go elsewhere. True if this was the last that
    /// was unreadable.
    pub fn read(&self, what: &'static str) -> bool {
        self.end(|of, kind| of == what && kind == FaultKind::Io)
    }

    /// The disk works again, or that it errs is said of the whole store.
    pub fn disk_works(&self) {
        self.end(|_, kind| kind == FaultKind::Io);
    }

    fn end(&self, is_over: impl Fn(&'static str, FaultKind) -> bool) -> bool {
        if !self.any() {
            return false;
        }
        let mut state = self.state();
        let before = state.now.len();
        state.now.retain(|what, kind| !is_over(what, *kind));
        let any = !state.now.is_empty();
        self.any.store(any, Ordering::Relaxed);
        before > 0 && !any
    }

    /// Why, and what: none if all can be read. [`fix`] says what to do.
    pub fn now(&self) -> Option<(FaultKind, Vec<&'static str>)> {
        let state = self.state();
        let kind = state.now.values().copied().max_by_key(|kind| *kind as u8)?;
        Some((kind, state.now.keys().copied().collect()))
    }

    /// How often something could not be read, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        FAULTS.into_iter().map(FaultKind::as_str).zip(counts)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_that_cannot_be_read_is_logged_once_for_each_kind_of_fault() {
        let unreadable = UnreadableParts::default();
        for _ in 0..1000 {
            for kind in FAULTS {
                unreadable.failed("calls", kind, &"an error");
                unreadable.disk_works();
            }
        }
        assert_eq!(unreadable.state().logged.len(), KINDS);
    }

    #[test]
    fn damage_stays_and_a_disk_that_works_again_ends_the_rest() {
        let unreadable = UnreadableParts::default();
        let fail = |what, kind| unreadable.failed(what, kind, &"an error");
        fail("calls", FaultKind::Locked);
        assert_eq!((unreadable.now(), unreadable.any()), (None, false));
        fail("calls", FaultKind::Io);
        fail("calls", FaultKind::Io);
        fail("usage", FaultKind::Io);
        fail("deliveries", FaultKind::Damaged);
        assert_eq!(unreadable.now(), Some((FaultKind::Damaged, vec!["calls", "deliveries", "usage"])));
        assert!(!unreadable.read("calls") && !unreadable.read("deliveries"));
        unreadable.disk_works();
        assert_eq!(unreadable.now(), Some((FaultKind::Damaged, vec!["deliveries"])));
        assert_eq!(unreadable.counts().collect::<Vec<_>>(), [("io", 3), ("damaged", 1)]);
        let unreadable = UnreadableParts::default();
        unreadable.failed("calls", FaultKind::Io, &"an error");
        assert!(unreadable.read("calls") && !unreadable.read("calls") && unreadable.now().is_none());
    }
}
