//! Which URLs are refused when a hook is saved, and what is said of them.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).expect(text)
}

fn refused(network: &Network, text: &str) -> (String, Option<String>) {
    let Undeliverable { why, fix } = network.check(&url(text)).expect_err(text);
    (why, fix)
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
    let closed = Network::default();
    let start = |flags: &str| Some(format!("https and a public address, or start with {flags}"));
    let table = [
        (
            "http://10.0.0.7/",
            "private address, and plain http",
            start("--allow-network 10.0.0.0/8 --allow-http"),
        ),
        ("http://a.example/", "plain http", start("--allow-http")),
        ("https://169.254.169.254/", "private address", start("--allow-network 169.254.169.254/32")),
        ("https://[fd00:ec2::254]/", "private address", start("--allow-network fc00::/7")),
        (
            "http://a.localhost:7890/",
            "a name of this machine or its network, and plain http",
            start("--allow-network 127.0.0.0/8,::1/128 --allow-http"),
        ),
        (
            "https://hook.svc.cluster.local/",
            "a name of this machine or its network",
            start("--allow-network CIDR (the network it is in)"),
        ),
        ("https://user:pw@a.example/", "it holds a user or password", None),
        ("https://user@10.0.0.7/", "it holds a user or password", None),
        ("ftp://a.example/", "neither https nor http", None),
        ("ws://a.example/", "neither https nor http", None),
        ("https://a..example/", "its host is no name that the DNS could hold", None),
        ("https://a{b}.example/", "its host is no name that the DNS could hold", None),
    ];
    for (text, why, fix) in table {
        assert_eq!(refused(&closed, text), (why.to_owned(), fix), "{text}");
    }
    assert_eq!(closed.check(&url("https://a.example/hook")), Ok(()));
}

#[test]
fn what_the_operator_opened_is_not_refused_and_names_are_left_to_the_attempt() {
    let open = Network { allowed: vec!["10.0.0.0/8".parse().expect("net")], allow_http: true };
    for text in ["http://10.9.8.7:9101/", "http://localhost/", "https://hook.local/", "http://receiver:8080/"]
    {
        assert_eq!(open.check(&url(text)), Ok(()), "{text}");
    }
    // Other private addresses stay closed.
    for text in ["http://127.0.0.1/", "http://192.168.0.1/", "http://[::ffff:10.9.8.7]/", "http://[::1]/"] {
        assert_eq!(refused(&open, text).0, "private address", "{text}");
    }
}

#[test]
fn however_a_host_is_spelled_it_is_refused_as_what_it_means() {
    let closed = Network::default();
    let addresses = "2130706433 0x7f000001 0X7F000001 017700000001 0177.0.0.1 0x7f.1 127.1 127.0.1 127.0.0.1. \
        %31%32%37.0.0.1 127%2e0%2e0%2e1 １２７.０.０.１ 127。0。0。1 ①②⑦.0.0.1 0 0.0.0.0 [::] [::1] \
        [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::FFFF:7F00:1] [::127.0.0.1] [64:ff9b::127.0.0.1] \
        [64:FF9B::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2001:0:4136:e378:8000:63bf:3fff:fdd2] [FE80::1] \
        [fec0::1] 3232235521 0xc0a80001 192.168.1 0300.0250.0.1";
    for host in addresses.split_whitespace() {
        assert_eq!(refused(&closed, &format!("https://{host}:8443/hook")).0, "private address", "{host}");
    }
    let names = "localhost LOCALHOST localhost. LocalHost. ａ.localhost lo%63alhost ｌｏｃａｌｈｏｓｔ a.LOCAL \
        metadata.google.internal router.home.arpa nas";
    for host in names.split_whitespace() {
        let (why, _) = refused(&closed, &format!("https://{host}:8443/hook"));
        assert_eq!(why, "a name of this machine or its network", "{host}");
    }
    // Not even URLs: a zone, and numbers that are no address.
    for host in ["[fe80::1%25eth0]", "[fe80::1%eth0]", "256.0.0.1", "1.2.3.4.5", "0x100000000", "a.0x7f"] {
        assert!(Url::parse(&format!("https://{host}/")).is_err(), "{host}");
    }
}

/// The spellings that WHATWG URL takes for an IPv4 address.
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let bits = u32::from(address);
    let wide = |digit: char| char::from_u32(u32::from(digit) - 0x30 + 0xff10).unwrap_or(digit);
    let full_width = address.to_string().chars().map(|c| if c == '.' { '．' } else { wide(c) }).collect();
    let percent = address.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut all = vec![
        bits.to_string(),
        format!("{bits:#x}"),
        format!("0{bits:o}"),
        format!("{a}.{}", bits & 0xff_ffff),
        format!("{a:#x}.0{b:o}.{}", bits & 0xffff),
        format!("0{a:o}.{b:#X}.{c}.0{d:o}").replace("0X", "0x"),
        format!("{address}."),
        full_width,
        percent,
    ];
    all.extend([format!("[::ffff:{address}]"), format!("[::{address}]"), format!("[64:ff9b:1::{address}]")]);
    all
}

proptest! {
    #[test]
    fn every_spelling_of_a_private_address_is_refused(bits in any::<u32>(), net in 0..4_usize) {
        let nets = [0x0a00_0000, 0x7f00_0000, 0xc0a8_0000, 0xa9fe_0000];
        let mask = [0xff_ffff, 0xff_ffff, 0xffff, 0xffff];
        let address = Ipv4Addr::from(nets[net] | (bits & mask[net]));
        for host in spellings(address) {
            let url = url(&format!("https://{host}/"));
            prop_assert!(Network::default().check(&url).is_err(), "{address} as {host}: {url}");
        }
    }

    #[test]
    fn every_spelling_of_a_public_address_is_the_address(bits in 0x0100_0000_u32..0x0a00_0000) {
        let address = Ipv4Addr::from(bits);
        for host in spellings(address).into_iter().take_while(|host| !host.starts_with('[')) {
            let url = url(&format!("https://{host}/"));
            prop_assert_eq!(literal_address(&url), Some(address.into()), "{}", host);
            prop_assert_eq!(Network::default().check(&url), Ok(()));
        }
    }

    /// What passes can be asked for over HTTP, at the same host.
    #[test]
    fn every_url_that_passes_is_a_uri(host in "\\PC{1,20}", path in "\\PC{0,20}", query in "\\PC{0,20}") {
        let texts = [
            format!("https://{host}/{path}?{query}"),
            format!("https://a.example/{path}?{query}"),
            format!("https://{host}.example"),
        ];
        for url in texts.iter().filter_map(|text| Url::parse(text).ok()) {
            if Network::default().check(&url).is_ok() {
                let uri = hyper::Uri::try_from(url.as_str());
                let uri = uri.map_err(|error| TestCaseError::fail(format!("{url}: {error}")))?;
                prop_assert_eq!(uri.host(), url.host_str());
                prop_assert_eq!(uri.port_u16(), url.port());
            }
        }
    }
}
