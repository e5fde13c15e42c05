//! API tokens: JWTs (RFC 7519), HS256, signed with the API secret.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::revocations::Revocations;
use super::scope::{Grant, Scope};
use super::secret::secrets;
use crate::hooks::{HostPattern, Number, Tenant};
use crate::signature;
use crate::time::UnixMillis;

/// The audience of every API token.
const AUDIENCE: &str = "switchhook";

/// No token is valid for longer: what was revoked need not be remembered after this time.
pub const LONGEST_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The scope of an operator's token.
const ADMIN: &str = "admin";

/// A token is at most this long: tens of hosts fit.
const BYTES: usize = 16 << 10;

/// Lists in a token are at most this long.
const GRANTED: usize = 1000;

/// The claims of an API token. Times are Unix seconds; `iat` has fractions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Claims {
    aud: String,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iat: f64,
    jti: String,
    /// `admin`: an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trunks: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    livekit: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    private: bool,
}

impl Claims {
    /// An operator's, valid until `exp`.
    pub fn operator(now: UnixMillis, exp: UnixMillis) -> Self {
        Self { scope: Some(ADMIN.to_owned()), ..Self::plain(now, exp) }
    }

    /// A tenant's, valid until `exp`.
    pub fn tenant(grant: &Grant, now: UnixMillis, exp: UnixMillis) -> Self {
        let Grant { tenant, hosts, numbers, trunks, livekit, private } = grant;
        Self {
            sub: Some(tenant.to_string()),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            numbers: numbers.iter().map(|number| number.as_str().to_owned()).collect(),
            trunks: trunks.clone(),
            livekit: livekit.clone(),
            private: *private,
            ..Self::plain(now, exp)
        }
    }

    fn plain(now: UnixMillis, exp: UnixMillis) -> Self {
        let random = signature::random_secret();
        Self {
            aud: AUDIENCE.to_owned(),
            exp: exp.seconds() as f64,
            nbf: None,
            iat: now.0 as f64 / 1000.0,
            jti: random.chars().filter(char::is_ascii_alphanumeric).take(22).collect(),
            scope: None,
            sub: None,
            hosts: Vec::new(),
            numbers: Vec::new(),
            trunks: Vec::new(),
            livekit: Vec::new(),
            private: false,
        }
    }

    /// What the token is revoked by.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// What it permits; none if it says neither or names what does not exist.
    fn scope(&self) -> Option<Scope> {
        match (self.scope.as_deref(), &self.sub) {
            (Some(ADMIN), None) => Some(Scope::everything()),
            (None, Some(tenant)) => {
                let fits = [self.hosts.len(), self.numbers.len(), self.trunks.len(), self.livekit.len()]
                    .iter()
                    .all(|len| *len <= GRANTED);
                let hosts =
                    self.hosts.iter().map(|host| HostPattern::parse(host).ok()).collect::<Option<_>>()?;
                let numbers = self.numbers.iter().map(|number| Number::new(number)).collect::<Option<_>>()?;
                let (tenant, trunks) = (Tenant::new(tenant)?, self.trunks.clone());
                let livekit = self.livekit.clone();
                let grant = Grant { tenant, hosts, numbers, trunks, livekit, private: self.private };
                fits.then(|| Scope::tenants(grant))
            }
            _ => None,
        }
    }
}

/// Why a token is not accepted; the name is part of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Missing,
    Malformed,
    BadSignature,
    WrongAudience,
    Expired,
    NotYetValid,
    Revoked,
}

impl Refused {
    /// The reason as answers and the log name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_authorization",
            Self::Malformed => "malformed_token",
            Self::BadSignature => "bad_signature",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
        }
    }
}

/// The bearer of a verified token.
#[derive(Clone, Debug)]
pub struct Bearer {
    pub scope: Scope,
    /// The token's id.
    pub jti: String,
    pub expires: UnixMillis,
}

/// A token as the limits tell tokens apart: ids (`jti`) are unique within a tenant only.
pub type TokenIdentity = (Option<Tenant>, String);

impl Bearer {
    /// Which token it bears.
    pub fn identity(&self) -> TokenIdentity {
        (self.scope.tenant().cloned(), self.jti.clone())
    }

    /// Who it is, for the audit log: `operator`, or the tenant's name.
    pub fn actor(&self) -> &str {
        self.scope.tenant().map_or("operator", Tenant::as_str)
    }
}

/// Makes and verifies tokens.
pub struct Tokens {
    /// The first signs, all verify: so the secret can be renewed while tokens of the one before are still in use.
    secrets: ArcSwap<Vec<Zeroizing<String>>>,
    revocations: ArcSwap<Revocations>,
    /// How often secrets or revocations have changed.
    changes: AtomicU64,
}

impl Tokens {
    /// `text`: one secret a line, the current one first.
    pub fn new(text: &str) -> Self {
        let secrets = secrets(text).map(|secret| Zeroizing::new(secret.to_owned())).collect();
        Self {
            secrets: ArcSwap::from_pointee(secrets),
            revocations: ArcSwap::default(),
            changes: AtomicU64::default(),
        }
    }

    /// Puts other secrets in force, one a line, the current one first. Revocations stay.
    pub fn replace_secrets(&self, text: &str) {
        self.secrets.store(Self::new(text).secrets.into_inner());
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Puts revocations in force, beside those that are: a revocation is never taken back, so two that come at once
    /// are both kept.
    pub fn revoke(&self, revocations: &Revocations) {
        self.revocations.rcu(|before| before.with(revocations));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Refuses a single token until `expires`; false if too many are revoked already: then nothing is changed.
    pub fn revoke_token(&self, jti: &str, expires: UnixMillis, now: UnixMillis) -> bool {
        let mut has_room = true;
        self.revocations.rcu(|before| {
            let after = before.with_token(jti, expires, now).map(Arc::new);
            has_room = after.is_some();
            after.unwrap_or_else(|| Arc::clone(before))
        });
        if has_room {
            self.changes.fetch_add(1, Ordering::Release);
        }
        has_room
    }

    /// How often secrets or revocations have changed: as long as this number is the same, a token that was verified after
    /// it was read is accepted until it expires.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The revocations in force.
    pub fn revocations(&self) -> Arc<Revocations> {
        self.revocations.load_full()
    }

    /// A token with these claims; none without a secret.
    pub fn sign(&self, claims: &Claims) -> Option<String> {
        let secrets = self.secrets.load();
        let secret = secrets.first()?;
        Some(signature::sign_jwt(claims, secret.as_bytes()))
    }

    /// Whose token it is, and what it permits.
    ///
    /// # Errors
    /// [`Refused`], with the first thing that is wrong with it.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Bearer, Refused> {
        if token.is_empty() {
            return Err(Refused::Missing);
        }
        let is_ours = |head: jsonwebtoken::Header| head.alg == Algorithm::HS256;
        if token.len() > BYTES || !decode_header(token).is_ok_and(is_ours) {
            return Err(Refused::Malformed);
        }
        let claims = self.signed(token)?;
        let seconds = now.0 as f64 / 1000.0;
        if claims.aud != AUDIENCE {
            return Err(Refused::WrongAudience);
        }
        // A number that is not finite compares with nothing.
        if !claims.exp.is_finite() || claims.exp <= seconds {
            return Err(Refused::Expired);
        }
        if claims.nbf.is_some_and(|nbf| !nbf.is_finite() || nbf > seconds) {
            return Err(Refused::NotYetValid);
        }
        let scope = claims.scope().filter(|_| claims.iat.is_finite() && !claims.jti.is_empty());
        let scope = scope.ok_or(Refused::Malformed)?;
        if self.revocations.load().has(&claims.jti, claims.iat, &scope) {
            return Err(Refused::Revoked);
        }
        Ok(Bearer { scope, jti: claims.jti, expires: UnixMillis((claims.exp * 1000.0) as i64) })
    }

    /// The claims, if one of the secrets has signed them.
    fn signed(&self, token: &str) -> Result<Claims, Refused> {
        let mut validation = Validation::new(Algorithm::HS256);
        // Audience and time are checked above, each with a reason of its own.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let mut refused = Refused::BadSignature;
        for secret in self.secrets.load().iter() {
            match decode::<Claims>(token, &DecodingKey::from_secret(secret.as_bytes()), &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) if *error.kind() == jsonwebtoken::errors::ErrorKind::InvalidSignature => {}
                Err(_) => refused = Refused::Malformed,
            }
        }
        Err(refused)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_500);

    fn tokens() -> Tokens {
        Tokens::new(&"s".repeat(44))
    }

    fn hour() -> UnixMillis {
        UnixMillis(NOW.0 + 3_600_000)
    }

    fn acme() -> Grant {
        Grant {
            tenant: Tenant::new("acme").expect("a name"),
            hosts: vec![HostPattern::parse("calls.acme.com").expect("a host")],
            numbers: vec![Number::new("+15550100").expect("a number")],
            trunks: vec!["ST_1".to_owned()],
            livekit: vec!["APIacme".to_owned()],
            private: true,
        }
    }

    #[test]
    fn a_token_permits_what_it_was_made_for() {
        let tokens = tokens();
        let operator = tokens.sign(&Claims::operator(NOW, hour())).expect("a token");
        assert!(tokens.verify(&operator, NOW).expect("valid").scope.is_operator());
        let tenant = tokens.sign(&Claims::tenant(&acme(), NOW, hour())).expect("a token");
        let bearer = tokens.verify(&tenant, NOW).expect("valid");
        assert_eq!((bearer.actor(), bearer.scope.may_dial_private()), ("acme", true));
        assert!(bearer.scope.covers_livekit("APIacme") && !bearer.scope.covers_livekit("APIother"));
        assert!(bearer.scope.covers_trunk("ST_1") && !bearer.scope.covers_trunk("ST_2"));
        assert_eq!(tokens.verify(&tenant, hour()).err(), Some(Refused::Expired));
    }

    #[test]
    fn what_is_wrong_with_a_token_has_a_name() {
        let tokens = tokens();
        let good = Claims::tenant(&acme(), NOW, hour());
        let with = |change: fn(&mut Claims)| {
            let mut claims = good.clone();
            change(&mut claims);
            tokens.sign(&claims).expect("a token")
        };
        let other = Tokens::new(&"o".repeat(44)).sign(&good).expect("a token");
        let unsigned = "eyJhbGciOiJub25lIn0.eyJhdWQiOiJzd2l0Y2hob29rIn0.";
        let cases = [
            (String::new(), Refused::Missing),
            ("nonsense".to_owned(), Refused::Malformed),
            (unsigned.to_owned(), Refused::Malformed),
            (other, Refused::BadSignature),
            (with(|claims| claims.aud = "livekit".to_owned()), Refused::WrongAudience),
            (with(|claims| claims.exp = 1.0), Refused::Expired),
            (with(|claims| claims.nbf = Some(2e9)), Refused::NotYetValid),
            (with(|claims| claims.sub = Some("ACME".to_owned())), Refused::Malformed),
            (with(|claims| claims.sub = None), Refused::Malformed),
            (with(|claims| claims.scope = Some("admin".to_owned())), Refused::Malformed),
            (with(|claims| claims.hosts = vec!["a b".to_owned()]), Refused::Malformed),
            ("x".repeat(BYTES + 1), Refused::Malformed),
        ];
        for (token, refused) in cases {
            assert_eq!(tokens.verify(&token, NOW).err(), Some(refused), "{token}");
        }
    }

    #[test]
    fn revoked_tokens_are_refused_and_later_ones_are_not() {
        let tokens = tokens();
        let (first, second) = (Claims::tenant(&acme(), NOW, hour()), Claims::tenant(&acme(), NOW, hour()));
        let [first_token, second_token] =
            [&first, &second].map(|claims| tokens.sign(claims).expect("a token"));
        let single = HashMap::from([(first.jti().to_owned(), hour())]);
        tokens.revoke(&Revocations { tokens: single, ..Revocations::default() });
        assert_eq!(tokens.verify(&first_token, NOW).err(), Some(Refused::Revoked));
        assert!(tokens.verify(&second_token, NOW).is_ok());
        let later = UnixMillis(NOW.0 + 1);
        let tenants = HashMap::from([(acme().tenant, later)]);
        tokens.revoke(&Revocations { tenants, ..Revocations::default() });
        assert_eq!(tokens.verify(&second_token, later).err(), Some(Refused::Revoked));
        let third = tokens.sign(&Claims::tenant(&acme(), later, hour())).expect("a token");
        assert!(tokens.verify(&third, later).is_ok());
    }

    #[test]
    fn an_older_secret_still_verifies_and_the_first_one_signs() {
        let rotated = Tokens::new(&format!("{}\n{}\n", "n".repeat(44), "s".repeat(44)));
        let older = tokens().sign(&Claims::operator(NOW, hour())).expect("a token");
        assert!(rotated.verify(&older, NOW).is_ok());
        let newer = rotated.sign(&Claims::operator(NOW, hour())).expect("a token");
        assert_eq!(tokens().verify(&newer, NOW).err(), Some(Refused::BadSignature));
        rotated.replace_secrets(&"n".repeat(44));
        assert_eq!(rotated.verify(&older, NOW).err(), Some(Refused::BadSignature));
        assert!(rotated.verify(&newer, NOW).is_ok());
    }
}
