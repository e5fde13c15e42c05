//! Where secrets come from: hook tables, keys, environments, private keys, tokens, the data directory, and answers
//! that show one.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use serde_json::Value;
use sha2::Sha256;

use super::index::Kind;
use super::register;

/// Larger tables are those of tests that count hooks: theirs have no secrets of their own.
pub const TABLE_BYTES: usize = 256 << 10;

/// Fields of LiveKit's bodies that hooks redact.
const REDACTED: [&str; 2] = ["turnPassword", "streamKey"];

/// Fields that hold secrets of a hook, wherever they are.
const OF_HOOKS: [&str; 4] = ["secret", "secrets", "headers", "url"];

/// Registers what a hook table holds; one that is no YAML is not in force either.
pub fn register_hooks(table: &str) {
    if table.len() <= TABLE_BYTES {
        register_spec(&serde_saphyr::from_str(table).unwrap_or_default());
    }
}

/// Registers what a hook holds, as the API or the hooks file spells it.
pub fn register_spec(spec: &Value) {
    match spec {
        Value::Object(fields) => {
            for (name, value) in fields {
                if OF_HOOKS.contains(&&**name) {
                    register_field(name, value);
                }
                register_spec(value);
            }
        }
        Value::Array(values) => values.iter().for_each(register_spec),
        _ => {}
    }
}

fn register_field(name: &str, value: &Value) {
    match (name, value) {
        ("url", Value::String(url)) => register_query(url),
        ("headers", Value::Object(headers)) => {
            let values = headers.values().filter_map(Value::as_str);
            values.for_each(|value| register(Kind::HeaderValue, value.as_bytes()));
        }
        (_, Value::String(secret)) => register_secret(secret),
        ("secrets", Value::Array(secrets)) => {
            secrets.iter().filter_map(Value::as_str).for_each(register_secret);
        }
        _ => {}
    }
}

/// Registers the values in a URL's query (its names are no secrets).
fn register_query(url: &str) {
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    for pair in query.split('&') {
        let value = pair.split_once('=').map_or(pair, |(_, value)| value);
        register(Kind::UrlQuery, value.as_bytes());
    }
}

/// Registers a secret of a hook: `whsec_…`, or that of a key of LiveKit's API. `${NAME}` is none.
fn register_secret(secret: &str) {
    match secret.strip_prefix("whsec_") {
        Some(encoded) => {
            register(Kind::SigningSecret, encoded.as_bytes());
            let bytes = STANDARD.decode(encoded);
            let _ = bytes.map(|bytes| register(Kind::SigningSecret, &bytes));
        }
        None if secret.starts_with("${") => {}
        None => register(Kind::LiveKitSecret, secret.as_bytes()),
    }
}

/// Registers the secrets of keys, one `key: secret` a line.
pub fn register_keys(keys: &str) {
    let secrets = keys.lines().filter_map(|line| line.split_once(": "));
    secrets.for_each(|(_, secret)| register_secret(secret.trim()));
}

/// Registers what variables of the environment hold.
pub fn register_settings(environment: &[(&str, &str)]) {
    for (name, value) in environment {
        // A value that is a path names a file.
        match *name {
            _ if value.starts_with('/') => {}
            "SWITCHHOOK_MASTER_SECRET" => register(Kind::MasterSecret, value.as_bytes()),
            "SWITCHHOOK_API_SECRET" => register(Kind::ApiSecret, value.as_bytes()),
            "LIVEKIT_KEYS" => register_keys(value),
            name if name.contains("SECRET") => register_secret(value),
            _ => {}
        }
    }
}

/// Registers a private key, PEM: its lines of base64. The last may be short, and an end of a key is none.
pub fn register_private_key(pem: &str) {
    let lines = pem.lines().filter(|line| !line.starts_with("-----") && line.len() > 40);
    lines.for_each(|line| register(Kind::PrivateKey, line.as_bytes()));
}

/// Registers a JWT: its signature, without which it lets nobody in.
pub fn register_token(claims: &Value, token: &str) {
    let kind = if claims["aud"] == "switchhook" { Kind::ApiToken } else { Kind::LiveKitToken };
    let signature = token.rsplit('.').next().unwrap_or_default();
    register(kind, signature.as_bytes());
}

/// Registers the fields of a body of LiveKit's that hooks redact.
pub fn register_body(body: &str) {
    for name in REDACTED {
        let field = format!("\"{name}\":\"");
        let values = body.split(&field).skip(1);
        let values = values.filter_map(|rest| rest.split('"').next());
        values.for_each(|value| register(Kind::BodyField, value.as_bytes()));
    }
}

/// Registers what a router has read or made at its start: the API secret, the master secret, and what derives from it
/// for these tenants (RFC 5869, without salt).
pub fn register_start(data: &Path, tenants: &[String]) {
    let secrets = |name: &str| std::fs::read_to_string(data.join(name)).unwrap_or_default();
    for secret in secrets("api.secret").lines() {
        register(Kind::ApiSecret, secret.trim().as_bytes());
    }
    for secret in secrets("master.secret").lines().map(str::trim) {
        register(Kind::MasterSecret, secret.as_bytes());
        for tenant in tenants {
            let (mut bytes, info) = ([0; 32], format!("switchhook/v1/{tenant}/1"));
            let expanded = Hkdf::<Sha256>::new(None, secret.as_bytes()).expand(info.as_bytes(), &mut bytes);
            expanded.expect("one block");
            register_secret(&format!("whsec_{}", STANDARD.encode(bytes)));
        }
    }
}

/// A text that shows signing secrets because it was asked for them: without them, and from here on they are searched
/// for.
pub fn shown(text: &str) -> String {
    let mut rest = text.split("whsec_");
    let mut without = rest.next().unwrap_or_default().to_owned();
    for part in rest {
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let end = part.find(|c| !is_base64(c)).unwrap_or(part.len());
        register_secret(&format!("whsec_{}", &part[..end]));
        without.push_str(&part[end..]);
    }
    without
}
