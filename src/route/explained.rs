//! A decision, step by step, for people: for `switchhook explain` and `POST /v1/explain`.

use super::call::{Binding, Call, Placement};
use super::reason::{Reason, Rule};
use super::{Door, Route, by_rules, route};
use crate::domain::Domain;
use crate::event::{Caller, Event};
use crate::hooks::{Hook, View};
use crate::visible::plain;
use crate::wire::{ExplainedOutcome, Explanation};

/// What a decision was made from.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// The hooks that it may name.
    pub hooks: View<'a>,
    /// What is known of the event's call.
    pub call: Option<&'a Call>,
    /// Whether `sip.h.to` may stand in for `sip.h.x-to-ip`.
    pub to_fallback: bool,
}

/// Where an event would go as the first of its call, if there were no hooks but these. `door`: the URL it comes by.
pub fn route_first(event: &Event<'_>, hooks: View<'_>, to_fallback: bool, door: &Door) -> Route {
    let route = match door {
        Door::Platform => by_rules(event, hooks, to_fallback, None),
        Door::Tenant { .. } => route(event, hooks, to_fallback, None),
    };
    route.named(door).filtered(&event.name)
}

/// Why an event has this route. `place`: where a hook is declared.
pub fn explain(
    event: &Event<'_>,
    route: Route,
    seen: Basis<'_>,
    place: impl Fn(&Hook) -> String,
) -> Explanation {
    let Route { domain, outcome, bound, .. } = route;
    let mut told = Explanation { domain: domain.as_ref().map(ToString::to_string), ..Explanation::default() };
    match &event.caller {
        Some(caller) => tell_headers(&mut told, caller, seen.to_fallback),
        None => step(&mut told, "caller", "none: this is no event of an inbound SIP participant"),
    }
    tell_call(&mut told, event, seen);
    match outcome {
        Ok((hook, rule)) => {
            tell_hook(&mut told, &hook, rule, &place(&hook));
            if bound.is_some() {
                step(&mut told, "", "as its call was bound: whatever is edited meanwhile, until it is over");
            }
        }
        Err(Reason::Held) => tell_held(&mut told),
        Err(reason) => {
            let nearest = (reason == Reason::NoHook).then(|| {
                step(&mut told, "hook", &format!("none of {} matches", seen.hooks.len()));
                domain.as_ref().map(|domain| seen.hooks.nearest(domain))
            });
            told.nearest = nearest.flatten();
            let fix = reason.advice(event.caller.as_ref(), domain.as_ref().map(Domain::as_str));
            tell_unrouted(&mut told, reason, fix);
        }
    }
    told
}

/// Where it goes.
fn tell_hook(told: &mut Explanation, hook: &Hook, rule: Rule, place: &str) {
    let host = hook.host.to_string();
    told.outcome = ExplainedOutcome::Routed;
    told.rule = Some(rule.to_string());
    told.tenant = Some(hook.tenant.to_string());
    told.url = Some(hook.loggable_url().to_owned());
    step(told, "hook", &format!("{host:<24} {}, {place}", how(rule, &host)));
    step(told, "tenant", hook.tenant.as_str());
    step(told, "goes to", hook.loggable_url());
    told.host = Some(host);
}

fn tell_held(told: &mut Explanation) {
    told.outcome = ExplainedOutcome::Held;
    step(
        told,
        "held",
        "until a caller binds its room's call (--hold, 30 s); then it goes first, by rule call",
    );
    step(told, "", "past that it is unrouted, no_call, and a caller who comes later still releases it");
}

/// Why it goes nowhere, and what would mend that.
fn tell_unrouted(told: &mut Explanation, reason: Reason, fix: String) {
    told.outcome = ExplainedOutcome::Unrouted;
    told.reason = Some(reason.to_string());
    step(told, "unrouted", reason.as_str());
    if let Some(nearest) = told.nearest.clone().filter(|nearest| !nearest.is_empty()) {
        step(told, "nearest", &nearest.join(", "));
    }
    step(told, "to fix", &fix);
    told.fix = Some(fix);
}

/// What is known of its call.
fn tell_call(told: &mut Explanation, event: &Event<'_>, seen: Basis<'_>) {
    let Basis { hooks, call, .. } = seen;
    let host =
        |bound: &Binding| hooks.by_id(bound.hook).map(|hook| hook.host.to_string()).unwrap_or_default();
    let placement = event.participant.as_deref().zip(call).and_then(|(sid, call)| call.placement(sid));
    match placement {
        Some(Placement::At(bound)) => {
            step(told, "participant", &format!("placed before, at {}", host(&bound)));
        }
        Some(Placement::Nowhere(reason, domain)) => {
            let dialled = domain.map(|domain| format!(", {domain}")).unwrap_or_default();
            step(told, "participant", &format!("it had no hook when it joined: {reason}{dialled}"));
        }
        None => {}
    }
    if let Some(name) = event.call() {
        match call.and_then(|call| call.binding.as_ref()) {
            Some(bound) => step(told, "call", &format!("{name} is bound to {}", host(bound))),
            None => step(told, "call", &format!("{name} is not bound yet, as far as is known here")),
        }
    }
}

fn tell_headers(told: &mut Explanation, caller: &Caller<'_>, to_fallback: bool) {
    let headers = [("sip.h.x-to-ip", &caller.x_to_ip, true), ("sip.h.to", &caller.to, to_fallback)];
    for (name, value, used) in headers {
        let Some(value) = value else {
            step(told, name, "absent");
            continue;
        };
        step(told, name, value);
        match Domain::from_sip(value) {
            _ if told.source.is_some() => step(told, "", "→ not looked at: only one domain is ever tried"),
            _ if !used => step(told, "", "→ not looked at: --to-fallback is off"),
            Ok(domain) => {
                step(told, "", &format!("→ {:<22} {}", domain.to_string(), dropped(value, &domain)));
                told.source = Some(name.to_owned());
                told.value = Some(value.to_string());
            }
            Err(invalid) => step(told, "", &format!("→ no domain: {invalid}")),
        }
    }
    for (name, value) in [("number", &caller.number), ("trunk", &caller.trunk)] {
        if let Some(value) = value {
            step(told, name, value);
        }
    }
}

/// What of a header's value is no part of the domain.
fn dropped(value: &str, domain: &Domain) -> String {
    let uri = value.split_once('<').map_or(value, |(_, uri)| uri);
    let host = uri.rsplit_once('@').map_or(uri, |(_, host)| host);
    let parts = [
        ("display name", value.contains('<') && !value.trim_start().starts_with('<')),
        ("user", uri.contains('@')),
        (
            "port",
            host.split(']').next_back().is_some_and(|rest| rest.trim_start_matches("sip:").contains(':')),
        ),
        ("parameters", uri.contains(';')),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    let mut told = Vec::new();
    if !parts.is_empty() {
        told.push(format!("{} dropped", parts.join(", ")));
    }
    if !value.contains(domain.as_str()) && host.to_ascii_lowercase().contains(domain.as_str()) {
        told.push("lower case".to_owned());
    }
    told.join("; ")
}

/// A step of the decision, on one line whatever it quotes.
fn step(told: &mut Explanation, name: &str, text: &str) {
    told.steps.push(plain(format!("{name:<16}{text}").trim_end()));
}

fn how(rule: Rule, host: &str) -> &'static str {
    match rule {
        Rule::Domain if host == "*" => "the catch-all: nothing else matches",
        Rule::Domain if host.starts_with('*') => "the longest wildcard that matches",
        Rule::Domain => "exact match",
        Rule::Number => "by the number dialled",
        Rule::Trunk => "by the SIP trunk",
        Rule::Url => "the tenant of the URL",
        Rule::Participant => "where its participant was placed",
        Rule::Call => "its call's",
    }
}
