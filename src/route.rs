//! The decision for one event: which hook, by which rule, or why none. Pure.

use std::fmt;
use std::sync::Arc;

use crate::domain::Domain;
use crate::event::{Caller, Event};
use crate::hooks::{Hook, HookTable};

/// The rule that chose a hook; its name goes into `switchhook-route`, log and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// The SIP domain the caller dialled.
    Domain,
    /// The number dialled, for carriers that share one domain.
    Number,
    /// The SIP trunk the call came over.
    Trunk,
}

impl Rule {
    /// Every rule, in the order they are tried.
    pub const ALL: [Self; 3] = [Self::Domain, Self::Number, Self::Trunk];

    /// The rule's name, part of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Number => "number",
            Self::Trunk => "trunk",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an event goes to no hook; its name is part of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// The body is no JSON object.
    Unreadable,
    /// The caller dialled a domain no hook has.
    NoHook,
    /// The SIP headers are there, and none of them holds a domain.
    BadDomain,
    /// The trunk maps neither `X-To-IP` nor `To` to an attribute.
    NoDomain,
    /// Its hook does not want events of this name.
    Filtered,
    /// The event names no tenant, and nothing ties it to a call that does.
    NoCall,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Unreadable, Self::NoHook, Self::BadDomain, Self::NoDomain, Self::Filtered, Self::NoCall];

    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NoHook => "no_hook",
            Self::BadDomain => "bad_domain",
            Self::NoDomain => "no_domain",
            Self::Filtered => "filtered",
            Self::NoCall => "no_call",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where one event goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The SIP domain the event names, if any.
    pub domain: Option<Domain>,
    /// The hook and the rule that found it, or why there is none.
    pub outcome: Result<(Arc<Hook>, Rule), Reason>,
}

impl Route {
    /// An event for nobody that names no domain.
    pub fn unrouted(reason: Reason) -> Self {
        Self { domain: None, outcome: Err(reason) }
    }

    /// The same, unless the hook does not want events of this name.
    #[must_use]
    pub fn filtered(self, event: &str) -> Self {
        let wanted = |(hook, _): &(Arc<Hook>, Rule)| hook.settings.events.wants(event);
        match &self.outcome {
            Ok(found) if !wanted(found) => Self { outcome: Err(Reason::Filtered), ..self },
            _ => self,
        }
    }
}

/// Routes `event` by `table`. `to_fallback`: whether `sip.h.to` may stand in for an `sip.h.x-to-ip`
/// that is absent, empty or unparseable.
pub fn route(event: &Event<'_>, table: &HookTable, to_fallback: bool) -> Route {
    match &event.caller {
        Some(caller) => route_caller(caller, table, to_fallback),
        None => Route::unrouted(Reason::NoCall),
    }
}

fn route_caller(caller: &Caller<'_>, table: &HookTable, to_fallback: bool) -> Route {
    let to = if to_fallback { caller.to.as_deref() } else { None };
    let headers = [caller.x_to_ip.as_deref(), to];
    // Only one domain is ever tried: an X-To-IP without a hook does not fall through to To, which
    // the caller chose.
    let domain = headers.iter().flatten().find_map(|value| Domain::from_sip(value).ok());
    let by_domain = domain.as_ref().and_then(|domain| table.by_domain(domain));
    let by_number = || caller.number.as_deref().and_then(|number| table.by_number(number));
    // The catch-all comes last: it would hide numbers and trunks.
    let any = || domain.as_ref().and_then(|_| table.any());
    let by_trunk = || caller.trunk.as_deref().and_then(|trunk| table.by_trunk(trunk));
    let outcome = by_domain
        .map(|hook| (hook, Rule::Domain))
        .or_else(|| by_number().map(|hook| (hook, Rule::Number)))
        .or_else(|| by_trunk().map(|hook| (hook, Rule::Trunk)))
        .or_else(|| any().map(|hook| (hook, Rule::Domain)))
        .map(|(hook, rule)| (Arc::clone(hook), rule))
        .ok_or(match (&domain, headers) {
            (Some(_), _) => Reason::NoHook,
            (None, [None, None]) => Reason::NoDomain,
            (None, _) => Reason::BadDomain,
        });
    Route { domain, outcome }
}
