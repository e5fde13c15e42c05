//! Trunks, rules and hooks against each other, case by case.

mod examples;

use serde_json::{Value, json};

use super::finding::Finding;
use super::hooks::{FoundBy, HookIndex};
use super::sip::{Sip, read_list};
use super::{rules, trunks};

fn sip(inbound: &Value, rules: &Value) -> Sip {
    let text = |items: &Value| json!({ "items": items }).to_string();
    let inbound = read_list(text(inbound).as_bytes()).expect("trunks");
    let rules = read_list(text(rules).as_bytes()).expect("rules");
    assert_eq!(inbound.unreadable + rules.unreadable, 0);
    Sip { inbound: Some(inbound.items), outbound: Some(Vec::new()), rules: Some(rules.items) }
}

/// A hook of acme's.
fn acme(numbers: &[&str], trunks: &[&str]) -> FoundBy {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let (host, tenant) = ("a.example".to_owned(), "acme".to_owned());
    FoundBy { host, tenant, numbers: texts(numbers), trunks: texts(trunks) }
}

fn findings(sip: &Sip, hooks: Vec<FoundBy>, to_fallback: bool) -> Vec<Finding> {
    let hooks = HookIndex::new(hooks);
    let all = [trunks::inbound(sip, &hooks, to_fallback), rules::findings(sip, &hooks), hooks.findings(sip)];
    all.concat()
}

/// Severity and name of each finding.
fn brief(found: &[Finding]) -> String {
    let brief: Vec<_> =
        found.iter().map(|found| format!("{} {}", found.severity.as_str(), found.check)).collect();
    brief.join(", ")
}

/// A rule that gives each call a room of its own.
fn individual() -> Value {
    individual_for(&["ST_1"])
}

/// The same for these trunks.
fn individual_for(trunks: &[&str]) -> Value {
    json!([{ "sip_dispatch_rule_id": "SDR_1", "trunk_ids": trunks,
        "rule": { "dispatch_rule_individual": { "room_prefix": "call" } } }])
}

/// An object with these fields, too.
fn merged(object: &Value, fields: &Value) -> Value {
    let mut merged = object.as_object().expect("an object").clone();
    merged.extend(fields.as_object().expect("fields").clone());
    Value::Object(merged)
}

/// A trunk that takes calls from one address, with these fields.
fn trunk(fields: &Value) -> Value {
    merged(&json!({ "sip_trunk_id": "ST_1", "allowed_addresses": ["192.0.2.10"] }), fields)
}

#[test]
fn a_trunk_has_to_let_the_domain_through_and_little_else() {
    let named = |header: &str, attribute: &str| json!({ "headers_to_attributes": { header: attribute } });
    let table = [
        (json!({ "include_headers": "SIP_X_HEADERS" }), ""),
        (named("X-To-IP", "sip.h.x-to-ip"), ""),
        (named("x-to-ip", "sip.h.x-to-ip"), ""),
        // The edge replaces X-To-IP alone: other headers are the caller's.
        (named("X-Customer", "sip.h.x-to-ip"), "problem maps_a_header_of_callers"),
        (named("To", "sip.h.x-to-ip"), "problem maps_a_header_of_callers"),
        (named("From", "sip.h.to"), "problem maps_a_header_of_callers, problem maps_no_domain"),
        (
            json!({ "include_headers": 1, "headers_to_attributes": { "X-Foo": "sip.trunkID" } }),
            "problem maps_a_header_of_callers",
        ),
        (
            json!({ "include_headers": 1, "headers_to_attributes": { "X-Foo": "sip.h.x-foo", "to": "sip.h.to" } }),
            "",
        ),
        (json!({}), "problem maps_no_domain"),
        (named("X_To_IP", "sip.h.x_to_ip"), "problem maps_no_domain"),
        (named("X-To-IP", "sip.h.X-To-IP"), "problem maps_no_domain"),
        (named("To", "sip.h.to"), "note maps_only_to"),
        (json!({ "include_headers": "SIP_ALL_HEADERS" }), "warning maps_every_header"),
        (json!({ "include_headers": 2, "auth_username": "carrier" }), "problem maps_every_header"),
        (json!({ "include_headers": "SIP_SOME_HEADERS" }), "note unknown_choice"),
    ];
    for (fields, expected) in table {
        let sip = sip(&json!([trunk(&fields)]), &individual());
        assert_eq!(brief(&findings(&sip, Vec::new(), true)), expected, "{fields}");
    }
    let misspelt = sip(&json!([trunk(&named("X_To_IP", "sip.h.x_to_ip"))]), &individual());
    let what = &findings(&misspelt, Vec::new(), true)[0].what;
    assert_eq!(
        what,
        "maps the header X_To_IP to the attribute sip.h.x_to_ip: routing reads X-To-IP as sip.h.x-to-ip"
    );
}

#[test]
fn headers_of_callers_are_removed_from_the_mapping_and_no_other() {
    let mapping = json!({ "X-To-IP": "sip.h.x-to-ip", "X-Foo": "sip.h.x-to-ip", "From": "sip.ruleID", "To": "sip.h.to" });
    let command_for = |mapping: &Value| {
        let sip = sip(&json!([trunk(&json!({ "headers_to_attributes": mapping }))]), &individual());
        let found = findings(&sip, Vec::new(), true);
        assert_eq!(brief(&found), "problem maps_a_header_of_callers");
        (found[0].what.clone(), found[0].command.clone())
    };
    let (what, command) = command_for(&mapping);
    assert_eq!(what, "makes sip.ruleID of the header From, sip.h.x-to-ip of the header X-Foo");
    let command = command.expect("a command");
    assert!(command.contains(r#"| del(.headersToAttributes["From", "X-Foo"])' |"#), "{command}");
    // Without it there would be no domain.
    let command = command_for(&json!({ "X-Foo": "sip.h.x-to-ip" })).1.expect("a command");
    let edits =
        r#"| del(.headersToAttributes["X-Foo"]) | .headersToAttributes += {"X-To-IP": "sip.h.x-to-ip"}' |"#;
    assert!(command.contains(edits), "{command}");
    // A name that is not to be copied into a shell.
    assert_eq!(command_for(&json!({ "X-'Foo": "sip.h.x-to-ip" })).1, None);
}

#[test]
fn to_alone_is_enough_without_an_edge_and_where_it_is_read() {
    let only_to = trunk(&json!({ "headers_to_attributes": { "To": "sip.h.to" } }));
    let edge = trunk(&json!({ "sip_trunk_id": "ST_2", "numbers": ["2"], "include_headers": 1 }));
    let (alone, beside) = (
        sip(&json!([only_to]), &individual()),
        sip(&json!([only_to, edge]), &individual_for(&["ST_1", "ST_2"])),
    );
    assert_eq!(brief(&findings(&alone, Vec::new(), true)), "note maps_only_to");
    assert_eq!(brief(&findings(&beside, Vec::new(), true)), "warning maps_only_to");
    assert_eq!(brief(&findings(&alone, Vec::new(), false)), "problem maps_only_to");
}

#[test]
fn calls_need_no_domain_where_something_else_names_their_tenant() {
    let two = sip(&json!([trunk(&json!({ "numbers": ["+1 555-0100", "+15550101"] }))]), &individual());
    let table = [
        (acme(&[], &["ST_1"]), ""),
        (acme(&["15550100", "15550101"], &[]), ""),
        (acme(&["15550100"], &[]), "problem maps_no_domain"),
    ];
    for (hook, expected) in table {
        assert_eq!(brief(&findings(&two, vec![hook.clone()], true)), expected, "{hook:?}");
    }
    let mut rules = individual();
    rules[0]["attributes"] = json!({ "sip.h.x-to-ip": "a.example" });
    assert_eq!(brief(&findings(&sip(&json!([trunk(&json!({}))]), &rules), Vec::new(), true)), "");
}

#[test]
fn who_may_call_is_read_as_livekit_reads_it() {
    let open = "problem takes_calls_from_everywhere";
    let table = [
        (json!(["192.0.2.10"]), ""),
        (json!(["192.0.2.0/24", "2001:db8::/32", "::1"]), ""),
        (json!([]), open),
        (json!(null), open),
        (json!(["0.0.0.0/0"]), open),
        (json!(["192.0.2.10", "::/0"]), open),
        (json!(["0.0.0.0/1", "192.0.2.10", "128.0.0.0/1"]), open),
        (json!(["0.0.0.0/1", "8000::/1"]), ""),
        // LiveKit leaves out what it cannot read, and with nothing left allows everybody.
        (json!(["sip://192.0.2.10"]), open),
        (json!(["192.0.2.10, 192.0.2.11"]), open),
        (json!(["192.0.2.10", "192.0.2.11;lr"]), "warning address_ignored"),
        (json!(["edge.example.com"]), "problem address_is_a_name"),
        (json!(["192.0.2.10", "[2001:db8::1]"]), "problem address_is_a_name"),
    ];
    for (allowed, expected) in table {
        let trunk = trunk(&json!({ "allowed_addresses": allowed, "include_headers": 1 }));
        assert_eq!(
            brief(&findings(&sip(&json!([trunk]), &individual()), Vec::new(), true)),
            expected,
            "{allowed}"
        );
    }
    let with_password =
        trunk(&json!({ "allowed_addresses": [], "include_headers": 1, "auth_username": "carrier" }));
    let found = findings(&sip(&json!([with_password]), &individual()), Vec::new(), true);
    assert_eq!(brief(&found), "warning takes_calls_from_everywhere");
}

#[test]
fn a_call_needs_a_trunk_a_rule_and_only_one_of_each() {
    let (one, two) = (individual(), individual_for(&["ST_1", "ST_2"]));
    let with =
        |id: &str, more: &Value| merged(&trunk(&json!({ "sip_trunk_id": id, "include_headers": 1 })), more);
    let numbers = |id: &str, numbers: &[&str]| with(id, &json!({ "numbers": numbers }));
    let some_callers = with("ST_2", &json!({ "numbers": ["1"], "allowed_numbers": ["7"] }));
    let table = [
        (json!([]), json!([]), "problem no_inbound_trunk"),
        (json!([numbers("ST_1", &[])]), json!([]), "problem no_dispatch_rule"),
        (json!([numbers("ST_3", &["3"])]), one, "problem no_dispatch_rule, warning trunk_does_not_exist"),
        (json!([numbers("ST_1", &[]), numbers("ST_2", &[])]), two.clone(), "warning number_taken_twice"),
        (
            json!([numbers("ST_1", &["1", "+1"]), numbers("ST_2", &["1"])]),
            two.clone(),
            "warning number_taken_twice",
        ),
        (json!([numbers("ST_1", &["1"]), some_callers]), two, ""),
    ];
    for (inbound, rules, expected) in table {
        let found = findings(&sip(&inbound, &rules), Vec::new(), true);
        assert_eq!(brief(&found), expected, "{inbound} {rules}");
        let without_numbers = |found: &&Finding| found.what.contains("has no numbers");
        assert!(!found.iter().filter(without_numbers).any(|found| found.fix.contains("the number")));
    }
}

#[test]
fn rules_keep_tenants_apart_and_let_numbers_through() {
    let inbound = json!([trunk(&json!({ "include_headers": 1 }))]);
    let rule = |fields: Value| json!([merged(&individual()[0], &fields)]);
    let room = |kind: &str, fields: Value| rule(json!({ "rule": { kind: fields } }));
    let meet = "problem tenants_can_meet";
    let table = [
        (room("dispatchRuleIndividual", json!({ "noRandomness": true })), meet),
        (room("dispatchRuleCallee", json!({ "roomPrefix": "x" })), meet),
        (room("dispatchRuleCallee", json!({ "randomize": true })), ""),
        (room("dispatchRuleDirect", json!({ "roomName": "x" })), meet),
        (room("dispatchRuleNew", json!({})), "note unknown_choice"),
        (rule(json!({ "trunk_ids": [] })), "warning for_calls_without_trunk"),
        (rule(json!({ "trunk_ids": ["ST_1", "ST_9"] })), "warning trunk_does_not_exist"),
        (rule(json!({ "hide_phone_number": true })), ""),
    ];
    for (rules, expected) in table {
        assert_eq!(brief(&findings(&sip(&inbound, &rules), Vec::new(), true)), expected, "{rules}");
    }
    let hidden = sip(&inbound, &rule(json!({ "hide_phone_number": true })));
    assert_eq!(brief(&findings(&hidden, vec![acme(&["15550100"], &[])], true)), "problem hides_numbers");
    // One tenant's callers may meet each other.
    let direct = sip(&inbound, &room("dispatchRuleDirect", json!({ "roomName": "reception" })));
    assert_eq!(brief(&findings(&direct, vec![acme(&[], &["ST_1"])], true)), "");
    let mut of_number = room("dispatchRuleDirect", json!({ "roomName": "reception" }));
    of_number[0]["numbers"] = json!(["+1 555-0100"]);
    assert_eq!(brief(&findings(&sip(&inbound, &of_number), vec![acme(&["15550100"], &[])], true)), "");
}

#[test]
fn a_rules_pin_survives_its_mending() {
    let mut rules = individual();
    rules[0]["rule"] = json!({ "dispatch_rule_callee": { "room_prefix": "ext-", "pin": "1234" } });
    let found = findings(&sip(&json!([trunk(&json!({ "include_headers": 1 }))]), &rules), Vec::new(), true);
    let command = found.iter().find_map(|found| found.command.clone()).expect("a command");
    assert!(
        command.contains(r#"roomPrefix: "ext", pin: .rule[].pin"#) && !command.contains("1234"),
        "{command}"
    );
}

#[test]
fn a_rule_for_every_trunk_is_given_those_without_a_rule_or_deleted() {
    let trunks = |ids: &[&str]| {
        let all =
            ids.iter().map(|id| trunk(&json!({ "sip_trunk_id": id, "numbers": [id], "include_headers": 1 })));
        all.collect::<Vec<_>>()
    };
    let rules = json!([
        individual()[0],
        merged(&individual()[0], &json!({ "sip_dispatch_rule_id": "SDR_2", "trunk_ids": [] }))
    ]);
    for (ids, expected) in [
        (["ST_1", "ST_2"].as_slice(), "lk sip dispatch update --id SDR_2 --trunks ST_2"),
        (&["ST_1"], "lk sip dispatch delete SDR_2"),
        // A rule that was made before its trunk is kept.
        (&[], r#"lk sip dispatch update --id SDR_2 --trunks "${TRUNK_IDS:?}""#),
    ] {
        let found = findings(&sip(&json!(trunks(ids)), &rules), Vec::new(), true);
        let commands: Vec<_> = found.iter().filter_map(|found| found.command.clone()).collect();
        assert_eq!(commands, [expected]);
    }
}
