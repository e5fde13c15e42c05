//! Whether LiveKit's trunks let calls through with their domain, and nothing that tenants should not see.

mod addresses;
mod mapping;
mod numbers;

use std::collections::HashMap;

use self::mapping::{OfCallers, TO, X_TO_IP, maps, misspelt};
use super::finding::{Finding, Severity, Subject, is_harmless};
use super::hooks::HookIndex;
use super::sip::{DispatchRule, InboundTrunk, Included, OutboundTrunk, Sip};

/// What `jq` does to a trunk, as `lk … list --json` prints it. `lk … update` replaces a trunk as a whole, so all edits
/// of one trunk are made at once.
const MAP_X_TO_IP: &str = r#".headersToAttributes += {"X-To-IP": "sip.h.x-to-ip"}"#;
const MAP_BY_NAME: &str = r#".includeHeaders = "SIP_NO_HEADERS" | .headersToAttributes += {"X-To-IP": "sip.h.x-to-ip", "To": "sip.h.to"}"#;
const MAP_NOTHING: &str = r#".includeHeaders = "SIP_NO_HEADERS""#;
const ALLOW_EDGE: &str = r#".allowedAddresses = [$edge]"#;

/// A finding and the edit that mends it; None: it is not to be copied into a shell.
type Edit = (Finding, Option<String>);

/// What is wrong with the inbound trunks. `to_fallback`: whether the router reads `sip.h.to` where there is no
/// `sip.h.x-to-ip`.
pub fn inbound(sip: &Sip, hooks: &HookIndex, to_fallback: bool) -> Vec<Finding> {
    let Some(trunks) = &sip.inbound else { return Vec::new() };
    if trunks.is_empty() {
        return vec![no_trunk()];
    }
    let has_edge = trunks.iter().any(|trunk| trunk.include_headers == Included::X || maps(trunk, X_TO_IP));
    let rules = sip.rules.as_deref().map(RulesByTrunk::new);
    let mut found = Vec::new();
    for trunk in trunks {
        let context = Context { trunk, rules: rules.as_ref(), hooks, has_edge, to_fallback };
        // What is removed is removed first.
        let edits = [
            context.headers_of_callers(),
            context.domain(),
            context.headers(),
            addresses::finding(trunk).map(|finding| (finding, Some(ALLOW_EDGE.to_owned()))),
        ];
        let edits: Vec<Edit> = edits.into_iter().flatten().collect();
        let edits_of_trunk: Option<Vec<_>> = edits.iter().map(|(_, edit)| edit.as_deref()).collect();
        let command = edits_of_trunk.and_then(|edits| replacing("inbound", &trunk.id, &edits));
        found.extend(edits.into_iter().map(|(finding, _)| finding.by(command.clone())));
        found.extend(context.choice());
        found.extend(context.without_rule());
    }
    found.extend(numbers::taken_twice(trunks));
    found
}

/// What is wrong with the outbound trunks: nothing that changes where calls go.
pub fn outbound(trunks: &[OutboundTrunk]) -> Vec<Finding> {
    let all = trunks.iter().filter(|trunk| trunk.include_headers == Included::All);
    let finding = |trunk: &OutboundTrunk| {
        let text = [
            "makes an attribute of every header of the carrier's answer",
            "routing does not use them, but tenants and everybody in the room see them",
            "map none, or by name what your agents need",
        ];
        let subject = Subject::of("outbound trunk", &trunk.id, &trunk.name);
        Finding::new(Severity::Note, "outbound_maps_every_header", subject, text.map(str::to_owned))
            .by(replacing("outbound", &trunk.id, &[MAP_NOTHING]))
    };
    all.map(finding).collect()
}

/// One inbound trunk, and what else decides about its calls.
struct Context<'s> {
    trunk: &'s InboundTrunk,
    rules: Option<&'s RulesByTrunk<'s>>,
    hooks: &'s HookIndex,
    /// Some trunk maps X-To-IP: there is an edge that writes it.
    has_edge: bool,
    to_fallback: bool,
}

impl Context<'_> {
    fn finding(&self, severity: Severity, check: &'static str, text: [&str; 3]) -> Finding {
        let subject = Subject::of("inbound trunk", &self.trunk.id, &self.trunk.name);
        Finding::new(severity, check, subject, text.map(str::to_owned))
    }

    /// Whether callers choose their tenant.
    fn headers_of_callers(&self) -> Option<Edit> {
        let headers = OfCallers::of(self.trunk);
        let removal = headers.removal();
        let lacks = self.trunk.include_headers == Included::None && !maps(self.trunk, X_TO_IP);
        let edit = match headers.give(X_TO_IP) && lacks {
            true => removal.map(|removal| format!("{removal} | {MAP_X_TO_IP}")),
            false => removal,
        };
        Some((headers.finding()?, edit))
    }

    /// Whether its calls come with a domain.
    fn domain(&self) -> Option<Edit> {
        let included = self.trunk.include_headers;
        let maps_to = included == Included::All || maps(self.trunk, TO);
        if matches!(included, Included::X | Included::All | Included::Unknown)
            || maps(self.trunk, X_TO_IP)
            // A wrong one is said already.
            || OfCallers::of(self.trunk).give(X_TO_IP)
            || self.hooks.cover(self.trunk)
            || self.rules_name_a_domain()
        {
            return None;
        }
        let finding = if maps_to { self.only_to() } else { self.no_domain() };
        Some((finding, Some(MAP_X_TO_IP.to_owned())))
    }

    fn no_domain(&self) -> Finding {
        let what = match misspelt(self.trunk) {
            Some((header, attribute)) => {
                format!(
                    "maps the header {header} to the attribute {attribute}: routing reads X-To-IP as {X_TO_IP}"
                )
            }
            None => "maps neither X-To-IP nor To to an attribute".to_owned(),
        };
        let why = "its calls come without a domain, so no tenant is known for them: unrouted, no_domain";
        let fix = "map X-To-IP, which the edge writes";
        self.finding(Severity::Problem, "maps_no_domain", [&what, why, fix])
    }

    fn only_to(&self) -> Finding {
        let (severity, why) = match (self.to_fallback, self.has_edge) {
            (false, _) => {
                (Severity::Problem, "--to-fallback is off: To is not read, so its calls have no domain")
            }
            (true, true) => (
                Severity::Warning,
                "other trunks use what the edge wrote; for its calls To decides, which the caller's side writes, or \
                 nothing, with --to-fallback off",
            ),
            (true, false) => (
                Severity::Note,
                "To is what the caller's side wrote, and a router with --to-fallback off does not read it; an edge that \
                 writes X-To-IP makes the tenant certain",
            ),
        };
        let fix = "map X-To-IP, too, if calls come through an edge";
        self.finding(severity, "maps_only_to", ["maps To, but not X-To-IP", why, fix])
    }

    /// Whether each rule that its calls may go by gives them a domain as a fixed attribute.
    fn rules_name_a_domain(&self) -> bool {
        let mut rules = self.own_rules().peekable();
        rules.peek().is_some() && rules.all(|rule| rule.attributes.contains_key(X_TO_IP))
    }

    fn own_rules(&self) -> impl Iterator<Item = &DispatchRule> {
        self.rules.into_iter().flat_map(|rules| rules.of(self.trunk))
    }

    /// Whether tenants see more headers than they should.
    fn headers(&self) -> Option<Edit> {
        if self.trunk.include_headers != Included::All {
            return None;
        }
        let (severity, why) = if self.trunk.auth_username.is_empty() {
            (
                Severity::Warning,
                "tenants and everybody in the room see them all: inner addresses, and digest credentials if \
                 a carrier or the edge sends any",
            )
        } else {
            (
                Severity::Problem,
                "this trunk asks for a password: the digest credentials of each call (Authorization) reach tenants \
                 and everybody in the room, who can guess the password from them",
            )
        };
        let text =
            ["makes an attribute of every header", why, "map by name what routing reads: X-To-IP and To"];
        Some((self.finding(severity, "maps_every_header", text), Some(MAP_BY_NAME.to_owned())))
    }

    /// A choice of a newer LiveKit.
    fn choice(&self) -> Option<Finding> {
        let text = [
            "has an `include_headers` that this version of switchhook does not know",
            "whether its calls come with a domain cannot be said",
            "read one of its calls: `switchhook calls`, then `switchhook events ID`",
        ];
        let is_unknown = self.trunk.include_headers == Included::Unknown;
        is_unknown.then(|| self.finding(Severity::Note, "unknown_choice", text))
    }

    /// Whether LiveKit has a room for its calls.
    fn without_rule(&self) -> Option<Finding> {
        if self.rules.is_none_or(RulesByTrunk::is_empty) || self.own_rules().next().is_some() {
            return None;
        }
        let text =
            ["has no dispatch rule", "LiveKit refuses its calls", "make a rule for it, or add it to one"];
        let id = &self.trunk.id;
        let command = is_harmless(id)
            .then(|| format!("lk sip dispatch create --name calls --trunks {id} --individual call"));
        Some(self.finding(Severity::Problem, "no_dispatch_rule", text).by(command))
    }
}

/// The rules that each trunk's calls may go by.
struct RulesByTrunk<'r> {
    by_trunk: HashMap<&'r str, Vec<&'r DispatchRule>>,
    for_all: Vec<&'r DispatchRule>,
}

impl<'r> RulesByTrunk<'r> {
    fn new(rules: &'r [DispatchRule]) -> Self {
        let mut by_trunk: HashMap<_, Vec<_>> = HashMap::new();
        for rule in rules {
            for trunk in &rule.trunk_ids {
                by_trunk.entry(trunk.as_str()).or_default().push(rule);
            }
        }
        Self { by_trunk, for_all: rules.iter().filter(|rule| rule.trunk_ids.is_empty()).collect() }
    }

    fn is_empty(&self) -> bool {
        self.by_trunk.is_empty() && self.for_all.is_empty()
    }

    fn of(&self, trunk: &InboundTrunk) -> impl Iterator<Item = &'r DispatchRule> {
        self.by_trunk.get(trunk.id.as_str()).into_iter().flatten().chain(&self.for_all).copied()
    }
}

fn no_trunk() -> Finding {
    let text = [
        "has no inbound trunk",
        "no header of a call becomes an attribute without one, so no tenant is known for any call",
        "make one; examples/livekit has three, each with its reasons",
    ];
    Finding::new(Severity::Problem, "no_inbound_trunk", Subject::the("LiveKit"), text.map(str::to_owned))
}

/// The command that replaces a trunk by itself with these edits; none if its id is not to be copied into a shell.
fn replacing(kind: &str, id: &str, edits: &[&str]) -> Option<String> {
    (!edits.is_empty() && is_harmless(id)).then(|| {
        let edits = edits.join(" | ");
        // While the variable is not set, jq is not started, and lk refuses to replace a trunk by nothing.
        let edge = if edits.contains("$edge") { "--arg edge \"${EDGE_IP:?}\" " } else { "" };
        format!(
            "lk sip {kind} list --json | jq {edge}'.items[] | select(.sipTrunkId == \"{id}\") | {edits}' | \
             lk sip {kind} update --id {id} -"
        )
    })
}
