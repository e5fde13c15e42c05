//! `switchhook explain`: the decision for an event or a header, step by step, without a router.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::check::Targets;
use super::failure::Failure;
use super::terminal::{plain, say, say_json};
use crate::calls::Rehearsal;
use crate::config::{Fallback, network_of, read_hooks};
use crate::domain::Domain;
use crate::event::{Caller, Event};
use crate::hooks::{Around, Hook, HookTable, Tenant};
use crate::ids::HookId;
use crate::outbox::Hooks;
use crate::route::{Binding, Call, Door, Placement, Reason, Route, Rule};
use crate::visible::shown;

/// Says where an event would go by a hook table, and why, without a running router.
///
/// With a file (- for standard input): the event in it. Else: a caller with these headers.
#[derive(clap::Args)]
pub struct Flags {
    /// An event as LiveKit posts it
    event: Option<PathBuf>,
    /// What came before it: a recording, or events line by line; calls are bound by it
    #[arg(long, value_name = "FILE", requires = "event")]
    after: Option<PathBuf>,
    /// The tenant by whose own URL it comes
    #[arg(long, value_name = "TENANT")]
    at: Option<String>,
    /// What the edge wrote: sip.h.x-to-ip
    #[arg(long, value_name = "VALUE", conflicts_with = "event")]
    x_to_ip: Option<String>,
    /// sip.h.to
    #[arg(long, value_name = "VALUE", conflicts_with = "event")]
    to: Option<String>,
    /// The number dialled: sip.trunkPhoneNumber
    #[arg(long, value_name = "NUMBER", conflicts_with = "event")]
    number: Option<String>,
    /// The SIP trunk: sip.trunkID
    #[arg(long, value_name = "ID", conflicts_with = "event")]
    trunk: Option<String>,
    /// The hook table
    #[arg(long, env = "SWITCHHOOK_HOOKS", value_name = "FILE", default_value = "hooks.yaml")]
    hooks: PathBuf,
    #[command(flatten)]
    fallback: Fallback,
    #[command(flatten)]
    network: Targets,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
}

/// Stands for every secret that is elsewhere.
const SOME_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The decision; what does not apply is null.
#[derive(Serialize, Default)]
struct Explanation {
    outcome: &'static str,
    rule: Option<&'static str>,
    /// The attribute the domain was read from.
    source: Option<&'static str>,
    /// What it holds.
    value: Option<String>,
    domain: Option<String>,
    host: Option<String>,
    tenant: Option<String>,
    url: Option<String>,
    reason: Option<&'static str>,
    fix: Option<String>,
    nearest: Option<Vec<String>>,
    steps: Vec<String>,
}

/// Prints the decision.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    let hooks = table_of(flags)?;
    // Ids count from 1, in the file's order.
    let lines: Vec<u64> = hooks.entries.iter().map(|entry| entry.line).collect();
    let numbered = (1..).zip(hooks.entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
    let table = HookTable::build(numbered.collect(), Vec::new());
    let door = door(flags, &table)?;
    let body = flags.event.as_deref().map_or(Ok(Vec::new()), read_event)?;
    let event = match &flags.event {
        Some(path) => {
            Event::parse(&body).map_err(|error| Failure::new(format!("{}: {error}", shown(path))))?
        }
        None => Event { caller: Some(caller(flags)?), ..Event::default() },
    };
    let file = shown(&flags.hooks);
    let place = |id: HookId| {
        let line = usize::try_from(id.0 - 1).ok().and_then(|at| lines.get(at));
        line.map(|line| format!("{file} line {line}")).unwrap_or_default()
    };
    let mut rehearsal = Rehearsal::new(table, flags.fallback.to_fallback, door);
    if let Some(path) = &flags.after {
        hear(&mut rehearsal, &String::from_utf8_lossy(&read_event(path)?))?;
    }
    let explanation = explain(&event, &rehearsal, flags.fallback.to_fallback, &place);
    if flags.json {
        say_json(&explanation);
    } else {
        explanation.steps.iter().for_each(say);
    }
    Ok(())
}

/// The hook table. What may be dialled decides nothing here: one for --dev is explained as well. Nor do
/// secrets: they need not be here.
fn table_of(flags: &Flags) -> Result<Hooks, Failure> {
    let Targets { allow_network, allow_http, dev } = &flags.network;
    let mut network = network_of(allow_network, *allow_http, *dev);
    network.allow_http = true;
    network.allowed.extend(["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse::<ipnet::IpNet>().ok()));
    let around = Around::new(network, |_| Ok(SOME_SECRET.to_owned().into()));
    read_hooks(&flags.hooks, &around).map_err(Failure::new)
}

/// Binds calls by what came before: a recording, or events line by line.
fn hear(rehearsal: &mut Rehearsal, before: &str) -> Result<(), Failure> {
    for (number, line) in (1..).zip(before.lines().filter(|line| !line.trim().is_empty())) {
        let told: Value = serde_json::from_str(line)
            .map_err(|error| Failure::new(format!("--after: line {number}: no event: {error}")))?;
        // A recording's line holds the body as a text.
        rehearsal.hear(told["body"].as_str().unwrap_or(line).as_bytes());
    }
    Ok(())
}

fn door(flags: &Flags, table: &HookTable) -> Result<Door, Failure> {
    let Some(name) = &flags.at else { return Ok(Door::Platform) };
    let tenant = Tenant::new(name).filter(|tenant| table.knows(tenant));
    let unknown = || Failure::new(format!("no hook has the tenant {}: its URL answers 404", plain(name)));
    // Whose key it is signed with decides nothing here.
    Ok(Door::Tenant { tenant: tenant.ok_or_else(unknown)?, own_key: false })
}

fn read_event(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut body).map(drop)
    } else {
        std::fs::read(path).map(|read| body = read)
    };
    read.map(|()| body).map_err(|error| Failure::new(format!("{}: {error}", shown(path))))
}

fn caller(flags: &Flags) -> Result<Caller<'_>, Failure> {
    let given = [&flags.x_to_ip, &flags.to, &flags.number, &flags.trunk];
    if given.iter().all(|value| value.is_none()) {
        return Err(Failure::usage(
            "nothing to explain: name an event's file, or give --x-to-ip, --to, --number or --trunk",
        ));
    }
    // As in an event, an empty attribute is an absent one.
    let value = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty()).map(Into::into);
    Ok(Caller {
        x_to_ip: value(&flags.x_to_ip),
        to: value(&flags.to),
        number: value(&flags.number),
        trunk: value(&flags.trunk),
    })
}

fn explain(
    event: &Event<'_>,
    rehearsal: &Rehearsal,
    to_fallback: bool,
    place: &dyn Fn(HookId) -> String,
) -> Explanation {
    let (table, call) = (rehearsal.table(), rehearsal.call(event));
    let Route { domain, outcome, bound, .. } = rehearsal.route(event);
    let mut told = Explanation { domain: domain.as_ref().map(ToString::to_string), ..Explanation::default() };
    match &event.caller {
        Some(caller) => tell_headers(&mut told, caller, to_fallback),
        None => told.step("caller", "none: this is no event of an inbound SIP participant"),
    }
    tell_call(&mut told, event, call, table);
    match outcome {
        Ok((hook, rule)) => {
            tell_hook(&mut told, &hook, rule, &place(hook.id));
            if bound.is_some() {
                told.step("", "as its call was bound: whatever is edited meanwhile, until it is over");
            }
        }
        Err(Reason::Held) => tell_held(&mut told),
        Err(reason) => {
            let nearest = (reason == Reason::NoHook).then(|| {
                told.step("hook", &format!("none of {} matches", table.len()));
                domain.as_ref().map(|domain| table.nearest(domain))
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
    (told.outcome, told.rule) = ("routed", Some(rule.as_str()));
    told.tenant = Some(hook.tenant.to_string());
    told.url = Some(hook.loggable_url().to_owned());
    told.step("hook", &format!("{host:<24} {}, {place}", how(rule, &host)));
    told.step("tenant", hook.tenant.as_str());
    told.step("goes to", hook.loggable_url());
    told.host = Some(host);
}

fn tell_held(told: &mut Explanation) {
    told.outcome = "held";
    told.step(
        "held",
        "until a caller binds its room's call (--hold, 30 s); then it goes first, by rule call",
    );
    told.step("", "past that it is unrouted, no_call, and a caller who comes later still releases it");
}

/// Why it goes nowhere, and what would mend that.
fn tell_unrouted(told: &mut Explanation, reason: Reason, fix: String) {
    (told.outcome, told.reason) = ("unrouted", Some(reason.as_str()));
    told.step("unrouted", reason.as_str());
    if let Some(nearest) = told.nearest.clone().filter(|nearest| !nearest.is_empty()) {
        told.step("nearest", &nearest.join(", "));
    }
    told.step("to fix", &fix);
    told.fix = Some(fix);
}

/// What is known of its call.
fn tell_call(told: &mut Explanation, event: &Event<'_>, call: Option<&Call>, table: &HookTable) {
    let host =
        |bound: &Binding| table.by_id(bound.hook).map(|hook| hook.host.to_string()).unwrap_or_default();
    let placement = event.participant.as_deref().zip(call).and_then(|(sid, call)| call.placement(sid));
    match placement {
        Some(Placement::At(bound)) => {
            told.step("participant", &format!("placed before, at {}", host(&bound)));
        }
        Some(Placement::Nowhere(reason, domain)) => {
            let dialled = domain.map(|domain| format!(", {domain}")).unwrap_or_default();
            told.step("participant", &format!("it had no hook when it joined: {reason}{dialled}"));
        }
        None => {}
    }
    if let Some(name) = event.call() {
        match call.and_then(|call| call.binding.as_ref()) {
            Some(bound) => told.step("call", &format!("{name} is bound to {}", host(bound))),
            None => told.step("call", &format!("{name} is not bound yet")),
        }
    }
}

fn tell_headers(told: &mut Explanation, caller: &Caller<'_>, to_fallback: bool) {
    let headers = [("sip.h.x-to-ip", &caller.x_to_ip, true), ("sip.h.to", &caller.to, to_fallback)];
    for (name, value, used) in headers {
        let Some(value) = value else {
            told.step(name, "absent");
            continue;
        };
        told.step(name, value);
        match Domain::from_sip(value) {
            _ if told.source.is_some() => told.step("", "→ not looked at: only one domain is ever tried"),
            _ if !used => told.step("", "→ not looked at: --to-fallback is off"),
            Ok(domain) => {
                told.step("", &format!("→ {:<22} {}", domain.to_string(), dropped(value, &domain)));
                (told.source, told.value) = (Some(name), Some(value.to_string()));
            }
            Err(invalid) => told.step("", &format!("→ no domain: {invalid}")),
        }
    }
    for (name, value) in [("number", &caller.number), ("trunk", &caller.trunk)] {
        if let Some(value) = value {
            told.step(name, value);
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

impl Explanation {
    /// A step of the decision, on one line whatever it quotes.
    fn step(&mut self, name: &str, text: &str) {
        self.steps.push(plain(format!("{name:<16}{text}").trim_end()));
    }
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
