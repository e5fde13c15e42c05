//! The host of a SIP destination, in canonical form: what a call is routed by.
//!
//! Reads a name-addr, an addr-spec (RFC 3261 §20.10, §25.1) or what an edge writes into `X-To-IP`
//! (a bare `host[:port]`). The text comes from callers: nothing here panics, and what is not
//! understood is refused, not guessed.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A canonical host: lower-case ASCII without a trailing dot, an IPv4 address, or an IPv6 address
/// in brackets as RFC 5952 spells it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Domain(Arc<str>);

/// Why a value names no domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// Brackets, quotes or parameters do not form a SIP address.
    #[error("it is no SIP address")]
    Syntax,
    /// `tel:`, `mailto:` and the like name no host.
    #[error("its scheme is neither sip nor sips")]
    Scheme,
    /// The user part is empty or holds a character that must be escaped.
    #[error("its user part is malformed")]
    User,
    /// The host breaks RFC 1123 or RFC 3261 §25.1.
    #[error("its host is malformed")]
    Host,
    /// The port is no number up to 65535.
    #[error("its port is malformed")]
    Port,
}

impl Domain {
    /// The domain in the value of a `To` or `X-To-IP` header; of a list, the first value's.
    ///
    /// # Errors
    /// [`Invalid`] when the value names no host.
    pub fn from_sip(value: &str) -> Result<Self, Invalid> {
        let value = value.trim_matches(is_space);
        if value.is_empty() {
            return Err(Invalid::Empty);
        }
        match inside_brackets(value)? {
            Some(uri) => from_uri(uri.trim_matches(is_space), ";?"),
            // Without brackets a comma ends the first value of a list.
            None => from_uri(value, ";?,"),
        }
    }

    /// The domain a host name in the hook table stands for: no scheme, port or parameters.
    ///
    /// # Errors
    /// [`Invalid::Host`] when it is no host.
    pub fn from_host(host: &str) -> Result<Self, Invalid> {
        canonical_host(host)
    }

    /// A domain read back from the store, which only ever held canonical ones.
    pub fn stored(domain: &str) -> Self {
        Self(domain.into())
    }

    /// Whether it is a subdomain of `parent`, at any depth.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// White space of RFC 3261 §25.1 (LWS): a folded header line is a space too.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// The URI of `[display-name] <URI> [;params] [, …]`, or `None` if the value has no such brackets.
fn inside_brackets(value: &str) -> Result<Option<&str>, Invalid> {
    let bracketed = match value.strip_prefix('"') {
        Some(quoted) => {
            let rest = after_quoted(quoted).ok_or(Invalid::Syntax)?;
            rest.trim_start_matches(is_space).strip_prefix('<').ok_or(Invalid::Syntax)?
        }
        None => match value.split_once('<') {
            // A bracket behind `:`, `;` or `@` belongs to a parameter, not around the URI.
            Some((name, bracketed)) if name.chars().all(is_display_token) => bracketed,
            _ => return Ok(None),
        },
    };
    let (uri, rest) = bracketed.split_once('>').ok_or(Invalid::Syntax)?;
    ends_with_any(rest, ";,")?;
    Ok(Some(uri))
}

/// `token` and LWS of an unquoted display name (RFC 3261 §25.1).
fn is_display_token(c: char) -> bool {
    is_space(c) || c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c)
}

/// What follows the closing quote of a quoted string whose opening quote is already read.
fn after_quoted(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

/// After white space, nothing but the end or one of `openers` may come.
fn ends_with_any(rest: &str, openers: &str) -> Result<(), Invalid> {
    match rest.trim_start_matches(is_space).chars().next() {
        Some(c) if !openers.contains(c) => Err(Invalid::Syntax),
        _ => Ok(()),
    }
}

/// A SIP URI, or the bare `host[:port]` an edge writes; `openers` are what may follow the host.
fn from_uri(uri: &str, openers: &str) -> Result<Domain, Invalid> {
    let (userinfo, hostport) = match uri.split_once(':') {
        Some((scheme, rest)) if is_sip(scheme) => match rest.split_once('@') {
            Some((userinfo, hostport)) => (Some(userinfo), hostport),
            None => (None, rest),
        },
        Some((word, _)) if !word.contains(['.', '[']) => return Err(Invalid::Scheme),
        _ => (None, uri),
    };
    userinfo.map_or(Ok(()), check_userinfo)?;
    let end = hostport.find(|c| is_space(c) || openers.contains(c)).unwrap_or(hostport.len());
    let (hostport, rest) = hostport.split_at(end);
    ends_with_any(rest, openers)?;
    let domain = host_and_port(hostport)?;
    // A single word without a user could be anything: `localhost`, `sip:nodomain`, `null`.
    let qualified = userinfo.is_some() || domain.as_str().contains(['.', '[']);
    if qualified { Ok(domain) } else { Err(Invalid::Host) }
}

fn is_sip(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")
}

/// `user [":" password]` (RFC 3261 §25.1). Everything up to the first `@` is checked, so a second
/// one ends up in the host and fails there.
fn check_userinfo(userinfo: &str) -> Result<(), Invalid> {
    let mut bytes = userinfo.bytes();
    let mut legal = !userinfo.is_empty() && !userinfo.starts_with(':');
    while let Some(byte) = bytes.next() {
        legal &= match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|hex| hex.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/:".contains(&byte),
        };
    }
    if legal { Ok(()) } else { Err(Invalid::User) }
}

fn host_and_port(hostport: &str) -> Result<Domain, Invalid> {
    let (host, port) = match hostport.strip_prefix('[') {
        Some(rest) => {
            let close = rest.find(']').ok_or(Invalid::Host)?;
            let port = match &rest[close + 1..] {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or(Invalid::Host)?),
            };
            (&hostport[..close + 2], port)
        }
        None => match hostport.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (hostport, None),
        },
    };
    if let Some(port) = port {
        check_port(port)?;
    }
    canonical_host(host)
}

fn check_port(port: &str) -> Result<(), Invalid> {
    // u16's parser alone would take a leading `+`.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    if digits && port.parse::<u16>().is_ok() { Ok(()) } else { Err(Invalid::Port) }
}

fn canonical_host(host: &str) -> Result<Domain, Invalid> {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.strip_suffix(']').ok_or(Invalid::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| Invalid::Host)?;
        // std spells addresses as RFC 5952 does.
        return Ok(Domain(format!("[{address}]").into()));
    }
    if host.parse::<Ipv4Addr>().is_ok() {
        return Ok(Domain(host.into()));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(is_label) || !top_label_is_alphabetic(name) {
        return Err(Invalid::Host);
    }
    Ok(Domain(name.to_ascii_lowercase().into()))
}

/// RFC 1123 §2.1, and `_` as carriers use it.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// RFC 3261 §25.1 `toplabel`: it starts with a letter, so no malformed IPv4 address passes.
fn top_label_is_alphabetic(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|top| top.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = include_str!("../tests/data/sip_domains.tsv");

    /// Undoes the escapes of the table's first column: `\\\\`, `\\t`, `\\r`, `\\n`, `\\xHH`.
    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            out.push(match (byte, byte == b'\\') {
                (_, true) => match bytes.next().expect("an escape") {
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b'x' => {
                        let hex = [bytes.next().expect("hex"), bytes.next().expect("hex")];
                        let hex = std::str::from_utf8(&hex).expect("hex digits");
                        u8::from_str_radix(hex, 16).expect("hex digits")
                    }
                    other => other,
                },
                _ => byte,
            });
        }
        out
    }

    #[test]
    fn every_row_of_the_conformance_table_holds() {
        let mut rows = 0;
        for line in TABLE.lines().filter(|line| !line.starts_with("# ")) {
            let mut columns = line.split('\t');
            let input = unescape(columns.next().expect("input"));
            let expected = columns.next().expect("expected");
            // What is no UTF-8 never reaches the parser as text; JSON would refuse it before.
            let read = std::str::from_utf8(&input).ok().and_then(|text| Domain::from_sip(text).ok());
            let got = read.as_ref().map_or("invalid", Domain::as_str);
            assert_eq!(got, expected, "{line}");
            rows += 1;
        }
        assert!(rows > 150, "{rows} rows");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_canonical_and_reading_it_again_changes_nothing(
            value in "(\\PC{0,40}|[ \\t\"<>]{0,3}(sips?:)?([a-z%;,:]{0,6}@)?[A-Za-z0-9.\\[\\]:_-]{0,24}[;,>? :0-9]{0,6})"
        ) {
            if let Ok(domain) = Domain::from_sip(&value) {
                prop_assert_eq!(Domain::from_host(domain.as_str()), Ok(domain.clone()));
                prop_assert!(domain.as_str().is_ascii());
                prop_assert!(!domain.as_str().contains(|c: char| c.is_ascii_uppercase()));
                prop_assert!(!domain.as_str().ends_with('.'));
                let again = Domain::from_sip(&format!("sip:u@{domain}"));
                prop_assert_eq!(again, Ok(domain));
            }
        }
    }
}
