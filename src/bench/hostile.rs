//! What reads the text of others, for the fuzz targets and the property tests: each function takes any bytes and says
//! which of its promises they break. A panic breaks all of them.

use std::sync::Mutex;

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Edits, livekit_token};
use crate::access::Tokens;
use crate::api::read_body;
use crate::domain::Domain;
use crate::event::Event;
use crate::hooks::{Around, HostPattern, parse_file};
use crate::ids::{BodyHash, EventId};
use crate::ingress::{ApiKeys, DoorKeys, KeyRing, check_token};
use crate::network::Network;
use crate::redact;
use crate::time::UnixMillis;
use crate::wire::{
    AuditQuery, CallQuery, DeliveryQuery, ExplainRequest, HookEdit, HookQuery, LiveQuery, NowQuery,
    ReplayRequest, ResendQuery, TenantStateQuery, TestRequest, UnroutedQuery, UsageQuery,
};
use crate::yaml::TextFault;

/// A function that reads others' bytes, and the promise they broke.
pub type Target = fn(&[u8]) -> Result<(), String>;

/// The targets, each with the name of its corpus.
pub const TARGETS: [(&str, Target); 5] =
    [("event", event), ("token", token), ("domain", domain), ("hooks_file", hooks_file), ("api", api)];

/// When all of it happens.
const NOW: UnixMillis = UnixMillis(1_795_240_012_000);

/// The key and the secret of the tests' LiveKit, and the secret of the API.
pub const KEY: &str = "APIhostile";
const SECRET: &str = "a-secret-that-no-fuzzer-finds-0001";
const API_SECRET: &str = "a-secret-of-the-api-that-no-fuzzer-finds";

/// Names that are kept of an event have at most this many bytes.
const NAME_BYTES: usize = 256;

/// A promise, or why it is broken.
fn promise(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Reads an event as LiveKit's: what is kept of it is bounded, its id is a header's value, and fields can be cut out of
/// it, however deep it is.
///
/// # Errors
/// The promise that was broken.
pub fn event(body: &[u8]) -> Result<(), String> {
    let Ok(event) = Event::parse(body) else { return Ok(()) };
    let id = EventId::new(event.id.as_deref(), &BodyHash::of(body));
    promise(
        HeaderValue::from_str(id.as_str()).is_ok() && id.as_str().len() <= 128,
        "an id is no header's value",
    )?;
    let names = [&event.room_sid, &event.room_name, &event.participant, &event.identity];
    let bounded = names.into_iter().flatten().all(|name| name.len() <= NAME_BYTES);
    promise(bounded, "a name that is kept is too long")?;
    let paths = ["room.turnPassword", "participant.attributes", "a"].map(str::to_owned);
    let left = redact::without(body, &paths);
    promise(left.len() <= body.len(), "a redacted body is longer")?;
    promise(Event::parse(&left).is_ok(), "a redacted body is no event any more")?;
    promise(
        redact::without(&left, &paths) == left,
        "a redacted body still has a field that is to be cut out",
    )?;
    let owned = event.into_owned();
    promise(owned.name.len() <= body.len(), "a name is longer than its body")
}

/// Checks a token as LiveKit's and as one of the API's: nothing that our secrets did not sign is accepted, and what is
/// said of it is short.
///
/// # Errors
/// The promise that was broken.
pub fn token(bytes: &[u8]) -> Result<(), String> {
    let api = Tokens::new(API_SECRET);
    promise(std::str::from_utf8(bytes).is_err() || !is_taken(&api, bytes), "the API accepts it")?;
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return Ok(()) };
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let mut keys = ApiKeys::default();
    keys.insert(KEY, SECRET);
    let ring = KeyRing::new(&keys);
    match check_token(&headers, &DoorKeys::Platform(&ring), NOW) {
        // Only the corpus has one that is rightly signed.
        Ok(_) => promise(bytes.ends_with(signed().as_bytes()), "LiveKit's door accepts it"),
        Err(refused) => promise(refused.detail.len() <= 256, "the refusal is long"),
    }
}

fn is_taken(tokens: &Tokens, bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|token| tokens.verify(token, NOW).is_ok())
}

/// The token of an empty body, which the corpus begins with.
pub fn signed() -> String {
    livekit_token(KEY, SECRET, b"", NOW)
}

/// Reads a domain: what is read is read again as itself.
///
/// # Errors
/// The promise that was broken.
pub fn domain(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    if let Ok(domain) = Domain::from_sip(text) {
        promise(domain.as_str().len() <= 253, "a domain is too long")?;
        promise(Domain::from_host(domain.as_str()).as_ref() == Ok(&domain), "a domain is not canonical")?;
        let again = Domain::from_sip(&format!("sip:u@{domain}"));
        promise(again.as_ref() == Ok(&domain), "a domain in an address is another one")?;
    }
    if let Ok(pattern) = HostPattern::parse(text) {
        let again = HostPattern::parse(&pattern.to_string());
        promise(again.as_ref() == Ok(&pattern), "a host pattern is not canonical")?;
    }
    Ok(())
}

/// Reads a hooks file, and a keys file: what is refused has faults, each with its place in the text.
///
/// # Errors
/// The promise that was broken.
pub fn hooks_file(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    let around = Around::new(Network::default(), |_| Err("there are no secrets".into()));
    match parse_file(text, &around) {
        Ok((entries, _)) => promise(entries.len() <= text.len(), "a file has more hooks than characters")?,
        Err(faults) => have_places(&faults, text)?,
    }
    match ApiKeys::parse(text) {
        Ok(keys) => promise(keys.names().len() <= text.len(), "a file has more keys than characters"),
        Err(faults) => have_places(&faults, text),
    }
}

fn have_places(faults: &[TextFault], text: &str) -> Result<(), String> {
    promise(!faults.is_empty(), "it is refused without a fault")?;
    let lines = u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_add(1);
    let in_text = |fault: &TextFault| (1..=lines).contains(&fault.place.line) && fault.place.column >= 1;
    promise(faults.iter().all(in_text), "a fault is outside of the text")?;
    let said: usize = faults.iter().map(|fault| fault.to_string().len()).sum();
    promise(said <= 4096 + 1024 * text.len(), "the faults are much longer than the text")
}

/// Reads the first line as the query of every list, and as a hook's host; the rest as the body of every request that
/// has one, and as a hook that is registered.
///
/// # Errors
/// The promise that was broken.
pub fn api(bytes: &[u8]) -> Result<(), String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let line = String::from_utf8_lossy(line);
    if let Ok(uri) = format!("/?{line}").parse::<Uri>() {
        queries(&uri)?;
    }
    is_bounded(read_body::<ReplayRequest>(body).ok(), body)?;
    is_bounded(read_body::<ExplainRequest>(body).ok(), body)?;
    is_bounded(read_body::<TestRequest>(body).ok(), body)?;
    let spec = read_body::<Value>(body).ok();
    is_bounded(spec.clone(), body)?;
    match (HostPattern::parse(&line), spec) {
        (Ok(host), Some(spec)) => put(host, spec),
        _ => Ok(()),
    }
}

fn queries(uri: &Uri) -> Result<(), String> {
    fn read<T: DeserializeOwned + Serialize>(uri: &Uri) -> Result<(), String> {
        let query = Query::<T>::try_from_uri(uri).ok().map(|Query(query)| query);
        is_bounded(query, uri.query().unwrap_or_default().as_bytes())
    }
    read::<AuditQuery>(uri)?;
    read::<CallQuery>(uri)?;
    read::<DeliveryQuery>(uri)?;
    read::<HookEdit>(uri)?;
    read::<HookQuery>(uri)?;
    read::<LiveQuery>(uri)?;
    read::<NowQuery>(uri)?;
    read::<ResendQuery>(uri)?;
    read::<TenantStateQuery>(uri)?;
    read::<UnroutedQuery>(uri)?;
    read::<UsageQuery>(uri)
}

/// What was read holds not much more than it was read from.
fn is_bounded<T: Serialize>(read: Option<T>, from: &[u8]) -> Result<(), String> {
    let Some(read) = read else { return Ok(()) };
    let bytes = serde_json::to_vec(&read).map_err(|error| error.to_string())?.len();
    promise(bytes <= 4096 + 8 * from.len(), "what was read is much longer than what it was read from")
}

/// Registers a hook as the API does, but for storing it.
fn put(host: HostPattern, spec: Value) -> Result<(), String> {
    static EDITS: Mutex<Option<Edits>> = Mutex::new(None);
    // Poisoned by the panic of another input: the test of that input fails by it, this one goes on.
    let Ok(mut edits) = EDITS.lock() else { return Ok(()) };
    let edits = edits.get_or_insert_with(|| Edits::new("hooks: []\n", NOW));
    edits.try_put(host, spec, NOW).map(drop).or(Ok(()))
}
