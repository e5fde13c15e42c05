//! Which addresses are dialled: names are resolved, every address vetted, and a vetted one connected.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;

use super::conduit::{Conduit, Metered, metered};
use super::faults;
use super::http1::Http1;
use super::http2::{Drivers, Http2};
use super::machine::is_local;
use super::names::{Addresses, Names};
use super::pool::Pool;
use crate::delivery::Fault;
use crate::network::{Listeners, Network};
use crate::time::Clock;

/// TCP and TLS together take at most this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// If an address has not answered after this time, the next one is tried beside it (RFC 8305 §5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Of a name's addresses, so many are tried. All of them are vetted.
const ADDRESSES: usize = 8;

/// So many of them at a time.
const AT_ONCE: usize = 2;

/// Bytes that the system holds for a receiver that does not read; it takes twice as much memory for them (tcp(7)).
const SEND_BUFFER: u32 = 128 << 10;

/// How far a hook reaches.
#[derive(Default)]
pub struct Extent {
    /// What may be dialled. One forbidden address refuses a whole name.
    pub network: Network,
    /// Whether names may be completed by the search list of `/etc/resolv.conf`.
    pub searches: bool,
}

/// Makes connections.
pub struct Dial {
    /// What is never dialled.
    pub own: Listeners,
    pub names: Names,
    pub pool: Arc<Pool>,
    pub tls: TlsConnector,
    pub drivers: Drivers,
    pub clock: Clock,
}

/// A connection that was just made.
pub enum Dialled {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Dial {
    /// A connection to what `uri` names.
    ///
    /// # Errors
    /// What kept it from coming about.
    pub async fn dial(&self, uri: &Uri, extent: &Extent) -> Result<Dialled, Fault> {
        let host = uri.host().unwrap_or_default();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses = self.vetted(host, port, extent).await?;
        let connecting = async {
            let connected = self.connect(&addresses, port).await?;
            // If it fails, small writes are only sent later.
            let _ = connected.0.set_nodelay(true);
            let plain = metered(connected, &self.clock);
            let conduit = if is_tls { self.handshake(host, plain).await? } else { Box::new(plain) };
            Ok(if conduit.is_h2() {
                Dialled::Http2(Http2::over(conduit, &self.drivers).await?)
            } else {
                Dialled::Http1(Http1::over(conduit).await?.into())
            })
        };
        self.clock.timeout(CONNECT_WITHIN, connecting).await.unwrap_or(Err(Fault::Timeout))
    }

    /// The addresses of a host, if all of them may be dialled.
    async fn vetted(&self, host: &str, port: u16, extent: &Extent) -> Result<Addresses, Fault> {
        let addresses = match bare(host).parse::<IpAddr>() {
            Ok(address) => [address].into(),
            Err(_) if extent.searches || host.ends_with('.') => self.names.look_up(host).await?,
            Err(_) => self.names.look_up(&format!("{host}.")).await?,
        };
        for address in addresses.iter() {
            if !extent.network.permits(*address) || self.may_be_this_router(*address, port)? {
                // Not shown to tenants: it would reveal the operator's network.
                tracing::debug!(host, %address, "not dialled: this router itself, or private; see --allow-network");
                return Err(Fault::Forbidden);
            }
        }
        Ok(addresses)
    }

    fn may_be_this_router(&self, address: IpAddr, port: u16) -> Result<bool, Fault> {
        let mut judged = Ok(());
        let may_be = self.own.has_port(port)
            && self.own.are_at(address, |address| {
                is_local(address).unwrap_or_else(|fault| {
                    judged = Err(fault);
                    true
                })
            });
        judged.map(|()| may_be)
    }

    /// The first connection that comes about. The addresses are tried one after the other, each as soon as the one
    /// before has failed or takes long; if two take long, the first of them is given up.
    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<Connected, Fault> {
        let mut waiting = addresses.iter().take(ADDRESSES).map(|address| SocketAddr::new(*address, port));
        let mut tries = Tries::default();
        let (mut failed, mut is_due) = (Fault::Refused, true);
        loop {
            if is_due
                && waiting.len() > 0
                && let Some(place) = self.place_beside(&tries).await?
                && let Some(address) = waiting.next()
            {
                tries.start(address, place);
            }
            let tried = tokio::select! {
                tried = tries.running.join_next() => tried,
                () = self.clock.sleep(NEXT_ADDRESS_AFTER), if waiting.len() > 0 => {
                    is_due = true;
                    continue;
                }
            };
            // One that was given up is no reason to hurry.
            is_due = !matches!(tried, Some(Err(_)));
            match tried {
                Some(Ok(Ok(connected))) => return Ok(connected),
                Some(Ok(Err(fault))) if failed != Fault::Local => failed = fault,
                Some(_) => {}
                None => return Err(failed),
            }
        }
    }

    /// A place for one more try. Only if there is no other is it waited for: one of the others may connect meanwhile.
    async fn place_beside(&self, tries: &Tries) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        if tries.running.is_empty() {
            return self.pool.sockets(1).await.map(Some);
        }
        Ok(self.pool.socket_now())
    }

    async fn handshake(&self, host: &str, plain: Metered) -> Result<Box<dyn Conduit>, Fault> {
        let name = bare(host).trim_end_matches('.').to_owned();
        let name = ServerName::try_from(name).map_err(|_| Fault::TlsName)?;
        let tls = self.tls.connect(name, plain).await.map_err(|error| faults::of_handshake(&error))?;
        Ok(Box::new(tls))
    }
}

/// A connection, and its place among all sockets.
type Connected = (TcpStream, OwnedSemaphorePermit);

/// Attempts to connect to addresses of one name.
#[derive(Default)]
struct Tries {
    running: JoinSet<Result<Connected, Fault>>,
    handles: VecDeque<AbortHandle>,
}

impl Tries {
    /// Tries one more; if there are as many as may be, the oldest is given up.
    fn start(&mut self, address: SocketAddr, place: OwnedSemaphorePermit) {
        self.handles.retain(|handle| !handle.is_finished());
        if self.handles.len() >= AT_ONCE {
            self.handles.pop_front().inspect(AbortHandle::abort);
        }
        self.handles.push_back(self.running.spawn(connect(address, place)));
    }
}

async fn connect(address: SocketAddr, place: OwnedSemaphorePermit) -> Result<Connected, Fault> {
    let connecting = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.connect(address).await
    };
    let tcp = connecting.await.map_err(|error| faults::of_connecting(&error, address))?;
    Ok((tcp, place))
}

/// An IPv6 address without its brackets; other hosts as they are.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
