//! The decision for one event: which hook, by which rule, or why none. Pure.

mod call;
mod explained;
mod reason;

use std::borrow::Cow;
use std::sync::Arc;

pub use self::call::{Binding, Call, Placement};
pub use self::explained::{Basis, explain, route_first};
pub use self::reason::{Reason, Rule};

use crate::domain::Domain;
use crate::event::{Caller, Event};
use crate::hooks::{Hook, Tenant, View};
use crate::ids::HookId;

/// The URL an event came by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Door {
    /// The platform's: the rules find the tenant.
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

    /// The key of a name (of a room, a session, an event) in the store: names that a tenant's own LiveKit gave
    /// have keys of that tenant, so that they never match another LiveKit's.
    pub fn key<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match self {
            // No tenant's name contains an @, so the last @ ends the name.
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

/// The space of a [`Door::key`]: the tenant whose own LiveKit gave the name; empty: the platform's.
pub fn space(key: &str) -> &str {
    key.rsplit_once('@').map_or("", |(_, space)| space)
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
    /// An event without a hook that names no domain.
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
    // On a tenant's URL a binding to another tenant is ignored.
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
        // A participant that the rules could not place has no hook, even in a bound room: it may belong to a
        // tenant whose hook is missing.
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
        None if bound.hook == HookId::DAMAGED => Err(Reason::Damaged),
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
