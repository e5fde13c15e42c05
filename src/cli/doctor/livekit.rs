//! Asks LiveKit for its trunks and dispatch rules: Twirp over HTTP, as its own SDKs do, with a token that may list SIP.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::{Client, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::clock;
use super::finding::{Finding, Severity, Subject};
use super::sip::{InboundTrunk, Listed, Sip, read_list};
use super::trouble::{Inquiry, Trouble};
use crate::cli::failure::Failure;
use crate::signature::sign_jwt;
use crate::time::Clock;

/// Each list within this time.
const DEADLINE: Duration = Duration::from_secs(5);

/// The most that a list may be: some ten thousand trunks.
const BYTES: usize = 8 << 20;

/// Characters of an answer that are quoted.
const QUOTED: usize = 200;

/// Keys that are tried.
const KEYS: usize = 8;

/// An API key and its secret.
pub type Pair = (String, Zeroizing<String>);

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
/// When the URL cannot be one of LiveKit's, or there is no key.
pub async fn ask(url: &str, keys: Vec<Pair>, clock: &Clock) -> Result<Survey, Failure> {
    let base = address(url)?;
    let mut keys = keys.into_iter().take(KEYS);
    let Some(key) = keys.next() else {
        return Err(Failure::new(
            "no key to ask it with: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or --keys-file",
        ));
    };
    let shown = base.as_str().trim_end_matches('/').to_owned();
    let mut asker = Asker { client: client()?, base, tried: vec![key.0.clone()], key, clock, shift: 0 };
    let first = asker.list_with_any_of(keys).await;
    let keys = asker.blamed(&first);
    let mut report = Report { url: &shown, keys, ahead: first.ahead, troubles: Vec::new(), unread: 0 };
    let is_final = first.outcome.as_ref().is_err_and(Trouble::is_final);
    let inbound = report.had("inbound trunks", first.outcome);
    if is_final {
        return Ok(report.survey(Sip::default()));
    }
    let (outbound, rules) =
        tokio::join!(asker.list("ListSIPOutboundTrunk"), asker.list("ListSIPDispatchRule"));
    let rules = report.had("dispatch rules", rules.outcome);
    let outbound = report.had("outbound trunks", outbound.outcome);
    Ok(report.survey(Sip { inbound, outbound, rules }))
}

/// LiveKit's address for HTTP: its own tools take `ws://` and `wss://`, too.
fn address(url: &str) -> Result<Url, Failure> {
    let http = match url.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => url.to_owned(),
    };
    let parsed = Url::parse(&http).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let mut parsed = parsed.ok_or_else(|| {
        Failure::new(
            "LIVEKIT_URL is no URL of a LiveKit, such as wss://livekit.example.com or ws://127.0.0.1:7880",
        )
    })?;
    // A user and password in it are not LiveKit's way, and would be printed.
    let _ = (parsed.set_username(""), parsed.set_password(None));
    parsed.set_query(None);
    parsed.set_fragment(None);
    Ok(parsed)
}

fn client() -> Result<Client, Failure> {
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE);
    client.build().map_err(|error| Failure::new(error.to_string()))
}

/// What is asked with.
struct Asker<'c> {
    client: Client,
    base: Url,
    key: Pair,
    /// Names of the keys so far; the last one is in use.
    tried: Vec<String>,
    clock: &'c Clock,
    /// Seconds that are added to our time in tokens.
    shift: i64,
}

/// What became of one inquiry.
struct Heard<T> {
    outcome: Result<Listed<T>, Trouble>,
    ahead: Option<i64>,
}

impl Asker<'_> {
    /// The first list: with the present key, else with the first of these that LiveKit accepts.
    async fn list_with_any_of(&mut self, keys: impl Iterator<Item = Pair>) -> Heard<InboundTrunk> {
        const LIST: &str = "ListSIPInboundTrunk";
        let mut heard = self.list(LIST).await;
        let is_refused = |heard: &Heard<_>| heard.outcome.as_ref().is_err_and(Trouble::is_about_the_key);
        if let Some(ahead) = heard.ahead.filter(|ahead| is_refused(&heard) && clock::is_grave(*ahead)) {
            // A token made at LiveKit's own time is valid, however far our clock is off.
            self.shift = -ahead;
            heard = self.list(LIST).await;
        }
        for key in keys {
            if !is_refused(&heard) {
                break;
            }
            self.tried.push(key.0.clone());
            self.key = key;
            heard = self.list(LIST).await;
        }
        heard
    }

    async fn list<T: DeserializeOwned>(&self, method: &str) -> Heard<T> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/twirp/livekit.SIP/{method}", self.base.path().trim_end_matches('/')));
        let token = self.token();
        let request = self.client.post(url).bearer_auth(&token);
        let sent = self.clock.unix();
        let answer = request.header(CONTENT_TYPE, "application/json").body("{}").send().await;
        match answer {
            Err(error) => Heard { outcome: Err(unanswered(&error)), ahead: None },
            Ok(answer) => {
                let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
                let ahead = date.and_then(|date| clock::ahead(date, sent, self.clock.unix()));
                Heard { outcome: read(answer, &token).await, ahead }
            }
        }
    }

    /// The keys that what is refused is the fault of: all that were tried, or the one that was accepted.
    fn blamed<T>(&self, first: &Heard<T>) -> &[String] {
        let accepted = self.tried.len() - 1;
        if first.outcome.is_ok() { &self.tried[accepted..] } else { &self.tried }
    }

    fn token(&self) -> String {
        let (key, secret) = &self.key;
        token(key, secret, self.clock.unix().seconds() + self.shift)
    }
}

/// Why there was no answer.
fn unanswered(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() {
        return Trouble::Slow(DEADLINE.as_secs());
    }
    // The last cause says it plainly; those before it say where it happened.
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let why = cause.to_string().chars().take(QUOTED).collect();
    if is_tls(error) { Trouble::Insecure(why) } else { Trouble::Away(why) }
}

/// Whether TLS is the cause.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    // An I/O error names the source of what it wraps, not what it wraps.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match wrapped {
        _ if error.is::<rustls::Error>() => true,
        Some(wrapped) => is_tls(wrapped),
        None => error.source().is_some_and(is_tls),
    }
}

/// Reads an answer; what it quotes of the token is not passed on.
async fn read<T: DeserializeOwned>(mut answer: Response, token: &str) -> Result<Listed<T>, Trouble> {
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| unanswered(&error))? {
        if body.len() + part.len() > BYTES {
            return Err(Trouble::Long(BYTES));
        }
        body.extend_from_slice(&part);
    }
    let quoted = || {
        let text = String::from_utf8_lossy(&body).replace(token, "(our token)");
        text.trim().chars().take(QUOTED).collect::<String>()
    };
    if !status.is_success() {
        return Err(Trouble::Refused { status: status.as_u16(), text: quoted() });
    }
    read_list(&body).ok_or_else(|| Trouble::Foreign(quoted()))
}

/// The claims of a token that may list SIP. It says not when it was made: clocks may differ.
#[derive(Serialize)]
struct Grant<'k> {
    iss: &'k str,
    exp: i64,
    sip: SipGrant,
}

#[derive(Serialize)]
struct SipGrant {
    admin: bool,
}

/// A token that may list SIP, for ten minutes.
fn token(key: &str, secret: &str, now: i64) -> String {
    sign_jwt(&Grant { iss: key, exp: now + 600, sip: SipGrant { admin: true } }, secret.as_bytes())
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
    use livekit_api::access_token::TokenVerifier;

    use super::*;

    #[test]
    fn livekits_own_library_accepts_the_token_and_finds_the_grant() {
        let token = token("APIx", "a-secret-of-32-characters-or-more", Clock::system().unix().seconds());
        let verifier = TokenVerifier::with_api_key("APIx", "a-secret-of-32-characters-or-more");
        let claims = verifier.verify(&token).expect("a valid token");
        assert!(claims.sip.admin && claims.iss == "APIx" && !claims.video.room_join);
    }

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
