//! What is unrouted, counted.
