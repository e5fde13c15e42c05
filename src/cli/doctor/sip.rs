//! What LiveKit says of its SIP trunks and dispatch rules, as far as it decides where calls go.
//!
//! Twirp servers answer in snake_case or camelCase, with every field or only those that are set, and with enum values
//! as names or numbers. What is not known here is ignored. Names: livekit/protocol, `livekit_sip.proto`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What LiveKit has; None: that list could not be had.
#[derive(Debug, Default)]
pub struct Sip {
    pub inbound: Option<Vec<InboundTrunk>>,
    pub outbound: Option<Vec<OutboundTrunk>>,
    pub rules: Option<Vec<DispatchRule>>,
}

/// What calls come in by.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct InboundTrunk {
    #[serde(alias = "sipTrunkId", rename = "sip_trunk_id", deserialize_with = "or_default")]
    pub id: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Numbers that are called; none: all that no other trunk has.
    #[serde(deserialize_with = "or_default")]
    pub numbers: Vec<String>,
    /// Where calls may come from; none: from everywhere.
    #[serde(alias = "allowedAddresses", deserialize_with = "or_default")]
    pub allowed_addresses: Vec<String>,
    /// Numbers that may call; none: all.
    #[serde(alias = "allowedNumbers", deserialize_with = "or_default")]
    pub allowed_numbers: Vec<String>,
    #[serde(alias = "authUsername", deserialize_with = "or_default")]
    pub auth_username: String,
    /// Which headers become `sip.h.*` attributes.
    #[serde(alias = "includeHeaders", deserialize_with = "or_default")]
    pub include_headers: Included,
    /// Which header becomes which attribute, besides.
    #[serde(alias = "headersToAttributes", deserialize_with = "or_default")]
    pub headers_to_attributes: BTreeMap<String, String>,
}

/// What calls go out by.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OutboundTrunk {
    #[serde(alias = "sipTrunkId", rename = "sip_trunk_id", deserialize_with = "or_default")]
    pub id: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Which headers of the carrier's answer become `sip.h.*` attributes.
    #[serde(alias = "includeHeaders", deserialize_with = "or_default")]
    pub include_headers: Included,
}

/// Which room a call comes into.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DispatchRule {
    #[serde(alias = "sipDispatchRuleId", rename = "sip_dispatch_rule_id", deserialize_with = "or_default")]
    pub id: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub rule: RoomRule,
    /// Trunks it is for; none: all, and calls that match no trunk.
    #[serde(alias = "trunkIds", deserialize_with = "or_default")]
    pub trunk_ids: Vec<String>,
    /// The attribute `sip.trunkPhoneNumber` is left out.
    #[serde(alias = "hidePhoneNumber", deserialize_with = "or_default")]
    pub hide_phone_number: bool,
    /// Called numbers it is for; none: all.
    #[serde(deserialize_with = "or_default")]
    pub numbers: Vec<String>,
    /// Attributes that every caller gets.
    #[serde(deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, String>,
}

/// How the room is named; one of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RoomRule {
    #[serde(alias = "dispatchRuleDirect", rename = "dispatch_rule_direct")]
    pub direct: Option<DirectRoom>,
    #[serde(alias = "dispatchRuleIndividual", rename = "dispatch_rule_individual")]
    pub individual: Option<CallerRoom>,
    #[serde(alias = "dispatchRuleCallee", rename = "dispatch_rule_callee")]
    pub callee: Option<CalleeRoom>,
}

/// One room for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DirectRoom {
    #[serde(alias = "roomName", deserialize_with = "or_default")]
    pub room_name: String,
    #[serde(deserialize_with = "or_default")]
    pub pin: String,
}

/// A room that is named after the caller.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CallerRoom {
    #[serde(alias = "roomPrefix", deserialize_with = "or_default")]
    pub room_prefix: String,
    #[serde(deserialize_with = "or_default")]
    pub pin: String,
    #[serde(alias = "noRandomness", deserialize_with = "or_default")]
    pub no_randomness: bool,
}

/// A room that is named after the number called.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CalleeRoom {
    #[serde(alias = "roomPrefix", deserialize_with = "or_default")]
    pub room_prefix: String,
    #[serde(deserialize_with = "or_default")]
    pub pin: String,
    #[serde(deserialize_with = "or_default")]
    pub randomize: bool,
}

/// Which headers become attributes (`SIPHeaderOptions`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Included {
    /// Only those that `headers_to_attributes` names.
    #[default]
    None,
    /// Those that begin with `X-`.
    X,
    /// All.
    All,
    /// A choice that this version does not know.
    Unknown,
}

impl<'de> Deserialize<'de> for Included {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        Ok(match value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str() {
            "SIP_NO_HEADERS" | "0" => Self::None,
            "SIP_X_HEADERS" | "1" => Self::X,
            "SIP_ALL_HEADERS" | "2" => Self::All,
            _ => Self::Unknown,
        })
    }
}

/// One of LiveKit's lists.
#[derive(Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// How many of its items could not be read.
    pub unreadable: usize,
}

/// Reads a list; None: the text is none.
pub fn read_list<T: DeserializeOwned>(text: &[u8]) -> Option<Listed<T>> {
    let mut answer: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let all = match answer.remove("items") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return None,
    };
    let total = all.len();
    // A list would be read as the fields in their order.
    let objects = all.into_iter().filter(Value::is_object);
    let items: Vec<T> = objects.filter_map(|item| serde_json::from_value(item).ok()).collect();
    let unreadable = total - items.len();
    Some(Listed { items, unreadable })
}

/// A value; what it is by default if it is null.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_is_read_in_every_spelling() {
        let spellings = [
            r#"{"items":[{"sip_trunk_id":"ST_1","include_headers":"SIP_X_HEADERS","allowed_addresses":["192.0.2.1"],
                "headers_to_attributes":{"To":"sip.h.to"},"created_at":null,"new_field":{"a":[1]}}]}"#,
            r#"{"items":[{"sipTrunkId":"ST_1","includeHeaders":1,"allowedAddresses":["192.0.2.1"],"numbers":null,
                "headersToAttributes":{"To":"sip.h.to"}}]}"#,
        ];
        for text in spellings {
            let Listed { items, unreadable } = read_list::<InboundTrunk>(text.as_bytes()).expect("a list");
            assert_eq!((items.len(), unreadable), (1, 0));
            assert_eq!((items[0].id.as_str(), items[0].include_headers), ("ST_1", Included::X));
            assert_eq!(items[0].allowed_addresses, ["192.0.2.1"]);
            assert_eq!(items[0].headers_to_attributes["To"], "sip.h.to");
        }
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_costs_no_other_item() {
        let text = r#"{"items":[null,[],{"numbers":7},{"sip_trunk_id":"ST_2","include_headers":"SIP_NEW"}]}"#;
        let Listed { items, unreadable } = read_list::<InboundTrunk>(text.as_bytes()).expect("a list");
        assert_eq!((items.len(), unreadable, items[0].include_headers), (1, 3, Included::Unknown));
        assert!(read_list::<InboundTrunk>(b"{}").expect("an empty list").items.is_empty());
        for text in ["", "<html>", "[]", "7", r#"{"items":7}"#] {
            assert!(read_list::<InboundTrunk>(text.as_bytes()).is_none(), "{text}");
        }
    }
}
