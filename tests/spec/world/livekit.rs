//! A LiveKit that signs, and its events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{KEY, SECRET, secrets};

/// The `Authorization` LiveKit would send with `body` at `now` (Unix seconds).
pub fn livekit_token(body: &str, now: i64) -> String {
    token_of(KEY, SECRET, body, now)
}

/// The same of a LiveKit with another key.
pub fn token_of(key: &str, secret: &str, body: &str, now: i64) -> String {
    let claims = json!({
        "iss": key, "nbf": now, "iat": now, "exp": now + 300,
        "sha256": STANDARD.encode(Sha256::digest(body)),
    });
    sign(&claims, secret)
}

/// An HS256 JWT.
pub fn sign(claims: &Value, secret: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).expect("a token");
    secrets::register_token(claims, &token);
    token
}

/// An event of an inbound caller who dialled `domain`, in the room `call`.
pub fn joined(id: &str, call: &str, domain: &str) -> String {
    json!({
        "event": "participant_joined",
        "room": { "sid": format!("RM_{call}"), "name": call },
        "participant": {
            "sid": format!("PA_{id}"), "identity": "sip_+15550199", "kind": "SIP",
            "attributes": { "sip.ruleID": "SDR_x", "sip.h.x-to-ip": domain },
        },
        "id": id,
        "createdAt": "1795240012",
    })
    .to_string()
}

/// An event of a room that names no tenant.
pub fn event(id: &str, name: &str, call: &str) -> String {
    json!({ "event": name, "room": { "sid": format!("RM_{call}"), "name": call }, "id": id }).to_string()
}
