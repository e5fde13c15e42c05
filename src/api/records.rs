//! What is recorded of events: each one's story, calls, dead letters, and what is unrouted.

pub mod calls;
pub mod deliveries;
pub mod events;
pub mod unrouted;
