//! All that an event does: whose call it belongs to, where it goes, what it binds and releases, its number.
//!
//! Pure. A batch is decided by one function, from what is [`Known`] to the [`Change`]s that an engine stores;
//! `explain`, a replay and the memory mode use the same. What must be known beforehand is named by [`Keys`].

mod decide;
mod decider;
mod decision;
mod effects;
mod ground;
mod keys;
mod known;
mod orders;
mod records;
mod rehearsal;
mod release;

pub use self::decide::{Decided, DecidedPost, decide, undecided};
pub use self::ground::Ground;
pub use self::known::Known;
pub use self::orders::Outcome;
pub use self::records::{
    AuditEntry, AuditRecord, AuditSweep, Change, DamagedRow, Destination, DigestPart, ErasePart, ErasePlace,
    EraseStep, ErasedRows, FactSpan, Fate, FreedEvent, GivenUp, HistoryPart, KeptBody, Keys, LastCalled,
    LastNumber, Loaded, NewEvent, Next, NumberCalled, Order, Owned, Place, Post, PutRight, Ready, Receipt,
    Received, Released, Replay, SealedRoom, Sequences, Session, Settlement, Shelf, SipFacts, StoredPost,
    Sweep, Waiting, Walked,
};
pub use self::rehearsal::{Foreseen, KeptFact, Moved, Preview, PreviewGround, Rehearsal, WasDialled, Went};
pub use self::release::would_free;

#[cfg(test)]
pub mod tests;
