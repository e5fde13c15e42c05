//! One look-up: by a resolver of its own, so that what one name's servers do counts for no other name, and with a
//! bound of sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, Resolver};
use tokio::sync::Semaphore;

use super::asking::{Runtime, SocketPlaces};
use crate::time::Clock;

/// A nameserver is asked anew, or another one, after this time.
const ASKED_ANEW: Duration = Duration::from_secs(2);

/// Sockets that all look-ups may have beyond that, to ask two nameservers at once.
const MORE_SOCKETS: usize = 96;

/// What each resolver is made of.
pub struct Resolvers {
    config: ResolverConfig,
    options: ResolverOpts,
    hosts: Arc<Hosts>,
    more: Arc<Semaphore>,
    clock: Clock,
}

impl Resolvers {
    /// Asks these nameservers; if there are none, those of `/etc/resolv.conf`, of which `search`, `domain`, `ndots` and `edns0`
    /// are followed, too, and nothing else. `/etc/hosts` comes first. Both files are read here.
    pub fn new(nameservers: &[SocketAddr], clock: Clock) -> Self {
        let (config, mut options) = configuration(nameservers);
        // Answers are kept by those who ask, and the hosts file here.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = ASKED_ANEW;
        options.attempts = 1;
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "/etc/hosts cannot be read: it is not used");
            Hosts::default()
        });
        let more = Arc::new(Semaphore::new(MORE_SOCKETS));
        Self { config, options, hosts: Arc::new(hosts), more, clock }
    }

    /// Looks a name up, with [`SOCKETS`](super::asking::SOCKETS) sockets and what is free of those that all look-ups share.
    ///
    /// # Errors
    /// Why there is no address.
    pub async fn look_up(&self, name: &str) -> Result<LookupIp, NetError> {
        let places = SocketPlaces::new(Arc::clone(&self.more));
        let runtime = Runtime { tokio: TokioRuntimeProvider::default(), places, clock: self.clock.clone() };
        let builder = Resolver::builder_with_config(self.config.clone(), runtime);
        let mut resolver = builder.with_options(self.options.clone()).build()?;
        resolver.set_hosts(Arc::clone(&self.hosts));
        resolver.lookup_ip(name).await
    }
}

/// Who is asked, and the options of `/etc/resolv.conf` if it says who.
fn configuration(nameservers: &[SocketAddr]) -> (ResolverConfig, ResolverOpts) {
    if !nameservers.is_empty() {
        return (asking(nameservers), ResolverOpts::default());
    }
    read_system_conf().unwrap_or_else(|error| {
        let localhost = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        tracing::warn!(%error, nameserver = %localhost, "/etc/resolv.conf is unusable: its default is used");
        (asking(&[localhost]), ResolverOpts::default())
    })
}

fn asking(nameservers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(nameservers.iter().map(server).collect())
}
