//! What a tenant receives: the body as its hook wants it, and the headers that vouch for it.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::delivery::Delivery;
use crate::hooks::Format;
use crate::ids::BodyHash;
use crate::redact;
use crate::signature::livekit_token;
use crate::time::UnixMillis;

/// The body: LiveKit's, unless the hook redacts or wraps it.
pub fn body(delivery: &Delivery, format: Format) -> Bytes {
    let settings = &delivery.hook.settings;
    let body = match &settings.redact[..] {
        [] => delivery.body.clone(),
        paths => redact::without(&delivery.body, paths).into(),
    };
    match format {
        Format::Raw => body,
        Format::CloudEvents => cloud_event(delivery, &body),
    }
}

/// The attributes of a CloudEvent (CloudEvents 1.0.2 §3.1).
#[derive(Serialize)]
struct CloudAttributes<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    datacontenttype: &'static str,
}

/// A CloudEvent in structured mode (CloudEvents JSON format 1.0.2 §3.1) with `data` byte for byte.
fn cloud_event(delivery: &Delivery, data: &[u8]) -> Bytes {
    let attributes = CloudAttributes {
        specversion: "1.0",
        id: delivery.event_id.as_str(),
        source: format!("/livekit/{}", delivery.issuer.as_deref().map(percent_encoded).unwrap_or_default()),
        kind: format!("io.livekit.{}", delivery.event),
        subject: delivery.call.as_deref(),
        time: delivery.received_at.to_string(),
        datacontenttype: "application/json",
    };
    // Plain strings always are JSON.
    let mut event = serde_json::to_vec(&attributes).unwrap_or_default();
    event.pop();
    event.extend_from_slice(b",\"data\":");
    event.extend_from_slice(data);
    event.push(b'}');
    event.into()
}

// Constants: parsing a header's name takes time.
static WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
static WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
static WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
static EVENT: HeaderName = HeaderName::from_static("switchhook-event");
static TENANT: HeaderName = HeaderName::from_static("switchhook-tenant");
static ROUTE: HeaderName = HeaderName::from_static("switchhook-route");
static ATTEMPT: HeaderName = HeaderName::from_static("switchhook-attempt");
static RECEIVED_AT: HeaderName = HeaderName::from_static("switchhook-received-at");
static DOMAIN: HeaderName = HeaderName::from_static("switchhook-domain");
static CALL: HeaderName = HeaderName::from_static("switchhook-call");
static SEQUENCE: HeaderName = HeaderName::from_static("switchhook-sequence");

/// The headers of one attempt to send `body`.
pub fn headers(delivery: &Delivery, format: Format, body: &[u8], number: u32, at: UnixMillis) -> HeaderMap {
    let (hook, settings) = (&delivery.hook, &delivery.hook.settings);
    let id = delivery.event_id.as_str();
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in &settings.headers {
        // Checked when the hook table was read.
        if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::from_str(&value.0)) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    let mut set = |name: &'static HeaderName, text: &str| {
        headers.insert(name, escaped(text));
    };
    set(&WEBHOOK_ID, id);
    set(&WEBHOOK_TIMESTAMP, &at.seconds().to_string());
    if settings.sign.standard {
        let valid = hook.secrets.iter().filter(|signing| signing.is_valid(at));
        let signatures: Vec<_> = valid.map(|signing| signing.secret.sign(id, at.seconds(), body)).collect();
        set(&WEBHOOK_SIGNATURE, &signatures.join(" "));
    }
    set(&EVENT, &delivery.event);
    set(&TENANT, hook.tenant.as_str());
    set(&ROUTE, delivery.rule.as_str());
    set(&ATTEMPT, &number.to_string());
    set(&RECEIVED_AT, &delivery.received_at.to_string());
    if let Some(domain) = &delivery.domain {
        set(&DOMAIN, domain.as_str());
    }
    if let Some(call) = &delivery.call {
        set(&CALL, call);
    }
    set(&SEQUENCE, &delivery.sequence.to_string());
    let kind = match format {
        Format::Raw => "application/webhook+json",
        Format::CloudEvents => "application/cloudevents+json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(pair) = &settings.sign.livekit {
        let token = livekit_token(&pair.key, &pair.secret.0, &BodyHash::of(body), at);
        // A JWT is base64url and dots.
        if let Ok(token) = HeaderValue::from_str(&token) {
            headers.insert(AUTHORIZATION, token);
        }
    }
    headers
}

/// A header value of text that may have come from a caller: everything but visible ASCII is
/// percent-encoded, and so is `%`. At most 1 kB of it: receivers refuse large headers.
fn escaped(text: &str) -> HeaderValue {
    let text = &text[..text.floor_char_boundary(1024)];
    let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'%';
    if text.bytes().all(plain)
        && let Ok(value) = HeaderValue::from_str(text)
    {
        return value;
    }
    // Nothing but visible ASCII is left.
    HeaderValue::from_str(&percent_encoded(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Everything but visible ASCII, and `%`, as `%XX` (RFC 3986 §2.1).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            0x21..=0x7e if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_callers_cannot_break_a_header() {
        let value = |text: &str| escaped(text).to_str().expect("ASCII").to_owned();
        assert_eq!(value("call-_+15557101_wKHT"), "call-_+15557101_wKHT");
        assert_eq!(value("a\r\nx: y"), "a%0D%0Ax:%20y");
        assert_eq!(value("Jörg 100%"), "J%C3%B6rg%20100%25");
    }
}
