//! What goes into a decision and what comes out: posts, orders and what the store answers; changes and receipts.

mod changes;
mod loaded;
pub mod numbers;
mod order;
mod post;
mod receipt;
mod sequences;
mod session;
mod sweep;
mod waiting;

pub use self::changes::{Change, Destination, FreedEvent, NewEvent, Next, Replay, Settlement};
pub use self::loaded::{Answers, Keys, Loaded};
pub use self::numbers::{CalledLately, LastCalled, NumberCalled};
pub use self::order::Order;
pub use self::post::{Post, Received};
pub use self::receipt::{Fate, Ready, Receipt, Released};
pub use self::sequences::{LastNumber, Sequences};
pub use self::session::{Effects, Session};
pub use self::sweep::{Shelf, Sweep};
pub use self::waiting::{Place, Waiting};
