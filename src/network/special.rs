//! Which addresses are public: none of IANA's special-purpose ones, in whatever form they are carried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Whether an address is in none of the ranges of IANA's special-purpose registries (RFC 6890), also not inside an
/// IPv6 form that carries an IPv4 address.
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

/// Also the ranges which IANA calls globally reachable: what is served there is anycast infrastructure, no receiver.
const SPECIAL_V4: [Ipv4Net; 18] = [
    v4(0, 0, 0, 0, 8),       // this network
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // shared by carriers' customers
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local, and the metadata of clouds
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // IETF protocol assignments
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 31, 196, 0, 24), // AS112
    v4(192, 52, 193, 0, 24), // multicast relays
    v4(192, 88, 99, 0, 24),  // 6to4 relays
    v4(192, 168, 0, 0, 16),  // private
    v4(192, 175, 48, 0, 24), // AS112
    v4(198, 18, 0, 0, 15),   // benchmarking
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, broadcast
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

/// The prefix by which every IPv4 address can be reached (RFC 6052 §2.1).
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if NAT64.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    address.segments()[0] & 0xe000 == 0x2000 && !SPECIAL_V6.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;

    /// IANA's IPv4 and IPv6 special-purpose address registries, row by row, and multicast.
    const REGISTRIES: &str = "
        0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
        192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24
        192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24
        198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32 224.0.0.0/4
        ::1/128 ::/128 ::ffff:0:0/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32
        2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28
        2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7
        fe80::/10 fec0::/10 ff00::/8";

    fn registries() -> Vec<IpNet> {
        REGISTRIES.split_whitespace().map(|net| net.parse().expect(net)).collect()
    }

    fn embedded([a, b]: [u16; 2], form: fn(u16, u16) -> Ipv6Addr) -> IpAddr {
        form(a, b).into()
    }

    #[test]
    fn the_ends_of_every_special_range_are_not_public() {
        for net in registries() {
            assert!(!is_public(net.network()) && !is_public(net.broadcast()), "{net}");
        }
    }

    #[test]
    fn what_lies_beside_the_special_ranges_is_public() {
        let beside = "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
            169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 \
            192.31.195.255 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 \
            198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 2001:200:: 2001:db7:: \
            2001:db9:: 2003:: 2606:4700::1 2a00::1 3ffe:ffff:: 64:ff9b::808:808";
        for address in beside.split_whitespace() {
            assert!(is_public(address.parse().expect(address)), "{address}");
        }
    }

    proptest! {
        #[test]
        fn no_address_in_a_special_range_is_public(
            net in proptest::sample::select(registries()), bits in any::<u128>(),
        ) {
            let address: IpAddr = match net {
                IpNet::V4(net) => {
                    Ipv4Addr::from(u32::from(net.network()) | (bits as u32 & u32::from(net.hostmask()))).into()
                }
                IpNet::V6(net) => {
                    Ipv6Addr::from(u128::from(net.network()) | (bits & u128::from(net.hostmask()))).into()
                }
            };
            prop_assert!(!is_public(address), "{address}");
        }

        /// Mapped, compatible, translated, 6to4, Teredo, and the local prefix of NAT64.
        #[test]
        fn an_ipv4_address_inside_ipv6_is_public_only_by_the_well_known_nat64_prefix(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let halves = [(bits >> 16) as u16, bits as u16];
            let forms: [fn(u16, u16) -> Ipv6Addr; 6] = [
                |a, b| Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, a, b),
                |a, b| Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b),
                |a, b| Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, a, b),
                |a, b| Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                |a, b| Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 0, !a, !b),
                |a, b| Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, a, b),
            ];
            for form in forms {
                prop_assert!(!is_public(embedded(halves, form)), "{}", embedded(halves, form));
            }
            let nat64 = embedded(halves, |a, b| Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b));
            prop_assert_eq!(is_public(nat64), is_public(v4.into()));
        }

        #[test]
        fn only_global_unicast_and_nat64_are_public(bits in any::<u128>()) {
            let address = Ipv6Addr::from(bits);
            let unicast = bits >> 125 == 1;
            prop_assert!(unicast || NAT64.contains(&address) || !is_public(address.into()), "{address}");
        }
    }
}
