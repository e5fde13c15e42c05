//! Asks LiveKit for its trunks and dispatch rules: Twirp over HTTP, as its own SDKs do, with a token that may list SIP.

mod twirp;

use reqwest::Url;

use self::twirp::Twirp;
use super::clock;
use super::finding::{Finding, Severity, Subject};
use super::sip::{Listed, Sip};
use super::trouble::{Inquiry, Trouble};
use crate::cli::failure::Failure;
use crate::time::Clock;

pub use self::twirp::Pair;

/// Keys that are tried.
const KEYS: usize = 8;

/// What LiveKit says, and what is wrong with how it says it.
#[derive(Debug)]
pub struct Survey {
    pub sip: Sip,
    pub findings: Vec<Finding>,
    /// How far our clock is ahead of LiveKit's, in seconds.
    pub ahead: Option<i64>,
}

/// Asks for all three lists.
///
/// # Errors
/// When there is no key.
pub async fn ask(base: Url, keys: Vec<Pair>, clock: &Clock) -> Result<Survey, Failure> {
    let mut keys = keys.into_iter().take(KEYS);
    let Some(key) = keys.next() else {
        return Err(Failure::new(
            "no key to ask it with: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or --keys-file",
        ));
    };
    let shown = shown(&base);
    let mut twirp = Twirp::new(base, key, clock)?;
    let first = twirp.list_with_any_of(keys).await;
    let keys = twirp.blamed(&first);
    let mut report = Report { url: &shown, keys, ahead: first.ahead, troubles: Vec::new(), unread: 0 };
    let is_final = first.outcome.as_ref().is_err_and(Trouble::is_final);
    let inbound = report.had("inbound trunks", first.outcome);
    if is_final {
        return Ok(report.survey(Sip::default()));
    }
    let (outbound, rules) =
        tokio::join!(twirp.list("ListSIPOutboundTrunk"), twirp.list("ListSIPDispatchRule"));
    let rules = report.had("dispatch rules", rules.outcome);
    let outbound = report.had("outbound trunks", outbound.outcome);
    Ok(report.survey(Sip { inbound, outbound, rules }))
}

/// An address as it is printed.
pub fn shown(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}

/// LiveKit's address for HTTP: its own tools take `ws://` and `wss://`, too. Without what may be secret in it.
///
/// # Errors
/// When the URL cannot be one of LiveKit's; the message does not quote it.
pub fn address(url: &str) -> Result<Url, Failure> {
    let http = match url.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => url.to_owned(),
    };
    let parsed = Url::parse(&http).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.map(bare).ok_or_else(|| {
        Failure::new(
            "LIVEKIT_URL is no URL of a LiveKit, such as wss://livekit.example.com or ws://127.0.0.1:7880",
        )
    })
}

/// A URL without user, password, query and fragment: neither LiveKit nor a router reads them, and URLs are printed.
pub fn bare(mut url: Url) -> Url {
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Gathers what could not be had.
struct Report<'r> {
    url: &'r str,
    keys: &'r [String],
    ahead: Option<i64>,
    troubles: Vec<(&'static str, Trouble)>,
    unread: usize,
}

impl Report<'_> {
    fn had<T>(&mut self, list: &'static str, outcome: Result<Listed<T>, Trouble>) -> Option<Vec<T>> {
        match outcome {
            Ok(Listed { items, unreadable }) => {
                self.unread += unreadable;
                Some(items)
            }
            Err(trouble) => {
                self.troubles.push((list, trouble));
                None
            }
        }
    }

    fn survey(self, sip: Sip) -> Survey {
        let Self { url, keys, ahead, troubles, unread } = self;
        let others = sip.inbound.is_some() || sip.outbound.is_some() || sip.rules.is_some();
        // Where nothing could be had, one reason is enough.
        let told = if others { troubles.len() } else { 1 };
        let finding = |(list, trouble): &(&'static str, Trouble)| {
            trouble.finding(Inquiry { url, list, keys, ahead, others })
        };
        let mut findings: Vec<_> = troubles.iter().take(told).map(finding).collect();
        if unread > 0 {
            let text = [
                format!("lists {unread} trunks or rules that this version of switchhook cannot read"),
                "they were not checked".to_owned(),
                "look at them with `lk sip inbound list` and `lk sip dispatch list`".to_owned(),
            ];
            findings.push(Finding::new(
                Severity::Warning,
                "unreadable",
                Subject::of("LiveKit", url, ""),
                text,
            ));
        }
        findings.extend(ahead.and_then(clock::finding));
        Survey { sip, findings, ahead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn livekits_address_is_taken_in_every_spelling_of_its_tools() {
        let table = [
            ("ws://127.0.0.1:7880", "http://127.0.0.1:7880/"),
            ("wss://livekit.example.com", "https://livekit.example.com/"),
            ("https://user:hush@livekit.example.com/path/?q#f", "https://livekit.example.com/path/"),
            ("http://[::1]:7880", "http://[::1]:7880/"),
        ];
        for (given, expected) in table {
            assert_eq!(address(given).map(|url| url.to_string()).expect("a URL"), expected);
        }
        for bad in ["", "livekit.example.com", "127.0.0.1:7880", "ftp://a", "ws://"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
