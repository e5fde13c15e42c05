//! Where hooks may deliver to. Pure: the hook table asks here when a URL is saved, the forwarder whenever it connects.

mod names;
mod special;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use reqwest::Url;

use self::names::{is_dns_name, is_loopback_name, is_private_name};
use self::special::is_public;

/// What an operator opened beyond public addresses over https.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// `--allow-network`: private targets that may be dialled.
    pub allowed: Vec<IpNet>,
    /// `--allow-http`: plain http may be spoken.
    pub allow_http: bool,
}

/// Where this router listens itself: never dialled, whatever is opened.
#[derive(Clone, Debug, Default)]
pub struct Listeners(pub Vec<SocketAddr>);

impl Listeners {
    /// Whether this router listens at this port.
    pub fn has_port(&self, port: u16) -> bool {
        self.0.iter().any(|listener| listener.port() == port)
    }

    /// Whether what listens at one of these ports at `address` may be this router. `is_local`: whether this machine has
    /// the address; asked only if a listener is at all addresses.
    pub fn are_at(&self, address: IpAddr, is_local: impl FnOnce(IpAddr) -> bool) -> bool {
        let address = address.to_canonical();
        let mut own = self.0.iter().map(|listener| listener.ip().to_canonical());
        address.is_loopback()
            || address.is_unspecified()
            || own.clone().any(|own| own == address)
            || (own.any(|own| own.is_unspecified()) && is_local(address))
    }
}

/// Why a URL could never be delivered to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undeliverable {
    pub why: String,
    pub fix: Option<String>,
}

impl Network {
    /// Whether `address` may be dialled.
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|net| net.contains(&address))
    }

    /// Refuses a URL that could never be delivered to. Names are resolved, and their addresses checked, at each
    /// attempt; here are refused only those that always mean this machine or its network, as long as no network has
    /// been opened that they could be in.
    ///
    /// # Errors
    /// [`Undeliverable`] with all that is wrong, and what would open it.
    pub fn check(&self, url: &Url) -> Result<(), Undeliverable> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Undeliverable::never("neither https nor http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Undeliverable::never("it holds a user or password"));
        }
        let target = self.closed_target(url)?;
        let plain = (url.scheme() == "http" && !self.allow_http)
            .then(|| Closed { what: "plain http", flag: "--allow-http".to_owned() });
        let closed: Vec<_> = target.into_iter().chain(plain).collect();
        if closed.is_empty() {
            return Ok(());
        }
        let why: Vec<_> = closed.iter().map(|closed| closed.what).collect();
        let flags: Vec<_> = closed.iter().map(|closed| closed.flag.as_str()).collect();
        let fix = format!("https and a public address, or start with {}", flags.join(" "));
        Err(Undeliverable { why: why.join(", and "), fix: Some(fix) })
    }

    /// What is not open of the host that a URL names.
    fn closed_target(&self, url: &Url) -> Result<Option<Closed>, Undeliverable> {
        let open = |net: &dyn Display| format!("--allow-network {net}");
        if let Some(address) = literal_address(url) {
            let flag = || open(&net_of(address));
            return Ok((!self.permits(address)).then(|| Closed { what: "private address", flag: flag() }));
        }
        let host = url.host_str().unwrap_or_default();
        if !is_dns_name(host) {
            return Err(Undeliverable::never("its host is no name that the DNS could hold"));
        }
        let is_closed = self.allowed.is_empty() && is_private_name(host);
        let flag = || {
            open(&if is_loopback_name(host) { "127.0.0.0/8,::1/128" } else { "CIDR (the network it is in)" })
        };
        Ok(is_closed.then(|| Closed { what: "a name of this machine or its network", flag: flag() }))
    }
}

/// What a flag would open.
struct Closed {
    what: &'static str,
    flag: String,
}

impl Undeliverable {
    /// Nothing opens it.
    fn never(why: &str) -> Self {
        Self { why: why.to_owned(), fix: None }
    }
}

/// The address a URL spells out, in whatever notation (WHATWG URL has made it canonical).
pub fn literal_address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The usual private network around an address, for the hint.
fn net_of(address: IpAddr) -> IpNet {
    let nets = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7"];
    nets.iter()
        .filter_map(|net| net.parse::<IpNet>().ok())
        .find(|net| net.contains(&address))
        .unwrap_or_else(|| IpNet::from(address))
}

#[cfg(test)]
mod tests;
