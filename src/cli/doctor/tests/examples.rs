//! The files of `examples/livekit`, read with LiveKit's own types and looked at by the doctor.

use std::collections::BTreeSet;

use livekit_protocol::{CreateSipDispatchRuleRequest, CreateSipInboundTrunkRequest};
use serde_json::{Value, json};

use super::{brief, findings, sip};
use crate::yaml;

/// A file of `examples/livekit`.
macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../../examples/livekit/", $name))
    };
}

/// The trunk of a request, as LiveKit would list it.
fn trunk_of(request: &str) -> Value {
    let request: CreateSipInboundTrunkRequest = serde_json::from_str(request).expect("LiveKit's own type");
    let mut trunk = request.trunk.expect("a trunk");
    assert!(trunk.sip_trunk_id.is_empty() && !trunk.name.is_empty());
    trunk.sip_trunk_id = "ST_1".to_owned();
    serde_json::to_value(trunk).expect("JSON")
}

#[test]
fn the_examples_are_livekits_own_types_and_the_recommended_ones_give_no_finding() {
    let request: CreateSipDispatchRuleRequest =
        serde_json::from_str(example!("dispatch-rule.individual.json")).expect("LiveKit's own type");
    let mut rule = request.dispatch_rule.expect("a rule");
    assert_eq!(rule.trunk_ids, ["ST_REPLACE_ME"]);
    rule.trunk_ids = vec!["ST_1".to_owned()];
    let rules = json!([serde_json::to_value(rule).expect("JSON")]);
    for (request, expected) in [
        (example!("inbound-trunk.x-headers.json"), ""),
        (example!("inbound-trunk.named.json"), ""),
        (example!("inbound-trunk.all.json"), "warning maps_every_header"),
    ] {
        let sip = sip(&json!([trunk_of(request)]), &rules);
        assert_eq!(brief(&findings(&sip, Vec::new(), true)), expected, "{request}");
    }
}

/// Each key of a YAML file with those above it, and what plain values it has.
fn keys(text: &str) -> BTreeSet<String> {
    fn walk(value: yaml::Value, above: &str, into: &mut BTreeSet<String>) {
        let yaml::Value::Map(entries) = value else { return };
        for (key, node) in entries {
            let key = format!("{above}{}", key.name);
            walk(node.value, &format!("{key}."), into);
            into.insert(key);
        }
    }
    let mut all = BTreeSet::new();
    walk(yaml::parse(text).expect("YAML").value, "", &mut all);
    all
}

/// Keys that LiveKit's server reads: livekit 1.13, `pkg/config/config.go`; protocol, `redis/redis.go`,
/// `webhook/notifier.go`, `logger/config.go`; mediatransportutil, `pkg/rtcconfig/config.go`.
const SERVER: &[&str] = &[
    "port",
    "rtc",
    "rtc.tcp_port",
    "rtc.udp_port",
    "rtc.use_external_ip",
    "redis",
    "redis.address",
    "webhook",
    "webhook.api_key",
    "webhook.urls",
    "room",
    "room.auto_create",
    "room.empty_timeout",
    "room.departure_timeout",
    "logging",
    "logging.json",
    "logging.level",
];

/// Keys that LiveKit's SIP service reads: sip 1.11, `pkg/config/config.go`.
const SERVICE: &[&str] = &[
    "ws_url",
    "redis",
    "redis.address",
    "sip_port",
    "rtp_port",
    "use_external_ip",
    "media_use_external_ip",
    "logging",
    "logging.json",
    "logging.level",
];

#[test]
fn the_yaml_examples_have_keys_that_livekit_reads() {
    for (text, known) in [(example!("livekit.yaml"), SERVER), (example!("sip.yaml"), SERVICE)] {
        assert_eq!(keys(text), known.iter().map(ToString::to_string).collect());
    }
}

#[test]
fn no_part_of_the_yaml_examples_is_without_a_reason() {
    for text in [example!("livekit.yaml"), example!("sip.yaml")] {
        for part in text.split("\n\n") {
            assert!(part.lines().any(|line| line.trim_start().starts_with('#')), "{part}");
        }
    }
}

#[test]
fn the_readme_names_each_file_and_each_key_of_the_requests() {
    let readme = example!("README.md");
    let files = [
        "livekit.yaml",
        "sip.yaml",
        "inbound-trunk.x-headers.json",
        "inbound-trunk.named.json",
        "inbound-trunk.all.json",
        "dispatch-rule.individual.json",
    ];
    let keys = [
        "name",
        "allowed_addresses",
        "include_headers",
        "headers_to_attributes",
        "trunk_ids",
        "rule",
        "dispatch_rule_individual",
        "room_prefix",
    ];
    for name in files.iter().chain(&keys) {
        assert!(readme.contains(&format!("`{name}`")) || readme.contains(&format!("({name})")), "{name}");
    }
}
