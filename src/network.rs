//! Which addresses may be dialled. Pure: the resolver and the hook table both ask here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;

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

    /// Refuses a URL that could never be delivered to.
    ///
    /// # Errors
    /// [`Undeliverable`] with all that is wrong, and what would open it.
    pub fn check(&self, url: &Url) -> Result<(), Undeliverable> {
        let mut why = Vec::new();
        let mut flags = Vec::new();
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => {
                why.push("plain http");
                flags.push("--allow-http".to_owned());
            }
            _ => return Err(Undeliverable { why: "neither https nor http".into(), fix: None }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Undeliverable { why: "it holds a user or password".into(), fix: None });
        }
        if let Some(address) = literal_address(url)
            && !self.permits(address)
        {
            why.insert(0, "private address");
            flags.insert(0, format!("--allow-network {}", net_of(address)));
        }
        if why.is_empty() {
            return Ok(());
        }
        let fix = format!("https and a public address, or start with {}", flags.join(" "));
        Err(Undeliverable { why: why.join(", and "), fix: Some(fix) })
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

/// Whether an address is none of IANA's special-purpose ones (RFC 6890 and its registries), also
/// not inside an IPv6 form that carries an IPv4 address.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: u16, second: u16, third: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0), prefix)
}

const SPECIAL_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// Within 2000::/3, the only range of global unicast (RFC 4291 §2.4); outside it nothing is public
/// but NAT64 of a public address.
const SPECIAL_V6: [Ipv6Net; 5] = [
    v6(0x2001, 0, 0, 23),         // IETF protocol assignments: Teredo, benchmarking, ORCHID
    v6(0x2001, 0xdb8, 0, 32),     // documentation
    v6(0x2002, 0, 0, 16),         // 6to4
    v6(0x3fff, 0, 0, 20),         // documentation
    v6(0x2620, 0x4f, 0x8000, 48), // AS112
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, fourth, fifth, sixth, seventh, eighth] = address.segments();
    // 64:ff9b::/96 (RFC 6052) reaches the IPv4 address in its last 32 bits.
    if (first, second, third, fourth, fifth, sixth) == (0x64, 0xff9b, 0, 0, 0, 0) {
        let [a, b] = seventh.to_be_bytes();
        let [c, d] = eighth.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    first & 0xe000 == 0x2000 && !SPECIAL_V6.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        let public = "1.1.1.1 8.8.8.8 2606:4700::1 64:ff9b::808:808 2a00::1 100.128.0.1 172.32.0.1";
        let special = "0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.9.9.9 169.254.169.254 172.31.0.1 \
            192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.19.0.1 198.51.100.1 203.0.113.1 224.0.0.1 \
            240.0.0.1 255.255.255.255 :: ::1 ::ffff:1.1.1.1 ::ffff:127.0.0.1 ::1.1.1.1 64:ff9b::a00:1 \
            64:ff9b:1::1 100::1 2001::1 2001:10::1 2001:db8::1 2002:101:101::1 3fff::1 5f00::1 fc00::1 \
            fd00:ec2::254 fe80::1 fec0::1 ff02::1 4000::1";
        for address in public.split_whitespace() {
            assert!(is_public(address.parse().expect(address)), "{address}");
        }
        for address in special.split_whitespace() {
            assert!(!is_public(address.parse().expect(address)), "{address}");
        }
    }

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
