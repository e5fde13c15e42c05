//! What is recorded of events: each one's story, calls, dead letters, what is unrouted, and usage.

pub mod calls;
mod carry_out;
pub mod deliveries;
pub mod events;
pub mod explain;
pub mod resend;
pub mod unrouted;
pub mod usage;
