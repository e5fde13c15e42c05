//! Which kinds of changes were committed: all of them are to be.

use std::collections::BTreeSet;

use crate::calls::{Change, ErasedRows};
use crate::registry::HookChange;

/// Names the kinds of a type. The compiler refuses a list that leaves one out.
macro_rules! kinds {
    ($all:ident, $of:ident: $type:ident { $($kind:ident)+ }) => {
        const $all: &[&str] = &[$(stringify!($kind)),+];

        fn $of(one: &$type) -> &'static str {
            match one {
                $($type::$kind { .. } => stringify!($kind),)+
            }
        }
    };
}

kinds!(CHANGES, kind_of: Change {
    EventAdded CallBegun CallSeen CallBound CallHasSip CallShared CallFinished ParticipantPlaced EventFreed EventStays
    HoldEnded NumberCalled Attempted GivenUp LetterRevived Hook HookPaused HookResumed SecretRotated TenantRevoked
    TokenRevoked Audited HistoryCopied Digested ErasureBegun Erased Swept PutRight
});
kinds!(EDITS, edit_of: HookChange { Add Alter Remove Move Cut });
kinds!(ERASED, rows_of: ErasedRows { None Events Facts Calls Participants Numbers Records Pages Files });

/// Which kinds were committed.
#[derive(Default)]
pub struct Committed(BTreeSet<&'static str>);

impl Committed {
    /// This was committed.
    pub fn note(&mut self, change: &Change) {
        self.0.insert(kind_of(change));
        match change {
            Change::Hook(edit) => drop(self.0.insert(edit_of(edit))),
            Change::Erased(part) => drop(self.0.insert(rows_of(&part.rows))),
            _ => {}
        }
    }

    /// A kind that is never drawn is not tested.
    pub fn has_all(&self) {
        let kinds = [CHANGES, EDITS, ERASED].concat();
        let missing: Vec<_> = kinds.iter().filter(|kind| !self.0.contains(**kind)).collect();
        assert!(missing.is_empty(), "never committed: {missing:?}");
    }
}
