//! The decision for one event: which hook, by which rule, or why none. Pure.

mod call;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use self::call::{Binding, Call, Placement};

use crate::domain::Domain;
use crate::event::{Caller, Event};
use crate::hooks::{Hook, Tenant, View};

/// The rule that chose a hook; its name goes into `switchhook-route`, log and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// The tenant's own URL it came by.
    Url,
    /// A participant that another rule has placed in this call.
    Participant,
    /// The SIP domain the caller dialled.
    Domain,
    /// The number dialled, for carriers that share one domain.
    Number,
    /// The SIP trunk the call came over.
    Trunk,
    /// The call its room is bound to.
    Call,
}

impl Rule {
    /// Every rule, in the order they are tried.
    pub const ALL: [Self; 6] =
        [Self::Url, Self::Participant, Self::Domain, Self::Number, Self::Trunk, Self::Call];

    /// The rule's name, part of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Domain => "domain",
            Self::Number => "number",
            Self::Trunk => "trunk",
            Self::Participant => "participant",
            Self::Call => "call",
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
    /// Its call is bound to a hook that was cut off.
    HookRemoved,
    /// Nobody knows yet whose its room is: it waits.
    Held,
    /// The event names no tenant, and nothing ties it to a call that does.
    NoCall,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Unreadable,
        Self::NoHook,
        Self::BadDomain,
        Self::NoDomain,
        Self::Filtered,
        Self::HookRemoved,
        Self::Held,
        Self::NoCall,
    ];

    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NoHook => "no_hook",
            Self::BadDomain => "bad_domain",
            Self::NoDomain => "no_domain",
            Self::Filtered => "filtered",
            Self::HookRemoved => "hook_removed",
            Self::Held => "held",
            Self::NoCall => "no_call",
        }
    }
}

impl Reason {
    /// What is to be done about it.
    pub fn fix(self) -> &'static str {
        match self {
            Self::NoHook => {
                "The carrier dials a name no hook has. If it is a typing error, mend it at the carrier or in \
                 DNS; if it is a new tenant, add the host."
            }
            Self::BadDomain => {
                "A SIP header is there, but names no host: look at what the edge writes into X-To-IP."
            }
            Self::NoDomain => {
                "The trunk maps no header: set its include_headers to SIP_X_HEADERS, or headers_to_attributes; \
                 sip.h.to counts only with --to-fallback."
            }
            Self::Filtered => "Nothing to mend: the hook's `events` leave this one out.",
            Self::HookRemoved => "Nothing to mend: its call's hook was cut off.",
            Self::Held => "Nothing to mend: it waits for its room's call.",
            Self::NoCall => "Nothing to mend: no caller came into its room, or it belongs to none.",
            Self::Unreadable => "Nothing to mend here: LiveKit sent no JSON object.",
        }
    }
}

impl Reason {
    /// The same, as exactly as is known: by the caller's own attributes, and the domain dialled.
    pub fn advice(self, caller: Option<&Caller<'_>>, domain: Option<&str>) -> String {
        let trunk = caller.and_then(|caller| caller.trunk.as_deref());
        let trunk = trunk.map_or("the trunk".to_owned(), |trunk| format!("trunk {trunk}"));
        match (self, caller, domain) {
            (Self::NoHook, _, Some(domain)) => {
                format!("{} Then: switchhook replay --unrouted --domain {domain}", self.fix())
            }
            (Self::NoDomain, Some(Caller { to: Some(_), .. }), _) => format!(
                "{trunk} maps To, but not X-To-IP, and --to-fallback is off: map X-To-IP (include_headers \
                 SIP_X_HEADERS), or turn it on."
            ),
            (Self::NoDomain, Some(Caller { to: None, .. }), _) => format!(
                "{trunk} maps no header: set its include_headers to SIP_X_HEADERS, or headers_to_attributes."
            ),
            _ => self.fix().to_owned(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The URL an event came by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Door {
    /// The platform's: whose it is, the rules find out.
    #[default]
    Platform,
    /// A tenant's own.
    Tenant {
        tenant: Tenant,
        /// Signed with the tenant's own LiveKit key, not with the platform's.
        own_key: bool,
    },
}

impl Door {
    /// The tenant whose URL it is.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Platform => None,
            Self::Tenant { tenant, .. } => Some(tenant),
        }
    }

    /// What a name (of a room, a session, an event) is known by: names a tenant's own LiveKit gives
    /// stand in a space of their own, so that they bind and shadow nothing of anybody else's.
    pub fn key<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match self {
            // No tenant's name holds an @, so the last one tells.
            Self::Tenant { tenant, own_key: true } => Cow::Owned(format!("{name}@{tenant}")),
            _ if name.contains('@') => Cow::Owned(format!("{name}@")),
            _ => Cow::Borrowed(name),
        }
    }
}

/// The name behind a [`Door::key`].
pub fn name(key: &str) -> &str {
    key.rsplit_once('@').map_or(key, |(name, _)| name)
}

/// Where one event goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The SIP domain the event names, if any.
    pub domain: Option<Domain>,
    /// The attribute it was read from, or that holds none.
    pub source: Option<&'static str>,
    /// The hook and the rule that found it, or why there is none.
    pub outcome: Result<(Arc<Hook>, Rule), Reason>,
    /// What the call was bound to, if that is why.
    pub bound: Option<Binding>,
}

impl Route {
    /// An event for nobody that names no domain.
    pub fn unrouted(reason: Reason) -> Self {
        Self { domain: None, source: None, outcome: Err(reason), bound: None }
    }

    /// The same by the name it has outside: what came by a tenant's URL is found by rule `url`.
    #[must_use]
    pub fn named(self, door: &Door) -> Self {
        match (door, self.outcome) {
            (Door::Tenant { .. }, Ok((hook, _))) => Self { outcome: Ok((hook, Rule::Url)), ..self },
            (_, outcome) => Self { outcome, ..self },
        }
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

/// Routes `event` by the hooks that are seen and by what is known of its call. `to_fallback`: whether
/// `sip.h.to` may stand in for an `sip.h.x-to-ip` that is absent, empty or unparseable.
///
/// On a tenant's URL what no other rule places goes to the tenant's first hook, by rule `url`; what one
/// does place keeps that rule's name until [`Route::named`].
pub fn route(event: &Event<'_>, hooks: View<'_>, to_fallback: bool, call: Option<&Call>) -> Route {
    let route = by_rules(event, hooks, to_fallback, call);
    match (&route.outcome, hooks.tenant()) {
        (Err(_), Some(_)) => {
            let first = hooks.first().map(|hook| (Arc::clone(hook), Rule::Url));
            Route { outcome: first.ok_or(Reason::HookRemoved), ..route }
        }
        _ => route,
    }
}

fn by_rules(event: &Event<'_>, hooks: View<'_>, to_fallback: bool, call: Option<&Call>) -> Route {
    // On a tenant's URL another tenant's binding is not seen.
    let seen = |bound: &Binding| hooks.tenant().is_none() || hooks.by_id(bound.hook).is_some();
    let placement = event.participant.as_deref().and_then(|sid| call?.placement(sid));
    let placement = placement.filter(|placement| match placement {
        Placement::At(bound) => seen(bound),
        Placement::Nowhere(..) => hooks.tenant().is_none(),
    });
    let binding = call.and_then(|call| call.binding.as_ref()).filter(|bound| seen(bound));
    match (placement, &event.caller, binding) {
        (Some(Placement::At(bound)), caller, _) => {
            let (domain, source) =
                caller.as_ref().map(|caller| domain(caller, to_fallback)).unwrap_or_default();
            Route { domain, source, ..bound_to(&bound, Rule::Participant, hooks) }
        }
        (_, Some(caller), _) => route_caller(caller, hooks, to_fallback),
        // What the rules could not place belongs to nobody, even in a bound room: it may be a
        // tenant's whose hook is missing.
        (Some(Placement::Nowhere(reason, domain)), None, _) => Route { domain, ..Route::unrouted(reason) },
        (None, None, Some(bound)) => bound_to(bound, Rule::Call, hooks),
        (None, None, None) => match event.outbound_trunk.as_deref().and_then(|trunk| hooks.by_trunk(trunk)) {
            Some(hook) => {
                let outcome = Ok((Arc::clone(hook), Rule::Trunk));
                Route { domain: None, source: None, outcome, bound: None }
            }
            None if event.call().is_some() => Route::unrouted(Reason::Held),
            None => Route::unrouted(Reason::NoCall),
        },
    }
}

fn bound_to(bound: &Binding, rule: Rule, hooks: View<'_>) -> Route {
    let outcome = match hooks.by_id(bound.hook) {
        Some(hook) => Ok((Arc::clone(hook), rule)),
        None => Err(Reason::HookRemoved),
    };
    Route { domain: None, source: None, outcome, bound: Some(bound.clone()) }
}

/// The attributes a domain may stand in, and what they hold.
fn headers<'c>(caller: &'c Caller<'_>, to_fallback: bool) -> [(&'static str, Option<&'c str>); 2] {
    let to = if to_fallback { caller.to.as_deref() } else { None };
    [("sip.h.x-to-ip", caller.x_to_ip.as_deref()), ("sip.h.to", to)]
}

/// The domain a caller dialled, and where that stands. Only one is ever tried: an X-To-IP without a
/// hook does not fall through to To, which the caller chose.
fn domain(caller: &Caller<'_>, to_fallback: bool) -> (Option<Domain>, Option<&'static str>) {
    let present =
        || headers(caller, to_fallback).into_iter().filter_map(|(name, value)| Some((name, value?)));
    let read = present().find_map(|(name, value)| Some((name, Domain::from_sip(value).ok()?)));
    match read {
        Some((name, domain)) => (Some(domain), Some(name)),
        None => (None, present().next().map(|(name, _)| name)),
    }
}

fn route_caller(caller: &Caller<'_>, hooks: View<'_>, to_fallback: bool) -> Route {
    let (domain, source) = domain(caller, to_fallback);
    let by_domain = domain.as_ref().and_then(|domain| hooks.by_domain(domain));
    let by_number = || caller.number.as_deref().and_then(|number| hooks.by_number(number));
    // The catch-all comes last: it would hide numbers and trunks.
    let any = || domain.as_ref().and_then(|_| hooks.any());
    let by_trunk = || caller.trunk.as_deref().and_then(|trunk| hooks.by_trunk(trunk));
    let outcome = by_domain
        .map(|hook| (hook, Rule::Domain))
        .or_else(|| by_number().map(|hook| (hook, Rule::Number)))
        .or_else(|| by_trunk().map(|hook| (hook, Rule::Trunk)))
        .or_else(|| any().map(|hook| (hook, Rule::Domain)))
        .map(|(hook, rule)| (Arc::clone(hook), rule))
        .ok_or(match (&domain, source) {
            (Some(_), _) => Reason::NoHook,
            (None, None) => Reason::NoDomain,
            (None, Some(_)) => Reason::BadDomain,
        });
    Route { domain, source, outcome, bound: None }
}
