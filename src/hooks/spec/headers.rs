//! The fixed headers that a hook adds to its deliveries.

use reqwest::header::{HeaderName, HeaderValue};

use super::fields::Fields;
use super::reader::SpecReader;
use crate::hooks::settings::Masked;
use crate::yaml::{Node, TextFault, TextPosition, Value};

/// Headers of one hook, at most.
const HEADERS: usize = 32;

/// Their names and values, in all, at most: receivers refuse longer heads.
const BYTES: usize = 8 << 10;

impl SpecReader<'_> {
    pub fn headers(&mut self, fields: &mut Fields, base: &[(String, Masked)]) -> Vec<(String, Masked)> {
        let mut headers = base.to_vec();
        let Some(node) = fields.take("headers") else { return headers };
        let Value::Map(entries) = node.value else {
            self.fault(node.place, "headers", format!("a map belongs here, not {}", node.value.kind()));
            return headers;
        };
        if !self.is_within(node.place, "headers", entries.len(), HEADERS) {
            return headers;
        }
        let mut seen = Vec::new();
        for (key, node) in entries {
            let Some(name) = self.header_name(&key.name, key.place) else { continue };
            if seen.contains(&name) {
                self.fault(key.place, "headers", format!("{name} stands here twice"));
                continue;
            }
            seen.push(name.clone());
            if let Some(value) = self.header_value(&node) {
                headers.retain(|(other, _)| *other != name);
                headers.push((name, value));
            }
        }
        // With those of `defaults:`, since all of them are sent with every delivery.
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.0.len()).sum();
        if self.is_within(node.place, "headers", headers.len(), HEADERS) && bytes > BYTES {
            let message = format!("names and values are {bytes} bytes in all; {BYTES} are permitted");
            self.faults
                .push(TextFault::new(node.place, "headers", message).fix("shorter values, or fewer of them"));
        }
        headers
    }

    fn header_name(&mut self, name: &str, place: TextPosition) -> Option<String> {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            self.fault(place, "headers", format!("{name:?} is no header name"));
            return None;
        };
        let ours =
            ["webhook-", "switchhook-", "proxy-"].iter().any(|prefix| name.as_str().starts_with(prefix));
        if ours || TAKEN.contains(&name.as_str()) {
            self.fault(place, "headers", format!("{name} is not for hooks to set"));
            return None;
        }
        Some(name.as_str().to_owned())
    }

    fn header_value(&mut self, node: &Node) -> Option<Masked> {
        let value = self.secret_text(node, "headers")?;
        if HeaderValue::from_str(&value).is_err() || !value.is_ascii() {
            self.fault(node.place, "headers", "its value is no visible ASCII text");
            return None;
        }
        Some(Masked(value))
    }
}

/// Headers that belong to us, to the connection (RFC 9110 §7.6.1) or to the body.
const TAKEN: [&str; 14] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "te",
    "trailer",
    "connection",
    "keep-alive",
    "upgrade",
    "expect",
    "date",
    "user-agent",
    "accept-encoding",
];
