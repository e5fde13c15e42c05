//! One look-up: by a resolver of its own, so that what one name's servers do counts for no other name, and with a
//! bound of sockets.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, Resolver};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A nameserver is asked again, or another one, after this time.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// Sockets that each look-up may have: one for each kind of address.
pub const SOCKETS: u32 = 2;

/// Sockets that all look-ups may have beyond that, to ask a second nameserver or to ask again.
const MORE_SOCKETS: usize = 96;

/// What each resolver is made of.
pub struct Resolvers {
    config: ResolverConfig,
    options: ResolverOpts,
    hosts: Arc<Hosts>,
    more: Arc<Semaphore>,
}

impl Resolvers {
    /// Asks these nameservers; if there are none, those of `/etc/resolv.conf`, of which `search`, `domain`, `ndots` and `edns0`
    /// are followed, too, and nothing else. `/etc/hosts` comes first. Both files are read here.
    pub fn new(nameservers: &[SocketAddr]) -> Self {
        let (config, mut options) = configuration(nameservers);
        // Answers are kept by those who ask, and the hosts file here.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = ASKED_AGAIN;
        options.attempts = 1;
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "/etc/hosts cannot be read: it is not used");
            Hosts::default()
        });
        Self { config, options, hosts: Arc::new(hosts), more: Arc::new(Semaphore::new(MORE_SOCKETS)) }
    }

    /// Looks a name up, with [`SOCKETS`] sockets and what is free of those that all look-ups share.
    ///
    /// # Errors
    /// Why there is no address.
    pub async fn look_up(&self, name: &str) -> Result<LookupIp, NetError> {
        let own = Arc::new(Semaphore::new(SOCKETS as usize));
        let runtime = Runtime { tokio: TokioRuntimeProvider::default(), own, more: Arc::clone(&self.more) };
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

/// Tokio, with a bound of UDP sockets. TCP, which follows a truncated answer by UDP, takes the place of what asked
/// by UDP before.
#[derive(Clone)]
struct Runtime {
    tokio: TokioRuntimeProvider,
    own: Arc<Semaphore>,
    more: Arc<Semaphore>,
}

/// A socket that has a place.
struct Placed {
    socket: UdpSocket,
    _place: OwnedSemaphorePermit,
}

type Opening<S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;

impl RuntimeProvider for Runtime {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Placed;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        within: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.tokio.connect_tcp(server, local, within)
    }

    fn bind_udp(&self, local: SocketAddr, _: SocketAddr) -> Opening<Placed> {
        let (own, more) = (Arc::clone(&self.own), Arc::clone(&self.more));
        Box::pin(async move {
            // The query's own deadline bounds the wait for a place.
            let place = tokio::select! {
                biased;
                place = own.acquire_owned() => place,
                place = more.acquire_owned() => place,
            };
            let place = place.map_err(io::Error::other)?;
            Ok(Placed { socket: UdpSocket::bind(local).await?, _place: place })
        })
    }
}

impl DnsUdpSocket for Placed {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        DnsUdpSocket::poll_recv_from(&self.socket, context, buffer)
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        DnsUdpSocket::poll_send_to(&self.socket, context, bytes, target)
    }
}
