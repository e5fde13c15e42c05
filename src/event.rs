//! One webhook LiveKit sent: what routing reads of it, borrowed from the body.
//!
//! Lenient by design: unknown fields, events and enum values pass, and a field of an unexpected
//! type counts as absent. A newer LiveKit must never make an event unreadable.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

/// The event names LiveKit defines (livekit/protocol, `webhook/consts.go`).
pub const NAMES: [&str; 14] = [
    "room_started",
    "room_finished",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "track_published",
    "track_unpublished",
    "egress_started",
    "egress_updated",
    "egress_ended",
    "ingress_started",
    "ingress_ended",
    "agent_job_started",
    "agent_job_ended",
];

/// The fields of a `WebhookEvent` that routing needs.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// `event`; LiveKit may add names at any time.
    pub name: Cow<'a, str>,
    /// `id`, unchecked.
    pub id: Option<Cow<'a, str>>,
    /// `createdAt`, Unix seconds.
    pub created_at: Option<i64>,
    /// The room's session (`RM_…`), wherever the event carries it.
    pub room_sid: Option<Cow<'a, str>>,
    /// The room's name, wherever the event carries it.
    pub room_name: Option<Cow<'a, str>>,
    /// The caller, if this is a participant event of an inbound SIP call.
    pub caller: Option<Caller<'a>>,
    /// The trunk of an outbound SIP participant. Its headers come from the carrier's answer and say
    /// nothing of the tenant.
    pub outbound_trunk: Option<Cow<'a, str>>,
    /// `participant.sid` (`PA_…`).
    pub participant: Option<Cow<'a, str>>,
    /// `participant.identity`, for people.
    pub identity: Option<Cow<'a, str>>,
}

/// An inbound SIP participant: kind `SIP` and a dispatch rule.
///
/// Only its attributes may route. Anybody else whose token may update metadata can set the same
/// attributes, and an outbound leg has them from the carrier's answer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Caller<'a> {
    /// `sip.h.x-to-ip`: what the edge wrote.
    pub x_to_ip: Option<Cow<'a, str>>,
    /// `sip.h.to`.
    pub to: Option<Cow<'a, str>>,
    /// `sip.trunkPhoneNumber`: the number dialled.
    pub number: Option<Cow<'a, str>>,
    /// `sip.trunkID`.
    pub trunk: Option<Cow<'a, str>>,
}

impl<'a> Caller<'a> {
    /// A caller with these attributes, in the order of the fields; none: no attribute is given. As in an event, an
    /// empty one is absent.
    pub fn of(given: [Option<&'a str>; 4]) -> Option<Self> {
        given.iter().any(Option::is_some).then(|| {
            let [x_to_ip, to, number, trunk] =
                given.map(|text| text.filter(|text| !text.is_empty()).map(Cow::Borrowed));
            Self { x_to_ip, to, number, trunk }
        })
    }
}

/// The body is no JSON object.
#[derive(Debug, thiserror::Error)]
#[error("the body is no JSON object: {0}")]
pub struct Unreadable(#[from] serde_json::Error);

impl<'a> Event<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Unreadable`] when it is no JSON object.
    pub fn parse(body: &'a [u8]) -> Result<Self, Unreadable> {
        let wire: Wire<'a> = serde_json::from_slice(body)?;
        // Derived readers take an array for an object, too.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Unreadable(serde::de::Error::custom("it is an array")));
        }
        let room = wire.room.0;
        let egress = wire.egress.0;
        let ingress = wire.ingress.0;
        let job = wire.job.0.room.0;
        let participant = wire.participant.0;
        let is_sip = participant.kind.0.as_deref() == Some("SIP");
        let attributes = participant.attributes.0;
        let is_inbound = is_sip && attributes.rule.0.is_some();
        let (caller, outbound_trunk) = match (is_sip, is_inbound) {
            (_, true) => (Some(attributes.caller()), None),
            (true, false) => (None, attributes.trunk.0),
            (false, _) => (None, None),
        };
        Ok(Self {
            name: wire.event.0.unwrap_or_default(),
            id: wire.id.0,
            created_at: wire.created_at.0.and_then(|seconds| seconds.parse().ok()),
            room_sid: (room.sid.0)
                .or(egress.room_id.0)
                .or(ingress.state.0.room_id.0)
                .or(job.sid.0)
                .map(bounded),
            room_name: room.name.0.or(egress.room_name.0).or(ingress.room_name.0).or(job.name.0).map(bounded),
            caller,
            outbound_trunk,
            participant: participant.sid.0.map(bounded),
            identity: participant.identity.0.map(bounded),
        })
    }

    /// The same, independent of the body it was read from.
    pub fn into_owned(self) -> Event<'static> {
        let known = NAMES.into_iter().find(|known| **known == *self.name);
        Event {
            name: known.map_or_else(|| Cow::Owned(self.name.into_owned()), Cow::Borrowed),
            id: self.id.map(owned),
            created_at: self.created_at,
            room_sid: self.room_sid.map(owned),
            room_name: self.room_name.map(owned),
            caller: self.caller.map(|caller| Caller {
                x_to_ip: caller.x_to_ip.map(owned),
                to: caller.to.map(owned),
                number: caller.number.map(owned),
                trunk: caller.trunk.map(owned),
            }),
            outbound_trunk: self.outbound_trunk.map(owned),
            participant: self.participant.map(owned),
            identity: self.identity.map(owned),
        }
    }

    /// What the events of one call have in common: the room's sid, else its name.
    pub fn call(&self) -> Option<&str> {
        self.room_sid.as_deref().or(self.room_name.as_deref())
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// Bounds names that are kept in memory; LiveKit's own are far shorter. A longer name is replaced by its
/// SHA-256.
fn bounded(name: Cow<'_, str>) -> Cow<'_, str> {
    const BYTES: usize = 256;
    if name.len() <= BYTES {
        return name;
    }
    let hash = Sha256::digest(name.as_bytes());
    Cow::Owned(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Wire<'a> {
    #[serde(default)]
    event: Text<'a>,
    #[serde(default)]
    id: Text<'a>,
    #[serde(default, rename = "createdAt")]
    created_at: Text<'a>,
    #[serde(default)]
    room: Object<RoomInfo<'a>>,
    #[serde(default)]
    participant: Object<Participant<'a>>,
    #[serde(default, rename = "egressInfo")]
    egress: Object<Egress<'a>>,
    #[serde(default, rename = "ingressInfo")]
    ingress: Object<IngressInfo<'a>>,
    #[serde(default)]
    job: Object<Job<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct RoomInfo<'a> {
    sid: Text<'a>,
    name: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Participant<'a> {
    sid: Text<'a>,
    identity: Text<'a>,
    kind: Text<'a>,
    attributes: Object<Attributes<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Egress<'a> {
    room_id: Text<'a>,
    room_name: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct IngressInfo<'a> {
    room_name: Text<'a>,
    state: Object<IngressState<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct IngressState<'a> {
    room_id: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Job<'a> {
    room: Object<RoomInfo<'a>>,
}

/// Names: livekit/protocol, `livekit/attrs.go`; `sip.h.` + lower-case header name: livekit/sip.
#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Attributes<'a> {
    #[serde(rename = "sip.ruleID")]
    rule: Text<'a>,
    #[serde(rename = "sip.h.x-to-ip")]
    x_to_ip: Text<'a>,
    #[serde(rename = "sip.h.to")]
    to: Text<'a>,
    #[serde(rename = "sip.trunkPhoneNumber")]
    number: Text<'a>,
    #[serde(rename = "sip.trunkID")]
    trunk: Text<'a>,
}

impl<'a> Attributes<'a> {
    fn caller(self) -> Caller<'a> {
        Caller { x_to_ip: self.x_to_ip.0, to: self.to.0, number: self.number.0, trunk: self.trunk.0 }
    }
}

/// A string or number as text; anything else, and the empty string (protobuf's default), is absent.
#[derive(Default)]
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient(PhantomData::<fn() -> Text<'a>>))
    }
}

/// An object read as `T`; anything else is `T`'s default.
#[derive(Default)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient(PhantomData::<fn() -> Object<T>>))
    }
}

/// What a lenient value makes of each JSON type; whatever it does not name is absent.
trait Reads<'de>: Default {
    fn text(_: Cow<'de, str>) -> Self {
        Self::default()
    }
    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl<'de: 'a, 'a> Reads<'de> for Text<'a> {
    fn text(text: Cow<'de, str>) -> Self {
        Self((!text.is_empty()).then_some(text))
    }
}

impl<'de, T: Deserialize<'de> + Default> Reads<'de> for Object<T> {
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

struct Lenient<T>(PhantomData<fn() -> T>);

impl<'de, T: Reads<'de>> Visitor<'de> for Lenient<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(T::text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(Cow::Owned(text.to_owned())))
    }
    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::text(Cow::Owned(number.to_string())))
    }
    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::text(Cow::Owned(number.to_string())))
    }
    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::map(map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_unexpected_types_count_as_absent() {
        let body = br#"{"event":7,"room":["x"],"participant":"p","egressInfo":null,
            "ingressInfo":{"state":3,"roomName":"r"},"job":{"room":true},"id":{"a":[1]},"createdAt":12.5}"#;
        let event = Event::parse(body).expect("an object");
        assert_eq!(event.name, "7");
        assert_eq!((event.id, event.created_at, event.room_sid), (None, None, None));
        assert_eq!(event.room_name.as_deref(), Some("r"));
    }

    #[test]
    fn an_event_of_a_newer_livekit_passes() {
        let body = include_bytes!("../tests/data/livekit/made/future_unknown_event_field_enum.json");
        let event = Event::parse(body).expect("readable");
        assert_eq!(event.name, "participant_quality_changed");
        assert_eq!(event.call(), Some("RM_hQz3mKp7XwLd"));
        // A hologram's attributes route nothing.
        assert!(event.caller.is_none());
    }

    #[test]
    fn names_are_kept_up_to_a_length_and_hashed_beyond() {
        let (short, long) = ("x".repeat(256), "x".repeat(300_000));
        let body =
            format!(r#"{{"room":{{"sid":"{short}","name":"{long}"}},"participant":{{"sid":"{long}y"}}}}"#);
        let event = Event::parse(body.as_bytes()).expect("readable");
        assert_eq!(event.room_sid.as_deref(), Some(&*short));
        let hashed = [&event.room_name, &event.participant].map(|name| name.as_deref().map_or(0, str::len));
        assert_eq!(hashed, [64, 64]);
        assert_ne!(event.room_name, event.participant);
    }

    #[test]
    fn a_job_names_its_room() {
        let body = include_bytes!("../tests/data/livekit/made/agent_job_started.json");
        assert_eq!(Event::parse(body).expect("readable").call(), Some("RM_hQz3mKp7XwLd"));
    }

    #[test]
    fn what_is_no_object_is_unreadable() {
        for body in ["", "null", "[]", "\"x\"", "{\"event\":", "{} trailing", "\u{feff}{}"] {
            assert!(Event::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Event::parse(b"{\"event\":\"\xff\"}").is_err());
        // Deeper than the parser's stack allows: refused, not a crash.
        assert!(Event::parse("{\"a\":".repeat(100_000).as_bytes()).is_err());
    }
}
