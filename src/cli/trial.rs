//! What tries a router out: calls posted as LiveKit does, a tenant's receiver, and both on one screen.

pub mod demo;
pub mod listen;
mod recording;
pub mod send;
