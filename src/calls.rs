//! All that an event does: whose call it belongs to, where it goes, what it binds and releases, its number.
//!
//! Pure. A batch is decided by one function, from what is [`Known`] to the [`Change`]s that an engine stores;
//! `explain`, a replay and the memory mode use the same. What must be known beforehand is named by [`Keys`].

mod changes;
mod decide;
mod decider;
mod decision;
mod effects;
mod ground;
mod keys;
mod known;
mod loaded;
mod numbers;
mod order;
mod orders;
mod post;
mod receipt;
mod rehearsal;
mod release;
mod sequences;
mod session;
mod sweep;
mod waiting;

pub use self::changes::{Change, Destination, FreedEvent, NewEvent, Next, Replay, Settlement};
pub use self::decide::{Decided, decide, undecided};
pub use self::ground::Ground;
pub use self::known::Known;
pub use self::loaded::{Keys, Loaded};
pub use self::numbers::{DomainChange, LastCalled, NumberCalled};
pub use self::order::Order;
pub use self::orders::Outcome;
pub use self::post::{Post, Received};
pub use self::receipt::{Fate, Ready, Receipt, Released};
pub use self::rehearsal::Rehearsal;
pub use self::release::would_free;
pub use self::sequences::{LastNumber, Sequences};
pub use self::session::Session;
pub use self::sweep::{Shelf, Sweep};
pub use self::waiting::{Place, Waiting};
