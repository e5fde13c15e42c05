//! Whether LiveKit's dispatch rules keep tenants apart and let numbers through.

use std::collections::HashSet;

use super::finding::{Finding, Severity, Subject, is_harmless, listed};
use super::hooks::HookIndex;
use super::sip::{DispatchRule, RoomRule, Sip};

/// What is wrong with the dispatch rules.
pub fn findings(sip: &Sip, hooks: &HookIndex) -> Vec<Finding> {
    let Some(rules) = &sip.rules else { return Vec::new() };
    let ids =
        sip.inbound.as_ref().map(|trunks| trunks.iter().map(|trunk| trunk.id.as_str()).collect::<Vec<_>>());
    if rules.is_empty() {
        // Without a trunk either, that is what is said.
        return if ids.is_some_and(|ids| ids.is_empty()) { Vec::new() } else { vec![no_rule()] };
    }
    let known = ids.as_ref().map(|ids| ids.iter().copied().collect::<HashSet<_>>());
    let named: HashSet<_> = rules.iter().flat_map(|rule| &rule.trunk_ids).map(String::as_str).collect();
    // Where there is no trunk yet, its id is to come.
    let ids = ids.filter(|ids| !ids.is_empty());
    let unnamed: Option<Vec<_>> = ids.map(|ids| ids.into_iter().filter(|id| !named.contains(id)).collect());
    let found = rules.iter().flat_map(|rule| {
        let trunks = known.as_ref().and_then(|known| unknown_trunks(rule, known));
        [shared_room(rule, hooks), every_trunk(rule, unnamed.as_deref()), hidden_number(rule, hooks), trunks]
    });
    found.flatten().collect()
}

fn finding(rule: &DispatchRule, severity: Severity, check: &'static str, text: [&str; 3]) -> Finding {
    Finding::new(severity, check, Subject::of("dispatch rule", &rule.id, &rule.name), text.map(str::to_owned))
}

fn no_rule() -> Finding {
    let text = [
        "has no dispatch rule",
        "LiveKit refuses every call",
        "make one; examples/livekit/dispatch-rule.individual.json is one, with its reasons beside it",
    ];
    Finding::new(Severity::Problem, "no_dispatch_rule", Subject::the("LiveKit"), text.map(str::to_owned))
}

/// Whether callers of two tenants can come into one room.
fn shared_room(rule: &DispatchRule, hooks: &HookIndex) -> Option<Finding> {
    let RoomRule { direct, individual, callee } = &rule.rule;
    let (what, pin) = match (direct, individual, callee) {
        (Some(direct), ..) => {
            (format!("puts every caller into the one room {}", direct.room_name), &direct.pin)
        }
        (_, Some(caller), _) if caller.no_randomness => {
            ("names rooms by the caller's number alone (no_randomness)".to_owned(), &caller.pin)
        }
        (_, _, Some(callee)) if !callee.randomize => {
            ("names rooms by the number called alone (callee without randomize)".to_owned(), &callee.pin)
        }
        (None, None, None) => return Some(unknown_kind(rule)),
        _ => return None,
    };
    if hooks.are_of_one_tenant(rule) {
        return None;
    }
    let why = "callers of two tenants can meet in one room: they hear each other, and what has no caller of its own \
               (the room, agents, recordings) goes to the tenant who was first";
    let fix = "a room for each call: individual dispatch, with its random end";
    let found = finding(rule, Severity::Problem, "tenants_can_meet", [&what, why, fix]);
    Some(found.by(individually(rule, pin)))
}

/// The command that gives each call of a rule a room of its own.
fn individually(rule: &DispatchRule, pin: &str) -> Option<String> {
    let (id, RoomRule { individual, callee, .. }) = (&rule.id, &rule.rule);
    let prefix = individual.as_ref().map(|caller| &caller.room_prefix);
    let prefix = prefix
        .or(callee.as_ref().map(|callee| &callee.room_prefix))
        .map(|prefix| prefix.trim_end_matches(['-', '_']));
    let prefix = prefix.filter(|prefix| is_harmless(prefix)).unwrap_or("call");
    is_harmless(id).then(|| match pin {
        "" => format!("lk sip dispatch update --id {id} --individual {prefix}"),
        // The flag would drop the PIN.
        _ => format!(
            "lk sip dispatch list --json | jq '.items[] | select(.sipDispatchRuleId == \"{id}\") | .rule = \
             {{dispatchRuleIndividual: {{roomPrefix: \"{prefix}\", pin: .rule[].pin}}}}' | \
             lk sip dispatch update --id {id} -"
        ),
    })
}

fn unknown_kind(rule: &DispatchRule) -> Finding {
    let text = [
        "is of a kind that this version of switchhook does not know",
        "whether callers of two tenants can meet in one room cannot be said",
        "look at its room names: `lk sip dispatch list`",
    ];
    finding(rule, Severity::Note, "unknown_choice", text)
}

/// Whether it takes calls that match no trunk. `unnamed`: the trunks that no rule names, if all are known.
fn every_trunk(rule: &DispatchRule, unnamed: Option<&[&str]>) -> Option<Finding> {
    if !rule.trunk_ids.is_empty() {
        return None;
    }
    let id = &rule.id;
    let (fix, command) = match unnamed {
        // LiveKit refuses a second rule for the same trunk.
        Some([]) => {
            ("each trunk has a rule of its own: delete this one", format!("lk sip dispatch delete {id}"))
        }
        // A command that names more is not read by anybody.
        Some(ids) if ids.len() <= 20 && ids.iter().all(|id| is_harmless(id)) => {
            (NAME_TRUNKS, format!("lk sip dispatch update --id {id} --trunks {}", ids.join(",")))
        }
        Some(_) | None => {
            (NAME_TRUNKS, format!("lk sip dispatch update --id {id} --trunks \"${{TRUNK_IDS:?}}\""))
        }
    };
    let text = [
        "names no trunks, so it is also for calls that match none",
        "a stranger whose address no trunk allows is let in all the same: without attributes, so without a tenant, \
         but in a room, with your agents",
        fix,
    ];
    let found = finding(rule, Severity::Warning, "for_calls_without_trunk", text);
    Some(found.by(is_harmless(id).then_some(command)))
}

const NAME_TRUNKS: &str = "name the trunks it is for";

/// Whether hooks' numbers can be matched.
fn hidden_number(rule: &DispatchRule, hooks: &HookIndex) -> Option<Finding> {
    let text = [
        "hides phone numbers (hide_phone_number), the number called, too",
        "hooks that are found by a number are not found: the attribute sip.trunkPhoneNumber is missing",
        "switch it off, or find those hooks by host or trunk",
    ];
    let command = is_harmless(&rule.id).then(|| {
        let id = &rule.id;
        format!(
            "lk sip dispatch list --json | jq '.items[] | select(.sipDispatchRuleId == \"{id}\") | \
             .hidePhoneNumber = false' | lk sip dispatch update --id {id} -"
        )
    });
    (rule.hide_phone_number && hooks.have_numbers())
        .then(|| finding(rule, Severity::Problem, "hides_numbers", text).by(command))
}

/// Trunks of a rule that are gone.
fn unknown_trunks(rule: &DispatchRule, known: &HashSet<&str>) -> Option<Finding> {
    let lost: Vec<_> = rule.trunk_ids.iter().map(String::as_str).filter(|id| !known.contains(id)).collect();
    (!lost.is_empty()).then(|| {
        let what = format!("is for inbound trunks that do not exist: {}", listed(lost));
        let why = "a trunk that is made anew has a new id: the rule is not for it, and LiveKit may refuse its calls";
        let fix = "name the trunks that exist: `lk sip inbound list`";
        finding(rule, Severity::Warning, "trunk_does_not_exist", [&what, why, fix])
    })
}
