//! What is not as it should be, for `/readyz` and the metric `degraded`.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::store_fault::FaultKind;

use super::damage::Damage;
use super::unreadable::UnreadableParts;
use crate::calls::DamagedRow;

/// A way in which the router serves, but worse than it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Degradation {
    /// The store does not take events; they are acknowledged from memory.
    Store,
    /// The store is at its limit and all of it is pending: events are refused.
    Full,
    /// The data directory was used, and its database was missing or empty at the start: a new one was begun.
    NewDatabase,
    /// The hooks file is faulty or absent; an older table is in force.
    Hooks,
    /// The stored settings of some hooks cannot be read: those hooks are not in force.
    UnreadableHooks,
    /// Rows of the store were met that are not as they were written.
    Damaged,
    /// Something of the store cannot be read, and events are stored all the same.
    Unreadable,
    /// The files of the events' listener hold no certificate that could be served; an older one is.
    Certificate,
    /// The same of the API's listener.
    ApiCertificate,
}

impl Degradation {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Store,
        Self::Full,
        Self::NewDatabase,
        Self::Hooks,
        Self::UnreadableHooks,
        Self::Damaged,
        Self::Unreadable,
        Self::Certificate,
        Self::ApiCertificate,
    ];

    /// Its name in `/readyz` and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Full => "full",
            Self::NewDatabase => "new_database",
            Self::Hooks => "hooks",
            Self::UnreadableHooks => "unreadable_hooks",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::Certificate => "certificate",
            Self::ApiCertificate => "api_certificate",
        }
    }
}

/// Which degradations are on.
#[derive(Debug, Default)]
pub struct Health {
    /// That of [`Degradation::Unreadable`] is not used: the parts that cannot be read say whether that is on. A second
    /// answer could contradict them, since several threads read.
    on: [AtomicBool; Degradation::ALL.len()],
    /// Why the store does not work: 0, or the place of the kind in [`FaultKind::ALL`], counted from 1.
    store: AtomicU8,
    /// Damaged rows of the store that were met.
    pub damage: Damage,
    /// What of the store cannot be read.
    pub unreadable: UnreadableParts,
}

impl Health {
    /// Turns one on; true if it was off.
    pub fn raise(&self, degradation: Degradation) -> bool {
        !self.on[degradation as usize].swap(true, Ordering::Relaxed)
    }

    /// These rows of the store are damaged. That stays so until the store is recovered, and the router started.
    pub fn damaged(&self, rows: &[DamagedRow]) {
        if !rows.is_empty() {
            self.raise(Degradation::Damaged);
        }
        rows.iter().for_each(|row| self.damage.found(row));
    }

    /// `what` of the store was asked for. `fault`: why it could not be read.
    pub fn looked(&self, what: &'static str, fault: Option<(FaultKind, &dyn std::fmt::Display)>) {
        match fault {
            Some((FaultKind::Io, _)) if self.is_on(Degradation::Store) => {}
            Some((kind, error)) => self.unreadable.failed(what, kind, error),
            None if self.unreadable.read(what) => say_recovered(Degradation::Unreadable, None),
            None => {}
        }
    }

    /// Whether one is on.
    pub fn is_on(&self, degradation: Degradation) -> bool {
        match degradation {
            Degradation::Unreadable => self.unreadable.any(),
            _ => self.on[degradation as usize].load(Ordering::Relaxed),
        }
    }

    /// Turns one off; says so in the log if it was on.
    pub fn clear(&self, degradation: Degradation) {
        let flag = &self.on[degradation as usize];
        if flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed) {
            say_recovered(degradation, self.store_fault().filter(|_| degradation == Degradation::Store));
        }
        if degradation == Degradation::Store && self.store.load(Ordering::Relaxed) != 0 {
            self.store.store(0, Ordering::Relaxed);
            self.unreadable.disk_works();
        }
    }

    /// Notes why the store does not work; true if that was not the reason before. Ends with [`Degradation::Store`].
    pub fn store_fails(&self, kind: FaultKind) -> bool {
        let number = kind as u8 + 1;
        // That the disk errs is a reason of the whole store from here on.
        self.unreadable.disk_works();
        self.store.swap(number, Ordering::Relaxed) != number
    }

    /// Why the store does not work, if it does not.
    pub fn store_fault(&self) -> Option<FaultKind> {
        let number = usize::from(self.store.load(Ordering::Relaxed));
        FaultKind::ALL.get(number.checked_sub(1)?).copied()
    }

    /// Those that are on.
    pub fn reasons(&self) -> impl Iterator<Item = Degradation> {
        Degradation::ALL.into_iter().filter(|degradation| self.is_on(*degradation))
    }
}

fn say_recovered(degradation: Degradation, fault: Option<FaultKind>) {
    tracing::warn!(reason = degradation.as_str(), fault = fault.map(FaultKind::as_str), "recovered");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_fails_just_when_the_last_other_one_can_be_read_again_is_a_reason() {
        let health = Health::default();
        let fails = |what| health.looked(what, Some((FaultKind::Io, &"an error")));
        fails("calls");
        // One thread reads the one part, another one fails at the other before the first goes on.
        assert!(health.unreadable.read("calls"));
        fails("usage");
        health.clear(Degradation::Unreadable);
        assert!(health.is_on(Degradation::Unreadable) && health.unreadable.now().is_some());
        health.looked("usage", None);
        assert_eq!((health.reasons().next(), health.unreadable.now()), (None, None));
    }
}
