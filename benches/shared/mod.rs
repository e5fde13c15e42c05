//! What the benchmarks share: command line, figures, events, load, receivers, processes, simple forwarders.

#![expect(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "each benchmark uses some of it; all read the clock, live in real time and give up"
)]

pub mod args;
pub mod arrivals;
pub mod event;
pub mod figures;
pub mod forward;
pub mod load;
pub mod process;
pub mod receiver;
pub mod router;
pub mod sink;
