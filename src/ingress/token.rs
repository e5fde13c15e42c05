//! LiveKit's token: a JWT signed with one of our keys, which vouches for the hash of one body.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, decode_header};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::keys::DoorKeys;
use crate::ids::BodyHash;
use crate::signature::HS256_HEAD;
use crate::time::UnixMillis;

/// LiveKit's clock and ours may differ by this many seconds (its own receivers allow as much).
const LEEWAY: f64 = 60.0;

/// Bytes of an `Authorization` value at most; LiveKit's have about 350. What is longer is not looked at: to refuse a token
/// must cost less than to accept an event.
const BYTES: usize = 4 << 10;

/// Bytes of a token's encoded head at most. It is only read if it is not the one LiveKit's tokens have.
const HEAD_BYTES: usize = 256;

/// Bytes of a token's encoded claims at most: 1 KiB of JSON, which has to be read before it is known which key's
/// signature to check.
const CLAIMS_BYTES: usize = 1366;

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
    /// The reason as answers, the log and metrics name it.
    pub fn as_str(self) -> &'static str {
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
    pub doubt: Doubt,
    pub detail: String,
    /// The API key the token names.
    pub key: Option<String>,
    /// How far a rightly signed token is outside its time, in seconds.
    pub skew: Option<i64>,
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
pub fn check_token(headers: &HeaderMap, keys: &DoorKeys<'_>, now: UnixMillis) -> Result<Vouched, Unverified> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let detail = "The request has no Authorization header.";
        return Err(Unverified::new(Doubt::MissingAuthorization, detail));
    };
    let malformed = |detail: &str| Unverified::new(Doubt::MalformedToken, detail);
    if value.len() > BYTES {
        return Err(malformed("The Authorization header has more than 4096 bytes."));
    }
    let value = value.to_str().map_err(|_| malformed("The Authorization header is not ASCII."))?;
    let token = Parts::of(bare(value)).ok_or_else(|| malformed("The token has not three parts."))?;
    if token.head.len() > HEAD_BYTES || token.claims.len() > CLAIMS_BYTES {
        return Err(malformed(
            "The token's head has more than 256 bytes, or its claims have more than 1 KiB.",
        ));
    }
    // The head LiveKit's tokens have need not be read.
    if !token.signed.starts_with(HS256_HEAD) {
        let head = decode_header(token.whole);
        let head = head.map_err(|_| malformed("The Authorization header holds no JWT signed with HS256."))?;
        if head.alg != Algorithm::HS256 {
            return Err(malformed("The token is signed with another algorithm than HS256."));
        }
    }
    let claims = signed_claims(&token, keys)?;
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

/// A token's parts as they are encoded (RFC 7515 §7.1).
struct Parts<'a> {
    whole: &'a str,
    head: &'a str,
    claims: &'a str,
    /// Head, dot and claims.
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(whole: &'a str) -> Option<Self> {
        let (signed, signature) = whole.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        Some(Self { whole, head, claims, signed, signature })
    }
}

/// The claims, if the key they name signed them (RFC 7515 §5.2: the signature is over the encoded
/// header and payload, so the payload is decoded once, before the key is known).
fn signed_claims(token: &Parts<'_>, keys: &DoorKeys<'_>) -> Result<Claims, Unverified> {
    let malformed = |detail: &str| Unverified::new(Doubt::MalformedToken, detail);
    let payload = URL_SAFE_NO_PAD.decode(token.claims);
    let payload = payload.map_err(|_| malformed("The token's claims are not base64url."))?;
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|_| malformed("The token's claims are no JSON, or one of them has the wrong type."))?;
    let Some(key) = &claims.iss else { return Err(malformed("The token has no iss claim.")) };
    let verified = keys.with(key, |secret| {
        secret.map(|secret| {
            jsonwebtoken::crypto::verify(token.signature, token.signed.as_bytes(), secret, Algorithm::HS256)
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
