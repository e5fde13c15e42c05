//! Why a router does not run.

use std::net::SocketAddr;

use crate::dispatch::Unreachable;

/// Why the router could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFault {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The database cannot be opened.
    #[error("cannot use the database in {0}: {1}")]
    Store(String, String),
    /// Receivers cannot be reached: there are no trusted certificates, or no nameservers.
    #[error("cannot reach receivers: {0}")]
    Reach(#[from] Unreachable),
    /// A task ended before its time.
    #[error("{0} ended; the router cannot go on without it")]
    Ended(&'static str),
}
