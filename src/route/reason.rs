//! The names of decisions: the rule that chose a hook, or the reason why none did.

use std::fmt;

use crate::event::Caller;

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
