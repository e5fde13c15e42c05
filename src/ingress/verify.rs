//! Who may post: LiveKit's JWT and the hash of the body in it. A handler cannot see a body that was
//! not verified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jsonwebtoken::{Algorithm, decode_header};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::OwnedSemaphorePermit;

use super::{Ingress, KeyRing};
use crate::hooks::Tenant;
use crate::http::Problem;
use crate::ids::BodyHash;
use crate::route::Door;
use crate::signature::HS256_HEAD;
use crate::time::{Clock, Moment, UnixMillis};

/// LiveKit's clock and ours may differ by this many seconds (its own receivers allow as much).
const LEEWAY: f64 = 60.0;

/// A body LiveKit signed.
pub struct Verified {
    pub body: Bytes,
    pub hash: BodyHash,
    /// The API key it is signed with.
    pub issuer: Arc<str>,
    /// The URL it came by.
    pub door: Door,
    /// When the head of the request was there.
    pub came: Moment,
    /// Its share of the room for bodies.
    pub room: OwnedSemaphorePermit,
}

/// Why a post is not LiveKit's; the name is part of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    MissingAuthorization,
    MalformedToken,
    UnknownKey,
    BadSignature,
    Expired,
    NotYetValid,
    BodyMismatch,
}

impl Doubt {
    fn as_str(self) -> &'static str {
        match self {
            Self::MissingAuthorization => "missing_authorization",
            Self::MalformedToken => "malformed_token",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BodyMismatch => "body_mismatch",
        }
    }
}

/// A refused token: what the answer says, and what only the log says.
#[derive(Debug)]
pub struct Unverified {
    doubt: Doubt,
    detail: String,
    /// The API key the token names.
    key: Option<String>,
    /// How far a rightly signed token is outside its time, in seconds.
    skew: Option<i64>,
}

impl Unverified {
    fn new(doubt: Doubt, detail: impl Into<String>) -> Self {
        Self { doubt, detail: detail.into(), key: None, skew: None }
    }
}

/// The claims that matter. Numbers must be numbers: read as text they would go unchecked
/// (CVE-2026-25537).
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    sha256: Option<String>,
}

/// What a token that verifies says.
#[derive(Debug)]
pub struct Vouched {
    /// The claim `sha256`: standard base64 of the body's SHA-256.
    pub sha256: String,
    /// The API key it is signed with.
    pub issuer: Arc<str>,
}

/// Checks the token alone.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_token(headers: &HeaderMap, keys: &KeyRing, now: UnixMillis) -> Result<Vouched, Unverified> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let detail = "The request has no Authorization header.";
        return Err(Unverified::new(Doubt::MissingAuthorization, detail));
    };
    let malformed = |detail: &str| Unverified::new(Doubt::MalformedToken, detail);
    let value = value.to_str().map_err(|_| malformed("The Authorization header is not ASCII."))?;
    let token = bare(value);
    // The head LiveKit's tokens have need not be read.
    if !token.starts_with(HS256_HEAD) {
        let head = decode_header(token);
        let head = head.map_err(|_| malformed("The Authorization header holds no JWT signed with HS256."))?;
        if head.alg != Algorithm::HS256 {
            return Err(malformed("The token is signed with another algorithm than HS256."));
        }
    }
    let claims = signed_claims(token, keys)?;
    check_time(&claims, now).map_err(|refused| Unverified { key: claims.iss.clone(), ..refused })?;
    let sha256 = claims.sha256.ok_or_else(|| {
        Unverified::new(Doubt::BodyMismatch, "The token has no sha256 claim: it vouches for no body.")
    })?;
    Ok(Vouched { sha256, issuer: claims.iss.unwrap_or_default().into() })
}

/// The token without the `Bearer` some proxies put in front.
fn bare(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => value.trim(),
    }
}

/// The claims, if the key they name signed them (RFC 7515 §5.2: the signature is over the encoded
/// header and payload, so the payload is decoded once, before the key is known).
fn signed_claims(token: &str, keys: &KeyRing) -> Result<Claims, Unverified> {
    let malformed = |detail: &str| Unverified::new(Doubt::MalformedToken, detail);
    let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
        let (_, payload) = signed.split_once('.')?;
        Some((signed, URL_SAFE_NO_PAD.decode(payload).ok()?, signature))
    });
    let (signed, payload, signature) = parts.ok_or_else(|| malformed("The token has not three parts."))?;
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|_| malformed("The token's claims are no JSON, or one of them has the wrong type."))?;
    let Some(key) = &claims.iss else { return Err(malformed("The token has no iss claim.")) };
    let verified = keys.with(key, |secret| {
        secret.map(|secret| {
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), secret, Algorithm::HS256)
        })
    });
    let (doubt, detail) = match verified {
        Some(Ok(true)) => return Ok(claims),
        None => (Doubt::UnknownKey, "The token is signed with an API key that is not configured here."),
        // A signature that is no base64 is not the secret's, either.
        Some(Ok(false) | Err(_)) => {
            (Doubt::BadSignature, "The signature is not that of the API key's secret.")
        }
    };
    Err(Unverified { key: Some(key.clone()), ..Unverified::new(doubt, detail) })
}

fn check_time(claims: &Claims, now: UnixMillis) -> Result<(), Unverified> {
    let now = now.0 as f64 / 1000.0;
    let Some(exp) = claims.exp else {
        return Err(Unverified::new(Doubt::MalformedToken, "The token has no exp claim."));
    };
    let late = now - exp;
    let early = claims.nbf.map_or(0.0, |nbf| nbf - now);
    let outside =
        |doubt, detail, skew: f64| Unverified { skew: Some(skew as i64), ..Unverified::new(doubt, detail) };
    if late > LEEWAY {
        return Err(outside(Doubt::Expired, format!("The token expired {late:.0} s ago."), late));
    }
    if early > LEEWAY {
        let detail = format!("The token is valid only in {early:.0} s.");
        return Err(outside(Doubt::NotYetValid, detail, -early));
    }
    Ok(())
}

/// Whether the token's hash is that of the body; in constant time.
///
/// # Errors
/// [`Doubt::BodyMismatch`].
pub fn check_hash(promised: &str, hash: &BodyHash) -> Result<(), Unverified> {
    let promised = STANDARD.decode(promised).unwrap_or_default();
    if bool::from(promised.ct_eq(&hash.0)) {
        return Ok(());
    }
    let detail = "The body is not the one the token was made for: was it changed on the way?";
    Err(Unverified::new(Doubt::BodyMismatch, detail))
}

/// Why a request never reaches the handler.
pub enum Refused {
    Unverified(Unverified),
    /// The URL's tenant has no hook.
    UnknownTenant,
    /// The body is larger than allowed.
    TooLarge,
    /// Too much is coming in at once.
    Busy,
    /// The body did not arrive whole in time.
    Broken,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let busy = |title| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title);
        match self {
            Self::Unverified(Unverified { doubt, detail, .. }) => {
                Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not verified")
                    .reason(doubt.as_str())
                    .detail(detail)
                    .into_response()
            }
            Self::UnknownTenant => Problem::new(StatusCode::NOT_FOUND, "not-found", "No such tenant")
                .detail("The tenant of this URL has no hook.")
                .into_response(),
            Self::TooLarge => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
                    .into_response()
            }
            Self::Busy => busy("Too many events at once").into_response(),
            Self::Broken => {
                let mut response = busy("The body did not arrive").into_response();
                let close = header::HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
                response
            }
        }
    }
}

impl FromRequest<Arc<Ingress>> for Verified {
    type Rejection = Refused;

    async fn from_request(request: Request, ingress: &Arc<Ingress>) -> Result<Self, Refused> {
        let came = ingress.clock.now();
        let path = request.uri().path();
        let Some((door, own)) = ingress.door(path) else {
            ingress.metrics.rejected("unknown_tenant");
            ingress.refusals.note("unknown_tenant", Some(path));
            return Err(Refused::UnknownTenant);
        };
        let keys = own.as_ref().unwrap_or(&ingress.keys);
        let vouched = check_token(request.headers(), keys, ingress.clock.unix())
            .map_err(|unverified| ingress.doubt(unverified, &door, keys))?;
        let (body, room) =
            read(request, ingress, &door).await.inspect_err(|refused| ingress.refuse(refused))?;
        let hash = BodyHash::of(&body);
        check_hash(&vouched.sha256, &hash).map_err(|unverified| ingress.doubt(unverified, &door, keys))?;
        Ok(Self { body, hash, issuer: vouched.issuer, door, came, room })
    }
}

impl Ingress {
    /// Counts and logs a verified post that is refused all the same: LiveKit takes a 413 for
    /// delivered, so nothing else would tell.
    fn refuse(&self, refused: &Refused) {
        let reason = match refused {
            Refused::Unverified(_) | Refused::UnknownTenant => return,
            Refused::TooLarge => "too_large",
            Refused::Busy => "busy",
            Refused::Broken => "body_timeout",
        };
        self.metrics.rejected(reason);
        self.refusals.note(reason, None);
    }

    fn doubt(&self, unverified: Unverified, door: &Door, keys: &KeyRing) -> Refused {
        self.metrics.rejected(unverified.doubt.as_str());
        self.refusals.log(&unverified, door, keys);
        Refused::Unverified(unverified)
    }
}

/// Reads a body within the limits.
async fn read(
    request: Request,
    ingress: &Ingress,
    door: &Door,
) -> Result<(Bytes, OwnedSemaphorePermit), Refused> {
    let limits = &ingress.limits;
    let announced = content_length(request.headers());
    if announced.is_some_and(|length| length > limits.body) {
        return Err(Refused::TooLarge);
    }
    let kib = announced.unwrap_or(limits.body).div_ceil(1024);
    let permits = u32::try_from(kib).unwrap_or(u32::MAX);
    let room = match door {
        Door::Tenant { own_key: true, .. } => &ingress.tenants_room,
        Door::Tenant { own_key: false, .. } | Door::Platform => &ingress.room,
    };
    let room = Arc::clone(room).try_acquire_many_owned(permits).map_err(|_| Refused::Busy)?;
    let reading = Limited::new(request.into_body(), limits.body).collect();
    match ingress.clock.timeout(limits.read_within, reading).await {
        Ok(Ok(body)) => Ok((body.to_bytes(), room)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refused::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Refused::Broken),
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The log of refusals, at a limited rate: whoever posts rubbish must not fill the disk.
pub struct Refusals {
    clock: Clock,
    windows: Mutex<HashMap<&'static str, Window>>,
}

#[derive(Clone, Copy, Default)]
struct Window {
    began: Option<Moment>,
    lines: u32,
    suppressed: u64,
}

impl Refusals {
    /// Lines per reason and window.
    const LINES: u32 = 5;
    const WINDOW: Duration = Duration::from_secs(10);

    pub fn new(clock: Clock) -> Self {
        Self { clock, windows: Mutex::default() }
    }

    /// Says that a request was refused for a reason that is not the token.
    pub fn note(&self, reason: &'static str, path: Option<&str>) {
        let Some(suppressed) = self.admit(reason) else { return };
        let suppressed = (suppressed > 0).then_some(suppressed);
        let path: Option<String> = path.map(|path| path.chars().take(128).collect());
        tracing::warn!(reason, path, suppressed, "refused");
    }

    fn log(&self, unverified: &Unverified, door: &Door, keys: &KeyRing) {
        let Some(suppressed) = self.admit(unverified.doubt.as_str()) else { return };
        let suppressed = (suppressed > 0).then_some(suppressed);
        let Unverified { doubt, detail, key, skew } = unverified;
        let message = if skew.is_some() { "refused: clock skew" } else { "refused" };
        let configured = matches!(doubt, Doubt::UnknownKey).then(|| keys.names().join(","));
        // The key is whatever the token says: cut to what a key could be.
        let key: Option<String> = key.as_ref().map(|key| key.chars().take(64).collect());
        tracing::warn!(
            reason = doubt.as_str(), %detail, key, configured, url_of = door.tenant().map(Tenant::as_str),
            skew_s = skew, suppressed, "{message}"
        );
    }

    /// Whether a line may be written, and how many were left out before it.
    pub fn admit(&self, reason: &'static str) -> Option<u64> {
        let now = self.clock.now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(reason).or_default();
        if window.began.is_none_or(|began| now.since(began) >= Self::WINDOW) {
            *window = Window { began: Some(now), lines: 0, suppressed: window.suppressed };
        }
        if window.lines >= Self::LINES {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}
