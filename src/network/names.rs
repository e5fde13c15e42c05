//! Host names that may stand in a hook's URL: names the DNS can hold, and of those the public ones.

/// Top-level names that each network gives a meaning of its own: RFC 6761 §6.3 (`localhost`), RFC 6762 §3 and
/// appendix G, RFC 8375 (`home.arpa`), ICANN's reservation of `internal`; `localdomain` is what many systems call
/// themselves.
const PRIVATE: [&str; 10] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "home.arpa",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
];

/// Whether a host name is one the DNS can hold and HTTP can name: letters, digits, hyphens and underscores in labels
/// of at most 63, 253 in all (RFC 1035 §2.3.4). `host`: as WHATWG URL has made it canonical, in lower-case ASCII.
pub fn is_dns_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// Whether a host name can only mean this machine or something in its network: below one of the private top-level
/// names, or without a dot, which is completed by the network's search list. `host`: in lower-case ASCII.
pub fn is_private_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_below = |private: &&str| {
        host.strip_suffix(*private).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    !host.contains('.') || PRIVATE.iter().any(is_below)
}

/// Whether a name is `localhost` or below it, which always means this machine (RFC 6761 §6.3).
pub fn is_loopback_name(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).rsplit('.').next() == Some("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_and_its_network_are_private() {
        let private = "localhost localhost. a.localhost a.b.localhost. localhost.localdomain \
            x.localdomain printer.local svc.cluster.local metadata.google.internal db.internal. home.arpa \
            nas.home.arpa intranet nas com host.lan host.corp host.home a.intranet a.private";
        for name in private.split_whitespace() {
            assert!(is_private_name(name), "{name}");
        }
        let public = "a.example localhost.example local.example internal.example.com notlocal.example \
            xlocalhost.example mylocal.dev arpa.example a.home.example hook.vlocal.io a.example.";
        for name in public.split_whitespace() {
            assert!(!is_private_name(name), "{name}");
        }
        // The label has to end where the private name begins.
        assert!(!is_private_name("a.notlocal") && !is_private_name("a.mylan"));
    }

    #[test]
    fn names_the_dns_cannot_hold_are_told() {
        let long = "a".repeat(63);
        for name in ["a.example", "a.example.", "_dmarc.a.example", "xn--bcher-kva.example", &long, "1.a"] {
            assert!(is_dns_name(name), "{name}");
        }
        let [longer, many] = ["a".repeat(64), vec!["a"; 128].join(".")];
        for name in ["", ".", "a..example", ".a", "a!b.example", "a{b}.example", "a*.b", &longer, &many] {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
