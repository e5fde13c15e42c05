//! A past event of a SIP participant: what routing read of it, and where it went.

use crate::calls::SipFacts;
use crate::ids::HookId;
use crate::route::{Door, Reason, Rule};
use crate::time::UnixMillis;

/// What is kept of an event of a SIP participant, longer than the event.
#[derive(Clone, Debug)]
pub struct KeptFact {
    /// Its row among the events.
    pub seq: i64,
    pub received_at: UnixMillis,
    /// The key of its session.
    pub call: Option<String>,
    pub facts: SipFacts,
    pub door: Door,
    pub went: Went,
}

/// Where an event went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Went {
    /// To a tenant; also if the hook did not want events of its name.
    To {
        tenant: String,
        /// None: its hook did not want it, or filtered it out.
        rule: Option<Rule>,
        hook: Option<HookId>,
    },
    /// To nobody.
    Nowhere,
    /// An operator had cut its call off.
    CutOff,
}

impl Went {
    /// As the columns `tenant`, `outcome` and `hook` of an event say.
    pub fn stored(tenant: Option<String>, outcome: &str, hook: Option<HookId>) -> Self {
        match tenant {
            _ if outcome == Reason::HookRemoved.as_str() => Self::CutOff,
            Some(tenant) => Self::To { tenant, rule: Rule::named(outcome), hook },
            None => Self::Nowhere,
        }
    }

    /// The tenant it went to.
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::To { tenant, .. } => Some(tenant),
            Self::Nowhere | Self::CutOff => None,
        }
    }

    /// The rule that found the hook.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Self::To { rule, .. } => *rule,
            Self::Nowhere | Self::CutOff => None,
        }
    }

    /// The hook.
    pub fn hook(&self) -> Option<HookId> {
        match self {
            Self::To { hook, .. } => *hook,
            Self::Nowhere | Self::CutOff => None,
        }
    }
}
