//! Whose connection a request came by.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address at the other end of a request's connection: the client's, or that of a proxy before this listener.
/// Each listener adds it to its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress(pub SocketAddr);

impl PeerAddress {
    /// What is counted as one address: of IPv6 a /64, which is what one customer has at least.
    pub fn network(self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_one_ipv6_network_count_as_one_address() {
        let of = |text: &str| PeerAddress(SocketAddr::new(text.parse().expect(text), 1)).network();
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
