//! What of a new hook table sends a call elsewhere, in words.

use super::PreviewGround;
use super::fact::{KeptFact, Went};
use crate::hooks::{Hook, HostPattern};
use crate::route::{Reason, Route, Rule};

impl PreviewGround<'_> {
    /// Why an event would go elsewhere than it did.
    pub(super) fn why(&self, fact: &KeptFact, route: &Route) -> String {
        let before = fact.went.hook().and_then(|hook| self.hosts.get(&hook));
        match &route.outcome {
            Ok((hook, rule)) => self.found(fact, before, hook, *rule),
            Err(reason) => self.lost(&fact.went, before, *reason),
        }
    }

    fn found(&self, fact: &KeptFact, before: Option<&HostPattern>, hook: &Hook, rule: Rule) -> String {
        let host = &hook.host;
        match (rule, before) {
            _ if fact.door.tenant().is_some() => format!("its URL leads to {host}"),
            (Rule::Number, _) => format!("numbers of {host}"),
            (Rule::Trunk, _) => format!("trunks of {host}"),
            (Rule::Participant | Rule::Call, _) => format!("its call belongs to {host}"),
            (Rule::Domain | Rule::Url, Some(before)) if before == host => {
                "the host belongs to another tenant".to_owned()
            }
            (Rule::Domain | Rule::Url, Some(before)) if !self.has(before) => {
                format!("{before} was removed, {host} takes its calls")
            }
            (Rule::Domain | Rule::Url, Some(before)) if fact.went.rule() == Some(Rule::Domain) => {
                format!("{host} is more specific than {before}")
            }
            (Rule::Domain | Rule::Url, Some(before)) => {
                format!("{host} has the domain, which comes before numbers and trunks of {before}")
            }
            (Rule::Domain | Rule::Url, None) if self.has_added(host) => match host {
                HostPattern::Exact(_) => "the host was added".to_owned(),
                HostPattern::Below(_) | HostPattern::Any => format!("{host} was added"),
            },
            (Rule::Domain | Rule::Url, None) => format!("{host} has it"),
        }
    }

    fn lost(&self, went: &Went, before: Option<&HostPattern>, reason: Reason) -> String {
        match (went.rule(), before) {
            (_, Some(before)) if !self.has(before) => match before {
                HostPattern::Exact(_) if went.rule() == Some(Rule::Domain) => {
                    "the host was removed".to_owned()
                }
                _ => format!("{before} was removed"),
            },
            (Some(Rule::Number), Some(before)) => format!("{before} has the number no longer"),
            (Some(Rule::Trunk), Some(before)) => format!("{before} has the trunk no longer"),
            _ => reason.fix().to_owned(),
        }
    }

    fn has_added(&self, host: &HostPattern) -> bool {
        self.in_force.is_some_and(|table| table.by_host(host).is_none())
    }

    fn has(&self, host: &HostPattern) -> bool {
        self.table.by_host(host).is_some()
    }
}
