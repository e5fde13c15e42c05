//! One question to LiveKit: its token, its deadline, and what became of it.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::{Client, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::cli::doctor::clock;
use crate::cli::doctor::sip::{InboundTrunk, Listed, read_list};
use crate::cli::doctor::trouble::Trouble;
use crate::cli::failure::{Failure, root_cause};
use crate::signature::sign_jwt;
use crate::time::Clock;

/// Each list within this time.
const DEADLINE: Duration = Duration::from_secs(5);

/// The most that a list may be: some ten thousand trunks.
const BYTES: usize = 8 << 20;

/// Characters of an answer that are quoted.
const QUOTED: usize = 200;

/// Seconds by which a token may be made ahead of our time: LiveKit's `Date` is not signed, and a token lives as long as
/// it says.
const FORWARD: i64 = 3600;

/// An API key and its secret.
pub type Pair = (String, Zeroizing<String>);

/// What is asked with.
pub struct Twirp<'c> {
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
pub struct Heard<T> {
    pub outcome: Result<Listed<T>, Trouble>,
    /// How far our clock is ahead of LiveKit's, in seconds.
    pub ahead: Option<i64>,
}

impl<'c> Twirp<'c> {
    /// Asks the LiveKit at `base` with this key.
    ///
    /// # Errors
    /// When the system's TLS roots cannot be used.
    pub fn new(base: Url, key: Pair, clock: &'c Clock) -> Result<Self, Failure> {
        Ok(Self { client: client()?, base, tried: vec![key.0.clone()], key, clock, shift: 0 })
    }

    /// The first list: with the present key, else with the first of these that LiveKit accepts.
    pub async fn list_with_any_of(&mut self, keys: impl Iterator<Item = Pair>) -> Heard<InboundTrunk> {
        const LIST: &str = "ListSIPInboundTrunk";
        let mut heard = self.list(LIST).await;
        let is_refused = |heard: &Heard<_>| heard.outcome.as_ref().is_err_and(Trouble::is_about_the_key);
        let can_follow = |ahead: &i64| clock::is_grave(*ahead) && *ahead >= -FORWARD;
        if let Some(ahead) = heard.ahead.filter(|ahead| is_refused(&heard) && can_follow(ahead)) {
            // LiveKit accepts a token that is made at its own time.
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

    /// One of LiveKit's lists.
    pub async fn list<T: DeserializeOwned>(&self, method: &str) -> Heard<T> {
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
    pub fn blamed<T>(&self, first: &Heard<T>) -> &[String] {
        let accepted = self.tried.len() - 1;
        if first.outcome.is_ok() { &self.tried[accepted..] } else { &self.tried }
    }

    fn token(&self) -> String {
        let (key, secret) = &self.key;
        token(key, secret, self.clock.unix().seconds() + self.shift)
    }
}

/// What asks LiveKit: no proxy, no redirects, a deadline.
///
/// # Errors
/// When the system's TLS roots cannot be used.
fn client() -> Result<Client, Failure> {
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE);
    client.build().map_err(|error| Failure::new(error.to_string()))
}

/// Why there was no answer.
fn unanswered(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() {
        return Trouble::Slow(DEADLINE.as_secs());
    }
    let why = root_cause(error).chars().take(QUOTED).collect();
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
}
