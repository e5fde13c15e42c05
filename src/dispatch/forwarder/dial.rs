//! Which addresses are dialled: names are resolved, every address vetted, and the vetted ones used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::network::{Listeners, Network};
use crate::time::Clock;

/// A look-up takes at most this long.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(5);

/// Why a name may not be dialled.
#[derive(Debug, thiserror::Error)]
pub enum Undialable {
    #[error("the name does not resolve: {0}")]
    Unresolved(#[from] std::io::Error),
    #[error("the name does not resolve within 5 s")]
    Slow,
    /// Only logged: shown to tenants it would reveal the operator's network.
    #[error(
        "it resolves to {0}, this router itself or a private or special-purpose address; see --allow-network"
    )]
    Forbidden(IpAddr),
}

/// The resolver of all connections to tenants. One forbidden answer refuses the whole name.
pub struct VettingResolver {
    pub network: Arc<Network>,
    /// Listeners of this router that are at the port that is dialled.
    pub own: Option<Listeners>,
    pub clock: Clock,
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (network, own, clock) = (Arc::clone(&self.network), self.own.clone(), self.clock.clone());
        Box::pin(async move {
            let addresses = look_up(&clock, name.as_str()).await?;
            let is_own = |address| own.as_ref().is_some_and(|own| own.are_at(address, is_local));
            let forbidden = |address: &&SocketAddr| !network.permits(address.ip()) || is_own(address.ip());
            match addresses.iter().find(forbidden) {
                Some(forbidden) => Err(Undialable::Forbidden(forbidden.ip()).into()),
                None => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether this machine has an address: to reach its own, the system sends from it. Nothing is sent.
pub fn is_local(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

async fn look_up(clock: &Clock, name: &str) -> Result<Vec<SocketAddr>, Undialable> {
    let found = clock.timeout(LOOK_UP_WITHIN, tokio::net::lookup_host((name, 0))).await;
    Ok(found.map_err(|_| Undialable::Slow)??.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_its_own_addresses_and_no_others() {
        let has = |text: &str| is_local(text.parse().expect(text));
        assert_eq!([has("127.0.0.1"), has("192.0.2.1"), has("2001:db8::1")], [true, false, false]);
    }
}
