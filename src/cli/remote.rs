//! The commands about a running router: they speak to its API.

pub mod audit;
pub mod calls;
pub mod client;
pub mod deliveries;
pub mod events;
pub mod health;
pub mod hooks;
pub mod replay;
pub mod secret;
pub mod unrouted;
pub mod usage;
mod words;
