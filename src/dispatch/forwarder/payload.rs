//! What a tenant receives: the body as its hook wants it, and the headers that vouch for it.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::delivery::Delivery;
use crate::hooks::Format;
use crate::ids::BodyHash;
use crate::redact;
use crate::signature::livekit_token;
use crate::time::UnixMillis;
use crate::visible::{is_hostile, percent_encoded, uri_segment};

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
    subject: Option<Cow<'a, str>>,
    time: String,
    datacontenttype: &'static str,
}

/// A CloudEvent in structured mode (CloudEvents JSON format 1.0.2 §3.1) with `data` byte for byte.
fn cloud_event(delivery: &Delivery, data: &[u8]) -> Bytes {
    let attributes = CloudAttributes {
        specversion: "1.0",
        id: delivery.event_id.as_str(),
        source: format!("/livekit/{}", delivery.issuer.as_deref().map(uri_segment).unwrap_or_default()),
        kind: format!("io.livekit.{}", attribute(&delivery.event)),
        subject: delivery.call.as_deref().map(attribute),
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

/// The text of a CloudEvent's attribute, which may hold no control characters (CloudEvents 1.0.2 §2.1): a text that
/// has one is percent-encoded.
fn attribute(text: &str) -> Cow<'_, str> {
    if text.contains(is_hostile) {
        return Cow::Owned(percent_encoded(text, is_visible));
    }
    Cow::Borrowed(text)
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
    if settings.sign.standard {
        let valid = hook.secrets.iter().filter(|signing| signing.is_valid(at));
        let signatures: Vec<_> = valid.map(|signing| signing.secret.sign(id, at.seconds(), body)).collect();
        set(&WEBHOOK_SIGNATURE, &signatures.join(" "));
    }
    set(&EVENT, &delivery.event);
    set(&TENANT, hook.tenant.as_str());
    set(&ROUTE, delivery.rule.as_str());
    set(&RECEIVED_AT, &delivery.received_at.to_string());
    if let Some(domain) = &delivery.domain {
        set(&DOMAIN, domain.as_str());
    }
    if let Some(call) = &delivery.call {
        set(&CALL, call);
    }
    headers.insert(&WEBHOOK_TIMESTAMP, at.seconds().into());
    headers.insert(&ATTEMPT, number.into());
    headers.insert(&SEQUENCE, delivery.sequence.into());
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

/// A header value of text that may have come from a caller: if it holds anything but visible ASCII and spaces
/// within, or a `%`, all but visible ASCII is percent-encoded. At most 1 kB of it: receivers refuse large headers.
fn escaped(text: &str) -> HeaderValue {
    let text = &text[..text.floor_char_boundary(1024)];
    // Spaces around a value are no part of it (RFC 9110 §5.5).
    let is_whole = text.trim_ascii().len() == text.len();
    let is_plain = is_whole && text.bytes().all(|byte| byte == b' ' || is_visible(byte));
    let value = if is_plain { text } else { &*percent_encoded(text, is_visible) };
    // Visible ASCII always is a header's value.
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_from_callers_cannot_break_a_header() {
        let value = |text: &str| escaped(text).to_str().expect("ASCII").to_owned();
        assert_eq!(value("call-_+15557101_wKHT"), "call-_+15557101_wKHT");
        assert_eq!(value("a b"), "a b");
        assert_eq!(value("a\r\nx: y"), "a%0D%0Ax:%20y");
        assert_eq!(value("Jörg 100%"), "J%C3%B6rg%20100%25");
        assert_eq!(value(" a"), "%20a");
    }

    /// What a receiver makes of a value.
    fn decoded(value: &str) -> Vec<u8> {
        let mut parts = value.split('%');
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).expect("hexadecimal"));
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn any_text_makes_a_header_that_gives_it_back(text in "[ -~]{0,8}|[\\x00-\\x20%é\u{202e}]{0,8}|.{0,400}") {
            let value = escaped(&text);
            let value = value.to_str().expect("visible ASCII and spaces");
            prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
            prop_assert_eq!(decoded(value.trim()), &text.as_bytes()[..text.floor_char_boundary(1024)]);
        }

        #[test]
        fn attributes_and_sources_of_cloud_events_hold_no_control_characters(text: String) {
            prop_assert!(!attribute(&text).contains(is_hostile));
            prop_assert_eq!(decoded(&uri_segment(&text)), text.as_bytes());
        }
    }
}
