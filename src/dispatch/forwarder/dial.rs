//! Which addresses are dialled: names are resolved, every address vetted, and the vetted ones used.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::network::Network;
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
    #[error("it resolves to {0}, a private or special-purpose address; see --allow-network")]
    Forbidden(IpAddr),
}

/// The resolver of all connections to tenants. One forbidden answer refuses the whole name.
pub struct VettingResolver {
    pub network: Arc<Network>,
    pub clock: Clock,
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (network, clock) = (Arc::clone(&self.network), self.clock.clone());
        Box::pin(async move {
            let addresses = look_up(&clock, name.as_str()).await?;
            match addresses.iter().find(|address| !network.permits(address.ip())) {
                Some(forbidden) => Err(Undialable::Forbidden(forbidden.ip()).into()),
                None => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

async fn look_up(clock: &Clock, name: &str) -> Result<Vec<SocketAddr>, Undialable> {
    let found = clock.timeout(LOOK_UP_WITHIN, tokio::net::lookup_host((name, 0))).await;
    Ok(found.map_err(|_| Undialable::Slow)??.collect())
}
