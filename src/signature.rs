//! Secrets and signatures: Standard Webhooks for tenants, LiveKit's JWT for its receivers.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::Serialize;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ids::BodyHash;
use crate::time::UnixMillis;

type HmacSha256 = Hmac<Sha256>;

const PREFIX: &str = "whsec_";

/// A Standard Webhooks signing secret: 24 to 64 bytes, spelled `whsec_` + base64.
#[derive(Clone)]
pub struct Secret {
    bytes: Zeroizing<Vec<u8>>,
    /// Keyed once, cloned for each signature.
    keyed: HmacSha256,
}

/// Why a text is no secret. Never holds the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoSecret {
    /// The prefix is missing.
    #[error("it does not begin with whsec_")]
    Prefix,
    /// What follows is no standard base64.
    #[error("what follows whsec_ is no base64")]
    Base64,
    /// Standard Webhooks asks for 24 to 64 bytes.
    #[error("it holds {0} bytes; 24 to 64 are needed")]
    Length(usize),
}

impl Secret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`NoSecret`], which does not quote the text.
    pub fn parse(text: &str) -> Result<Self, NoSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NoSecret::Prefix)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| NoSecret::Base64)?);
        Self::from_bytes(bytes)
    }

    fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Self, NoSecret> {
        if !(24..=64).contains(&bytes.len()) {
            return Err(NoSecret::Length(bytes.len()));
        }
        let keyed = HmacSha256::new_from_slice(&bytes).map_err(|_| NoSecret::Length(bytes.len()))?;
        Ok(Self { bytes, keyed })
    }

    /// The secret as a tenant writes it into its configuration.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.bytes)))
    }

    fn mac(&self, id: &str, timestamp: i64, body: &[u8]) -> HmacSha256 {
        let mut mac = self.keyed.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac
    }

    /// One signature, `v1,<base64>` (Standard Webhooks 1.0, "Signature scheme").
    /// `timestamp`: Unix seconds of the attempt.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let tag = self.mac(id, timestamp, body).finalize().into_bytes();
        format!("v1,{}", STANDARD.encode(tag))
    }

    /// Whether any of the space-separated `signatures` is this secret's; in constant time.
    pub fn verifies(&self, id: &str, timestamp: i64, body: &[u8], signatures: &str) -> bool {
        signatures.split(' ').filter_map(|one| one.strip_prefix("v1,")).any(|encoded| {
            STANDARD.decode(encoded).is_ok_and(|tag| self.mac(id, timestamp, body).verify_slice(&tag).is_ok())
        })
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(&**self.bytes, &**other.bytes).into()
    }
}

/// As the store keeps it, sealed.
impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.reveal())
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// What all derived secrets come from: the first signs, the others sign beside it (rotation).
#[derive(Clone)]
pub struct MasterSecret(Vec<Zeroizing<Vec<u8>>>);

/// The master secret is too short to be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a master secret needs at least 32 characters on each line")]
pub struct WeakMaster;

impl MasterSecret {
    /// One secret per line, the current one first. Any text of at least 32 characters will do.
    ///
    /// # Errors
    /// [`WeakMaster`] when there is none, or one is shorter.
    pub fn parse(text: &str) -> Result<Self, WeakMaster> {
        let lines: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| Zeroizing::new(line.as_bytes().to_vec()))
            .collect();
        let strong = !lines.is_empty() && lines.iter().all(|line| line.len() >= 32);
        if strong { Ok(Self(lines)) } else { Err(WeakMaster) }
    }

    /// A tenant's secrets: HKDF-SHA256 (RFC 5869) without salt, 32 bytes, info
    /// `switchhook/v1/<tenant>/<generation>`.
    pub fn derive(&self, tenant: &str, generation: i64) -> Vec<Secret> {
        let info = format!("switchhook/v1/{tenant}/{generation}");
        self.expand_all(&info)
            .filter_map(|bytes| Secret::from_bytes(Zeroizing::new(bytes.to_vec())).ok())
            .collect()
    }

    /// 32-byte keys for another purpose, the current one first.
    pub fn expand_all(&self, info: &str) -> impl Iterator<Item = Zeroizing<[u8; 32]>> {
        self.0.iter().map(move |input| {
            let mut bytes = Zeroizing::new([0; 32]);
            // 32 bytes are one block: HKDF cannot refuse that length.
            let _ = Hkdf::<Sha256>::new(None, input).expand(info.as_bytes(), &mut *bytes);
            bytes
        })
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(redacted)")
    }
}

/// 32 random bytes as text, for secrets made on first start.
pub fn random_secret() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill_random(&mut bytes[..]);
    Zeroizing::new(STANDARD.encode(*bytes))
}

/// Fills `bytes` from the system's generator.
///
/// # Panics
/// When the system has none: nothing could be kept secret then.
pub fn fill_random(bytes: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "without randomness no secret is one; stop at once")]
    aws_lc_rs::rand::fill(bytes).expect("the system's random number generator works");
}

/// LiveKit signs a webhook with this many seconds of validity (livekit/protocol,
/// `webhook/resource_url_notifier.go`).
const LIVEKIT_VALIDITY: i64 = 300;

#[derive(Serialize)]
struct LiveKitClaims<'a> {
    iss: &'a str,
    exp: i64,
    nbf: i64,
    iat: i64,
    sha256: String,
}

/// The `Authorization` value LiveKit would send with a body of this hash: a bare JWT.
pub fn livekit_token(key: &str, secret: &str, hash: &BodyHash, now: UnixMillis) -> String {
    let issued = now.seconds();
    let claims = LiveKitClaims {
        iss: key,
        exp: issued + LIVEKIT_VALIDITY,
        nbf: issued,
        iat: issued,
        sha256: STANDARD.encode(hash.0),
    };
    sign_jwt(&claims, secret.as_bytes())
}

/// `{"alg":"HS256","typ":"JWT"}` in base64url and a dot: how LiveKit's tokens begin.
pub const HS256_HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.";

/// An HS256 JWT of `claims` (RFC 7515 §7.1); of none if they are no JSON, which ours always are.
pub fn sign_jwt(claims: &impl Serialize, secret: &[u8]) -> String {
    let mut token = HS256_HEAD.to_owned();
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).unwrap_or_default(), &mut token);
    let key = EncodingKey::from_secret(secret);
    // HS256 takes keys of every length.
    let signature = jsonwebtoken::crypto::sign(token.as_bytes(), &key, Algorithm::HS256).unwrap_or_default();
    token.push('.');
    token.push_str(&signature);
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known vector of the Standard Webhooks libraries.
    #[test]
    fn the_known_vector_holds() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let body = br#"{"test": 2432232314}"#;
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let header = format!("v1a,xyz v1,AAAA {signature}");
        assert!(secret.verifies("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body, &header));
        assert!(!secret.verifies("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_331, body, &header));
    }

    #[test]
    fn secrets_outside_24_to_64_bytes_are_refused_unquoted() {
        assert_eq!(Secret::parse("hunter2"), Err(NoSecret::Prefix));
        assert_eq!(Secret::parse("whsec_@@"), Err(NoSecret::Base64));
        assert_eq!(Secret::parse("whsec_aHVudGVyMg=="), Err(NoSecret::Length(7)));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        assert_eq!(Secret::parse(&long), Err(NoSecret::Length(65)));
    }

    /// RFC 5869: extract with a zero salt, expand by one block; told apart by tenant and generation.
    #[test]
    fn derived_secrets_differ_by_tenant_generation_and_master() {
        let text = "0123456789abcdef0123456789abcdef\nfedcba9876543210fedcba9876543210\n";
        let master = MasterSecret::parse(text).expect("strong");
        let revealed = |tenant, generation| {
            master.derive(tenant, generation).iter().map(|s| s.reveal().to_string()).collect::<Vec<_>>()
        };
        let mut all = [revealed("acme", 1), revealed("acme", 2), revealed("globex", 1)].concat();
        assert_eq!(all.len(), 6);
        let mut by_hand = HmacSha256::new_from_slice(&[0; 32]).expect("any length");
        by_hand.update(b"0123456789abcdef0123456789abcdef");
        let prk = by_hand.finalize().into_bytes();
        let mut block = HmacSha256::new_from_slice(&prk).expect("any length");
        block.update(b"switchhook/v1/acme/1\x01");
        assert_eq!(all[0], format!("whsec_{}", STANDARD.encode(block.finalize().into_bytes())));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let master = MasterSecret::parse(&"m".repeat(32)).expect("strong");
        assert_eq!(format!("{secret:?} {master:?}"), "Secret(redacted) MasterSecret(redacted)");
        assert_eq!(MasterSecret::parse("short").unwrap_err(), WeakMaster);
    }
}
