//! Which numbers and trunks hooks have, and which of them LiveKit lacks.

use std::collections::{HashMap, HashSet};

use super::finding::{Finding, Severity, Subject, listed};
use super::sip::{DispatchRule, InboundTrunk, Sip};
use crate::hooks::Number;

/// A hook, as far as LiveKit's trunks matter to it.
#[derive(Clone, Debug)]
pub struct FoundBy {
    pub host: String,
    pub tenant: String,
    pub numbers: Vec<String>,
    pub trunks: Vec<String>,
}

/// All hooks.
#[derive(Debug, Default)]
pub struct HookIndex {
    all: Vec<FoundBy>,
    /// The tenant of each number and of each trunk.
    numbers: HashMap<Number, String>,
    trunks: HashMap<String, String>,
}

impl HookIndex {
    /// The hooks of these hooks.
    pub fn new(all: Vec<FoundBy>) -> Self {
        let mut hooks = Self::default();
        for FoundBy { tenant, numbers, trunks, .. } in &all {
            let numbers = numbers.iter().filter_map(|number| Number::new(number));
            hooks.numbers.extend(numbers.map(|number| (number, tenant.clone())));
            hooks.trunks.extend(trunks.iter().map(|trunk| (trunk.clone(), tenant.clone())));
        }
        Self { all, ..hooks }
    }

    /// Whether any hook is found by a number.
    pub fn have_numbers(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// Whether every call over a trunk has a tenant without a domain: by its id, or by each of its numbers.
    pub fn cover(&self, trunk: &InboundTrunk) -> bool {
        let mut numbers = trunk.numbers.iter().map(|number| self.tenant_of(number));
        self.trunks.contains_key(&trunk.id)
            || (!trunk.numbers.is_empty() && numbers.all(|tenant| tenant.is_some()))
    }

    /// Whether a rule's calls are all of one tenant: those of its trunks, or of the numbers called.
    pub fn are_of_one_tenant(&self, rule: &DispatchRule) -> bool {
        let trunks = rule.trunk_ids.iter().map(|trunk| self.trunks.get(trunk).map(String::as_str));
        let numbers = rule.numbers.iter().map(|number| self.tenant_of(number));
        is_one(trunks) || is_one(numbers)
    }

    fn tenant_of(&self, number: &str) -> Option<&str> {
        self.numbers.get(&Number::new(number)?).map(String::as_str)
    }

    /// Numbers and trunks of hooks that LiveKit does not have.
    pub fn findings(&self, sip: &Sip) -> Vec<Finding> {
        let Some(inbound) = &sip.inbound else { return Vec::new() };
        // A trunk without numbers takes all that no other one has.
        let takes_all = inbound.iter().any(|trunk| trunk.numbers.is_empty());
        let taken: HashSet<_> = inbound
            .iter()
            .flat_map(|trunk| &trunk.numbers)
            .filter_map(|number| Number::new(number))
            .collect();
        let numbers = self.all.iter().filter(|_| !takes_all).filter_map(|hook| lost_numbers(hook, &taken));
        // Unless both lists are known, a missing id may be in the other one.
        let known = sip.outbound.as_ref().map(|outbound| {
            let ids = inbound.iter().map(|trunk| trunk.id.as_str());
            ids.chain(outbound.iter().map(|trunk| trunk.id.as_str())).collect::<HashSet<_>>()
        });
        let trunks = self.all.iter().filter_map(|hook| lost_trunks(hook, known.as_ref()?));
        numbers.chain(trunks).collect()
    }
}

/// Whether there are some, and all have the same tenant.
fn is_one<'t>(mut tenants: impl Iterator<Item = Option<&'t str>>) -> bool {
    let Some(Some(first)) = tenants.next() else { return false };
    tenants.all(|tenant| tenant == Some(first))
}

fn lost_numbers(hook: &FoundBy, taken: &HashSet<Number>) -> Option<Finding> {
    let is_taken = |number: &str| Number::new(number).is_some_and(|number| taken.contains(&number));
    let lost: Vec<_> = hook.numbers.iter().map(String::as_str).filter(|number| !is_taken(number)).collect();
    (!lost.is_empty()).then(|| {
        Finding::new(
            Severity::Warning,
            "number_without_trunk",
            Subject::of("hook", &hook.host, ""),
            [
                format!("has numbers that no inbound trunk has: {}", listed(lost)),
                "LiveKit takes no call to them, so this hook is not found by them".to_owned(),
                "add them to `numbers` of the trunk they come by, or remove them from the hook".to_owned(),
            ],
        )
    })
}

fn lost_trunks(hook: &FoundBy, known: &HashSet<&str>) -> Option<Finding> {
    let lost: Vec<_> =
        hook.trunks.iter().map(String::as_str).filter(|trunk| !known.contains(trunk)).collect();
    (!lost.is_empty()).then(|| {
        Finding::new(
            Severity::Warning,
            "trunk_unknown_to_livekit",
            Subject::of("hook", &hook.host, ""),
            [
                format!("has trunks that this LiveKit does not have: {}", listed(lost)),
                "a trunk that is made anew has a new id, and the hook is not found by the old one".to_owned(),
                "compare them with `lk sip inbound list` and `lk sip outbound list`, and mend the hook's `trunks`"
                    .to_owned(),
            ],
        )
    })
}
