//! What protects the API from those who call it: only expected names, bounded requests, limited rates, and wrong
//! tokens that cost little.
//!
//! A token that verifies is never refused for what others do: many may come from one address, such as a proxy's.

mod denied;
mod hosts;
mod places;
mod refusals;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;

pub use self::hosts::AllowedHosts;
pub use self::refusals::RecordedRefusals;

use self::places::{Places, Seat};
use crate::access::{Bearer, Refused, Scope, TokenIdentity, Tokens};
use crate::hooks::Tenant;
use crate::http::{Allowance, Meter, PeerAddress, Problem, Visitor, Voucher};
use crate::telemetry::Seldom;
use crate::time::Clock;
use crate::wire::ProblemKind;

/// Bytes of a request's body. (Its head is limited by the listener.)
const BODY_BYTES: usize = 1 << 20;

/// A request is read and answered within this time; of an answer that streams, its head.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// What one token of a tenant may ask: 50 a second, 200 at once.
const TENANT: Allowance = Allowance { burst: 200, interval: Duration::from_millis(20) };

/// What one token of an operator may ask: ten times as much.
const OPERATOR: Allowance = Allowance { burst: 2000, interval: Duration::from_millis(2) };

/// Edits of hooks and secrets that one tenant may ask for: 60 at once, then one a second.
const EDITS: Allowance = Allowance { burst: 60, interval: Duration::from_secs(1) };

/// Those of all operators: ten times as many.
const OPERATORS_EDITS: Allowance = Allowance { burst: 600, interval: Duration::from_millis(100) };

/// Tenants whose edits are counted separately. Tenants beyond this number share one allowance.
const TENANTS: usize = 10_000;

/// Wrong tokens of one address that are answered with what is wrong: 100 at once, then one a second.
const WRONG: Allowance = Allowance { burst: 100, interval: Duration::from_secs(1) };

/// Tokens whose requests are counted separately. Tokens beyond this number share one allowance.
const TOKENS: usize = 10_000;

/// Addresses whose refused tokens are counted separately. Addresses beyond this number share one allowance.
const ADDRESSES: usize = 4096;

/// The log says at most this often that tokens are wrong.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// The API's limits, and what they count.
pub struct Guard {
    hosts: AllowedHosts,
    places: Arc<Places>,
    asked: Mutex<Meter<TokenIdentity>>,
    edited: Mutex<Meter<Option<Tenant>>>,
    wrong: Mutex<Meter<IpAddr>>,
    said: Seldom,
    clock: Clock,
}

impl Guard {
    /// A guard that lets requests by these names pass.
    pub fn new(hosts: AllowedHosts, clock: Clock) -> Self {
        Self {
            hosts,
            places: Arc::default(),
            asked: Mutex::new(Meter::new(TOKENS)),
            edited: Mutex::new(Meter::new(TENANTS)),
            wrong: Mutex::new(Meter::new(ADDRESSES)),
            said: Seldom::new(SAY_AGAIN),
            clock,
        }
    }

    /// Puts the limits of requests before all of `routes`.
    pub fn protect(self: &Arc<Self>, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::clone(self), pass))
    }

    /// Whose token a request bears. The request has a place from here on until it is answered.
    ///
    /// # Errors
    /// 401 with the reason if it does not verify; 429 if it comes too often, has too many requests that are worked on,
    /// or if its address sent too many wrong ones; 503 if no place is left.
    pub fn authenticate(&self, parts: &Parts, tokens: &Tokens) -> Result<Bearer, Problem> {
        let token = bearer_token(&parts.headers).unwrap_or_default();
        let bearer = tokens.verify(token, self.clock.unix());
        let bearer = bearer.map_err(|refused| self.refuse(parts.extensions.get(), refused))?;
        let of_operator = bearer.scope.is_operator();
        let (allowance, voucher) =
            if of_operator { (OPERATOR, Voucher::Operator) } else { (TENANT, Voucher::Tenant) };
        if let Some(visitor) = parts.extensions.get::<Visitor>() {
            visitor.vouch(voucher);
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.take(&bearer.identity(), allowance, self.clock.now()).map_err(denied::too_often)?;
        drop(asked);
        self.seat(parts, Some(&bearer))?;
        Ok(bearer)
    }

    /// Gives a request its place.
    ///
    /// # Errors
    /// 429 or 503 if there is none for this bearer; `None`: for those who need no token.
    pub fn seat(&self, parts: &Parts, bearer: Option<&Bearer>) -> Result<(), Problem> {
        if let Some(seat) = parts.extensions.get::<Seat>().filter(|seat| !seat.is_taken()) {
            seat.hold(self.places.take(bearer).map_err(denied::no_place)?);
        }
        Ok(())
    }

    /// Counts an edit: each is planned against the whole table, stored and recorded.
    ///
    /// # Errors
    /// 429 if the scope's tenant, or all operators, ask for edits too often.
    pub fn admit_edit(&self, scope: &Scope) -> Result<(), Problem> {
        let allowance = if scope.is_operator() { OPERATORS_EDITS } else { EDITS };
        let mut edited = self.edited.lock().unwrap_or_else(PoisonError::into_inner);
        edited.take(&scope.tenant().cloned(), allowance, self.clock.now()).map_err(denied::too_often)
    }

    /// The answer to a token that does not verify, and a line of the log now and then.
    fn refuse(&self, peer: Option<&PeerAddress>, refused: Refused) -> Problem {
        let now = self.clock.now();
        if let Some(times) = self.said.admit(now) {
            let peer = peer.map(|peer| peer.0.to_string());
            tracing::warn!(reason = refused.as_str(), peer, times, "API: token refused");
        }
        let address = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.network());
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.take(&address, WRONG, now) {
            Ok(()) => denied::unauthorized(refused),
            Err(wait) => denied::too_often(wait),
        }
    }
}

/// The token behind `Bearer` (RFC 6750 §2.1).
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Lets a request pass to its handler, within limits.
async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if !guard.hosts.permit(&request) {
        return misdirected().into_response();
    }
    if is_too_large(request.headers()) {
        return too_large().into_response();
    }
    // Taken once it is known whose request it is, held until it is answered. Who bears no token is answered at once.
    let seat = Seat::default();
    // A body without a length is cut off at the limit while its handler reads it.
    let mut request = request.map(|body| Body::new(Limited::new(body, BODY_BYTES)));
    request.extensions_mut().insert(seat.clone());
    let answer = answer_in_time(&guard.clock, next.run(request)).await;
    drop(seat);
    answer
}

/// The handler's answer, or that it took too long.
async fn answer_in_time(clock: &Clock, handler: impl Future<Output = Response>) -> Response {
    clock.timeout(ANSWERED_WITHIN, handler).await.unwrap_or_else(|_| late().into_response())
}

fn is_too_large(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > BODY_BYTES as u64)
}

fn misdirected() -> Problem {
    let detail = "The API answers only by an IP address, by localhost, by the names in its certificate, and by those \
                  it is told with --api-host NAME, so that no web page can reach it by a name of its own (DNS \
                  rebinding). Start the router with --api-host and the name you asked by, or have the proxy send one \
                  of those names as Host.";
    Problem::new(ProblemKind::Misdirected).detail(detail)
}

fn too_large() -> Problem {
    let detail = format!("A request's body may hold at most {BODY_BYTES} bytes.");
    Problem::new(ProblemKind::TooLarge).detail(detail)
}

fn late() -> Problem {
    let detail = format!(
        "This took longer than {} s. A change that was asked for may still be made: look before you repeat it.",
        ANSWERED_WITHIN.as_secs()
    );
    Problem::new(ProblemKind::StoreSlow).detail(detail)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use axum::http::StatusCode;

    use super::*;
    use crate::time::UnixMillis;

    #[test]
    fn a_token_is_what_follows_bearer() {
        let token = |value: &str| {
            let value = value.parse().expect("a header");
            bearer_token(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])).map(str::to_owned)
        };
        assert_eq!(token("Bearer  abc "), Some("abc".to_owned()));
        assert_eq!(token("bearer abc"), Some("abc".to_owned()));
        assert_eq!([token("abc"), token("Basic abc"), token("Bearer")], [None, None, None]);
    }

    #[test]
    fn a_request_that_is_not_answered_within_thirty_seconds_is_told_so() {
        let clock = Clock::manual(UnixMillis(0));
        let mut answer = std::pin::pin!(answer_in_time(&clock, std::future::pending()));
        let mut poll = || answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        clock.advance(ANSWERED_WITHIN - Duration::from_millis(1));
        assert!(poll().is_pending());
        clock.advance(Duration::from_millis(1));
        let Poll::Ready(answer) = poll() else { panic!("no answer") };
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
