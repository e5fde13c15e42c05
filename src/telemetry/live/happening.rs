//! What happened, as an operator sees it, and what others may see of it.

use std::time::Duration;

use crate::access::Scope;
use crate::calls::{Fate, Next, Receipt, Released};
use crate::delivery::{Attempt, Delivery};
use crate::domain::Domain;
use crate::route::Reason;
use crate::time::{fine_millis, millis};
use crate::wire::{AttemptStory, LiveAttempt, LiveEvent, LiveKind, LiveOutcome};

/// What happened to an event.
#[derive(Clone, PartialEq, Debug)]
pub struct Happening {
    /// All of it, as an operator sees it.
    pub told: LiveEvent,
    /// The tenant whose own LiveKit sent the event; empty: the platform's.
    space: Box<str>,
}

impl Happening {
    /// Whether a scope has it: an event that a hook has is its tenant's. Of others, a tenant sees those of its own
    /// LiveKit, and those that no hook has and whose caller dialled a domain that its token's hosts cover. What is
    /// held is nobody's yet.
    pub fn is_within(&self, scope: &Scope) -> bool {
        let LiveEvent { what, tenant, domain, .. } = &self.told;
        match (tenant, what) {
            (Some(tenant), _) => scope.sees(tenant),
            (None, LiveKind::Unrouted) => scope.sees_unrouted(&self.space, domain.as_deref()),
            (None, _) => scope.sees_unrouted(&self.space, None),
        }
    }

    /// Whether a scope that has it is shown its call. An event of the platform's LiveKit that no hook has may be part of
    /// another tenant's call.
    pub fn shows_call(&self, scope: &Scope) -> bool {
        self.told.tenant.is_some() || scope.is_operator() || !self.space.is_empty()
    }

    /// As a scope that has it sees it. `nearest`: the hosts most like a domain, among those of the scope.
    pub fn within(&self, scope: &Scope, nearest: impl FnOnce(&Domain) -> Vec<String>) -> LiveEvent {
        let mut told = self.told.clone();
        if !self.shows_call(scope) {
            (told.call, told.room) = (None, None);
        }
        if told.tenant.is_some() || scope.is_operator() {
            return told;
        }
        let is_searched = told.reason.as_deref() == Some(Reason::NoHook.as_str());
        let domain = told.domain.as_deref().filter(|_| is_searched).map(Domain::stored);
        told.nearest = domain.as_ref().map(nearest).unwrap_or_default();
        told
    }
}

/// An event, before anything is said of it.
fn blank(what: LiveKind, at: String, id: &str, event: &str) -> LiveEvent {
    LiveEvent {
        what,
        at,
        id: id.to_owned(),
        event: event.to_owned(),
        call: None,
        room: None,
        who: None,
        domain: None,
        tenant: None,
        host: None,
        rule: None,
        reason: None,
        nearest: Vec::new(),
        sequence: None,
        lag_ms: None,
        held_ms: None,
        attempt: None,
        request: None,
    }
}

/// The same with where a delivery goes.
fn routed(told: LiveEvent, delivery: &Delivery) -> LiveEvent {
    LiveEvent {
        call: delivery.call.as_deref().map(str::to_owned),
        domain: delivery.domain.as_ref().map(ToString::to_string),
        tenant: Some(delivery.hook.tenant.to_string()),
        host: Some(delivery.hook.host.to_string()),
        rule: Some(delivery.rule.as_str().to_owned()),
        sequence: Some(delivery.sequence),
        ..told
    }
}

/// An event came. None: it cannot be decided yet; what became of it is sent when it is decided.
pub fn of_receipt(receipt: &Receipt, nearest: Option<&[String]>) -> Option<Happening> {
    let (what, reason) = match &receipt.fate {
        Fate::Routed(_) => (LiveKind::Received, None),
        Fate::Unrouted(Reason::Held) => (LiveKind::Held, None),
        Fate::Unrouted(reason) => (LiveKind::Unrouted, Some(*reason)),
        Fate::Duplicate => (LiveKind::Duplicate, None),
        Fate::Undecided => return None,
    };
    let post = &receipt.post;
    let told = blank(what, post.received_at.to_string(), post.id.as_str(), receipt.event());
    let told = match &receipt.fate {
        Fate::Routed(delivery) => routed(told, delivery),
        Fate::Unrouted(_) | Fate::Duplicate | Fate::Undecided => LiveEvent {
            call: receipt.call().map(Into::into),
            domain: receipt.domain.as_ref().map(ToString::to_string),
            ..told
        },
    };
    let told = LiveEvent {
        room: receipt.room().map(Into::into),
        who: receipt.identity().map(Into::into),
        reason: reason.map(|reason| reason.as_str().to_owned()),
        nearest: nearest.map(<[String]>::to_vec).unwrap_or_default(),
        lag_ms: receipt.lag_ms(),
        ..told
    };
    Some(Happening { told, space: post.space().map(|tenant| tenant.as_str().into()).unwrap_or_default() })
}

/// An event that waited goes now.
pub fn of_released(released: &Released, what: LiveKind) -> Happening {
    let Released { event_id, event, call, rule, tenant, sequence, held_ms, ready } = released;
    let freed_at = ready.fresh.as_ref().and_then(|delivery| delivery.freed_at).unwrap_or_default();
    let told = blank(what, freed_at.to_string(), event_id.as_str(), event);
    let told = match &ready.fresh {
        Some(delivery) => routed(told, delivery),
        None => told,
    };
    let told = LiveEvent {
        call: call.as_ref().map(ToString::to_string),
        tenant: Some(tenant.to_string()),
        rule: Some(rule.as_str().to_owned()),
        sequence: Some(*sequence),
        held_ms: Some(*held_ms).filter(|_| what == LiveKind::Released),
        ..told
    };
    Happening { told, space: Box::default() }
}

/// An attempt has ended.
pub fn of_attempt(
    delivery: &Delivery,
    attempt: &Attempt,
    next: Next,
    (next_in, total): (Option<Duration>, Duration),
) -> Happening {
    let (outcome, reason) = match next {
        Next::Delivered => (LiveOutcome::Delivered, None),
        Next::Retry { .. } => (LiveOutcome::Failed, None),
        Next::Dead(reason) => (LiveOutcome::Dead, Some(reason)),
    };
    let ended = attempt.at.after(attempt.latency).to_string();
    let told = blank(LiveKind::Attempt, ended, delivery.event_id.as_str(), &delivery.event);
    let is_over = outcome != LiveOutcome::Failed;
    let attempt = LiveAttempt {
        outcome,
        attempt: AttemptStory {
            number: attempt.number,
            at: attempt.at.to_string(),
            status: attempt.status(),
            error: attempt.fault().map(str::to_owned),
            latency_ms: fine_millis(attempt.latency),
            url: Some(attempt.url.to_string()),
        },
        next_in_ms: next_in.filter(|_| !is_over).map(millis),
        total_ms: is_over.then(|| millis(total)),
    };
    let reason = reason.map(|reason| reason.as_str().to_owned());
    let told = LiveEvent { reason, attempt: Some(attempt), ..routed(told, delivery) };
    Happening { told, space: Box::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Grant;

    fn acme() -> Scope {
        Scope::of_tenant_for_tests(Grant::for_tests("acme", &["calls.acme.example"]))
    }

    fn happening(what: LiveKind, tenant: Option<&str>, space: &str, domain: Option<&str>) -> Happening {
        let told = LiveEvent {
            call: Some("RM_call".to_owned()),
            room: Some("a-room".to_owned()),
            tenant: tenant.map(str::to_owned),
            domain: domain.map(str::to_owned),
            reason: (what == LiveKind::Unrouted).then(|| Reason::NoHook.as_str().to_owned()),
            nearest: vec!["calls.globex.example".to_owned()],
            ..blank(what, String::new(), "EV_1", "participant_joined")
        };
        Happening { told, space: space.into() }
    }

    #[test]
    fn a_tenant_sees_its_own_and_what_nobody_has_that_dialled_its_hosts() {
        use LiveKind::{Attempt, Duplicate, Held, Received, Released, Replayed, Unrouted};
        let (own, other) = (Some("calls.acme.example"), Some("calls.globex.example"));
        let cases = [
            (Received, Some("acme"), "", own, true),
            (Received, Some("globex"), "", own, false),
            (Released, Some("acme"), "", None, true),
            (Replayed, Some("globex"), "", other, false),
            (Attempt, Some("acme"), "", other, true),
            (Attempt, Some("globex"), "", None, false),
            (Held, None, "", None, false),
            (Held, None, "", own, false),
            (Held, None, "acme", None, true),
            (Held, None, "globex", own, false),
            (Duplicate, None, "", own, false),
            (Duplicate, None, "acme", None, true),
            (Unrouted, None, "", own, true),
            (Unrouted, None, "", other, false),
            (Unrouted, None, "", None, false),
            (Unrouted, None, "acme", None, true),
            (Unrouted, None, "globex", own, false),
        ];
        for (what, tenant, space, domain, is_seen) in cases {
            let happening = happening(what, tenant, space, domain);
            assert_eq!(happening.is_within(&acme()), is_seen, "{happening:?}");
            assert!(happening.is_within(&Scope::for_tests()), "{happening:?}");
        }
    }

    #[test]
    fn of_what_nobody_has_a_tenant_sees_neither_the_call_nor_others_hosts() {
        let told = |space: &str, scope: &Scope| {
            let happening = happening(LiveKind::Unrouted, None, space, Some("calls.acme.example"));
            let LiveEvent { call, room, nearest, .. } =
                happening.within(scope, |_| vec!["own.acme.example".to_owned()]);
            (call.is_some(), room.is_some(), nearest.join(" "))
        };
        assert_eq!(told("", &acme()), (false, false, "own.acme.example".to_owned()));
        assert_eq!(told("acme", &acme()), (true, true, "own.acme.example".to_owned()));
        assert_eq!(told("", &Scope::for_tests()), (true, true, "calls.globex.example".to_owned()));
    }
}
