//! By which names the API may be asked.
//!
//! A web page may give its own name the API's address once the browser has loaded it (DNS rebinding), and then read
//! what the API answers. It cannot change what stands in `Host`: the page's name.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header;
use axum::http::uri::Authority;

use crate::domain::Domain;

/// By which names the API may be asked.
pub struct AllowedHosts {
    given: Vec<Domain>,
    /// Whether a name is in the certificate that is served.
    own: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl AllowedHosts {
    /// `given`: by the operator. `own`: whether a name in lower case is the API's for another reason.
    pub fn new(given: Vec<Domain>, own: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { given, own: Box::new(own) }
    }

    /// Whether a request may be answered: `Host`, of which there is one, is an address or a name of this API, and so
    /// is the host of an absolute URI (RFC 9112 §3.2.2), which counts instead.
    pub fn permit(&self, request: &Request) -> bool {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let absolute = request.uri().authority().is_none_or(|authority| self.permits(authority.as_str()));
        absolute && host.to_str().is_ok_and(|host| self.permits(host))
    }

    /// Whether a host, with or without a port, is an address or a name of this API.
    fn permits(&self, host: &str) -> bool {
        let Ok(authority) = Authority::try_from(host) else { return false };
        // No user, and a port that is one.
        let port = host.strip_prefix(authority.host());
        if !port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_number)) {
            return false;
        }
        let name = authority.host().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || self.given.iter().any(|given| given.as_str() == name)
            || (self.own)(name)
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn hosts() -> AllowedHosts {
        let given = ["api.example", "switchhook"].map(|name| Domain::from_host(name).expect("a host"));
        AllowedHosts::new(given.into(), |name| name == "certified.example")
    }

    #[test]
    fn addresses_localhost_and_names_of_this_api_pass() {
        let hosts = hosts();
        let own = "127.0.0.1 127.0.0.1:7891 192.0.2.1 [::1]:7891 [2001:db8::1] localhost LOCALHOST:80 localhost. \
            api.example API.Example:443 api.example. switchhook:7891 certified.example";
        for host in own.split_whitespace() {
            assert!(hosts.permits(host), "{host}");
        }
        let others = "evil.example api.example.evil.example evil.example:7891 1.2.3.4.evil.example localhost.evil \
            a.localhost api.example@evil.example evil.example@127.0.0.1 2130706433 0x7f000001 example [evil.example] \
            api.example:evil *";
        for host in others.split_whitespace().chain(["", " ", "a b"]) {
            assert!(!hosts.permits(host), "{host}");
        }
    }

    #[test]
    fn what_a_request_is_sent_to_counts_and_there_must_be_one_host() {
        let asked = |uri: &str, named: &[&str]| {
            let request =
                named.iter().fold(Request::builder().uri(uri), |request, host| request.header("host", *host));
            hosts().permit(&request.body(Body::empty()).expect("a request"))
        };
        assert!(asked("/v1/hooks", &["localhost"]));
        assert!(asked("http://api.example/v1/hooks", &["localhost"]));
        assert!(!asked("http://evil.example/v1/hooks", &["localhost"]));
        assert!(!asked("http://localhost/v1/hooks", &["evil.example"]));
        assert!(!asked("/v1/hooks", &[]));
        assert!(!asked("/v1/hooks", &["localhost", "evil.example"]));
    }
}
