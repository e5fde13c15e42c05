//! Server-sent events as text (WHATWG HTML §9.2.5).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use crate::api::state::Api;
use crate::delivery::Delivery;
use crate::dispatch::first_request;
use crate::telemetry::{Told, Wanted};
use crate::time::UnixMillis;
use crate::wire::{LiveEnd, LiveLoss, LiveRequest};

/// What a stream begins with. Clients come back 3 s after it has ended.
pub fn greeting() -> Bytes {
    Bytes::from_static(b": what happens from now on; nothing is repeated\nretry: 3000\n\n")
}

/// Says that the connection is alive.
pub fn beat() -> Bytes {
    Bytes::from_static(b": nothing new\n\n")
}

/// The last of a stream.
pub fn end(reason: &str) -> Bytes {
    event("end", &LiveEnd { reason: reason.to_owned() })
}

/// What happened, as the reader's scope sees it.
pub fn of(api: &Api, wanted: &Wanted, told: Told) -> Bytes {
    let (happening, delivery) = match told {
        Told::Happened(happening, delivery) => (happening, delivery),
        Told::Lost(count) => return event("lost", &LiveLoss { count }),
    };
    let view = api.views.of(&wanted.scope);
    let mut told = happening.within(&wanted.scope, |domain| view.nearest(domain));
    told.request = delivery.map(|delivery| request(&delivery, api.clock.unix()));
    event(told.what.as_str(), &told)
}

/// What the delivery's tenant gets. It is signed now: who receives it checks how old the signature is.
fn request(delivery: &Delivery, at: UnixMillis) -> LiveRequest {
    let (headers, body) = first_request(delivery, at);
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let shown = headers.iter().filter(|(_, value)| !value.is_sensitive());
    let headers: BTreeMap<_, _> = shown.map(|(name, value)| (name.to_string(), text(value))).collect();
    match std::str::from_utf8(&body) {
        Ok(body) => LiveRequest { headers, body: body.to_owned(), is_base64: false },
        Err(_) => LiveRequest { headers, body: STANDARD.encode(&body), is_base64: true },
    }
}

/// One event. JSON has no line ends outside of strings, and escapes them within.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}
