//! What goes into a decision and what comes out: posts, orders and what the store answers; changes and receipts.

mod audit;
mod changes;
mod kept;
mod loaded;
pub mod numbers;
mod order;
mod post;
mod receipt;
mod sequences;
mod session;
mod sweep;
mod waiting;

pub use self::audit::{AuditEntry, AuditRecord};
pub use self::changes::{
    Change, Destination, DigestPart, FreedEvent, GivenUp, HistoryPart, NewEvent, Next, Owned, PutRight,
    Replay, Settlement,
};
pub use self::kept::{KeptBody, SealedRoom};
pub use self::loaded::{Answers, DamagedRow, Keys, Loaded};
pub use self::numbers::{CalledLately, LastCalled, NumberCalled};
pub use self::order::Order;
pub use self::post::{Post, Received, SipFacts, StoredPost};
pub use self::receipt::{Fate, Ready, Receipt, Released};
pub use self::sequences::{LastNumber, Sequences};
pub use self::session::{Effects, Session};
pub use self::sweep::erasure::{ErasePart, ErasePlace, EraseStep, ErasedRows};
pub use self::sweep::{AuditSweep, FactSpan, Shelf, Sweep, Walked};
pub use self::waiting::{Place, Waiting};
