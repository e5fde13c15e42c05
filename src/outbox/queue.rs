//! The queue in front of an engine: events in order of arrival, decided in batches, written, published.
//!
//! One thread writes. While it waits for the disk, everything it needs to go on is behind one lock that is
//! never held during IO: so when a commit fails or takes too long, the requests themselves go on deciding, from
//! memory, by the same code and in the same order. What they decide is written when the store is back.

mod acknowledge;
mod backlog;
mod feed;
mod inbox;
mod lock;
mod publish;
mod room;
mod shared;
mod waits;
mod writer;

pub use self::acknowledge::Full;
pub use self::inbox::Task;
pub use self::shared::{Queue, QueueConfig};
pub use self::writer::start;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
