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
        let flag =
            || open(&if is_loopback_name(host) { "127.0.0.0/8" } else { "CIDR (the network it is in)" });
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
mod tests {
    use super::*;

    #[test]
    fn listeners_are_at_their_own_addresses_and_at_all_of_the_machine_if_they_listen_there() {
        let at = |listeners: [&str; 2], address: &str| {
            let listeners = Listeners(listeners.map(|listener| listener.parse().expect(listener)).into());
            assert!(listeners.has_port(7890) && listeners.has_port(7891) && !listeners.has_port(443));
            let own = "192.0.2.1".parse::<IpAddr>().expect("an address");
            listeners.are_at(address.parse().expect(address), |address| address == own)
        };
        let (bound, anywhere) = (["10.0.0.7:7890", "127.0.0.1:7891"], ["0.0.0.0:7890", "[::1]:7891"]);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            assert!(at(bound, address) && at(anywhere, address), "{address}");
        }
        assert!(at(bound, "10.0.0.7") && at(bound, "::ffff:10.0.0.7") && !at(anywhere, "10.0.0.7"));
        assert!(!at(bound, "192.0.2.1") && at(anywhere, "192.0.2.1"));
    }

    #[test]
    fn a_url_that_can_never_be_delivered_says_what_would_open_it() {
        let url = |text: &str| Url::parse(text).expect(text);
        let closed = Network::default();
        let refused = closed.check(&url("http://10.0.0.7/hook")).expect_err("private");
        assert_eq!(refused.why, "private address, and plain http");
        let fix = "https and a public address, or start with --allow-network 10.0.0.0/8 --allow-http";
        assert_eq!(refused.fix.as_deref(), Some(fix));
        // Decimal, octal and mapped spellings are the same address.
        for spelling in ["https://2130706433/", "https://0177.0.0.1/", "https://[::ffff:127.0.0.1]/"] {
            assert!(closed.check(&url(spelling)).is_err(), "{spelling}");
        }
        assert!(closed.check(&url("https://user:pw@a.example/")).is_err());
        assert!(closed.check(&url("ftp://a.example/")).is_err());
        assert_eq!(closed.check(&url("https://a.example/hook")), Ok(()));
        let open = Network { allowed: vec!["127.0.0.0/8".parse().expect("net")], allow_http: true };
        assert_eq!(open.check(&url("http://127.0.0.1:9101/hook")), Ok(()));
    }
}
