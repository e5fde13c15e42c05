//! What is recorded of events: each one's story, calls, dead letters, what is unrouted, and usage.

pub mod calls;
pub mod deliveries;
pub mod events;
pub mod unrouted;
pub mod usage;
