//! Whose connection a request came by.

use std::net::SocketAddr;

/// The address at the other end of a request's connection: the client's, or that of a proxy before this listener.
/// Each listener adds it to its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress(pub SocketAddr);
