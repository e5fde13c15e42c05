//! The rules and the reasons, by name. Each list is written once: a rule or a reason that is added here is part
//! of `ALL`, and every `match` over it fails to compile until it handles the new one.

use std::fmt;
use std::net::Ipv4Addr;

use crate::event::Caller;

/// An enum whose variants have names that are part of the contract (headers, log, metrics, store).
macro_rules! named {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$what:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[$what])* $variant,)+
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name, part of the contract.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The one of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// The rule that chose a hook, in the order they are tried; its name goes into `switchhook-route`, log
    /// and metrics.
    pub enum Rule {
        /// The tenant's own URL it came by.
        Url = "url",
        /// A participant that another rule has placed in this call.
        Participant = "participant",
        /// The SIP domain the caller dialled.
        Domain = "domain",
        /// The number dialled, for carriers that share one domain.
        Number = "number",
        /// The SIP trunk the call came over.
        Trunk = "trunk",
        /// The call its room is bound to.
        Call = "call",
    }
}

named! {
    /// Why an event goes to no hook.
    pub enum Reason {
        /// The body is no JSON object.
        Unreadable = "unreadable",
        /// The caller dialled a domain no hook has.
        NoHook = "no_hook",
        /// The SIP headers are there, and none of them holds a domain.
        BadDomain = "bad_domain",
        /// The trunk maps neither `X-To-IP` nor `To` to an attribute.
        NoDomain = "no_domain",
        /// Its hook does not want events of this name.
        Filtered = "filtered",
        /// Its call is bound to a hook that was cut off.
        HookRemoved = "hook_removed",
        /// What is stored of its call is damaged.
        Damaged = "damaged",
        /// Its room's tenant is not known yet: it waits.
        Held = "held",
        /// The event names no tenant, and nothing ties it to a call that does.
        NoCall = "no_call",
    }
}

impl Rule {
    /// Whether it decides by the event itself, not by what is known of its call: such an event binds a call
    /// that is not bound yet.
    pub fn decides_by_event(self) -> bool {
        match self {
            Self::Url | Self::Domain | Self::Number | Self::Trunk => true,
            Self::Participant | Self::Call => false,
        }
    }
}

impl Reason {
    /// Whether the rules may find a hook later: after an edit of the table, or once the call is bound. What is
    /// not wanted, cut off or unreadable stays so.
    pub fn is_mendable(self) -> bool {
        match self {
            Self::NoHook | Self::BadDomain | Self::NoDomain | Self::Damaged | Self::Held | Self::NoCall => {
                true
            }
            Self::Unreadable | Self::Filtered | Self::HookRemoved => false,
        }
    }

    /// Whether the event waits for its call to be bound, or has waited in vain.
    pub fn waits_for_call(self) -> bool {
        match self {
            Self::Held | Self::NoCall => true,
            Self::Unreadable
            | Self::NoHook
            | Self::BadDomain
            | Self::NoDomain
            | Self::Filtered
            | Self::HookRemoved
            | Self::Damaged => false,
        }
    }
}

impl Reason {
    /// What it means, as a clause about the event.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Unreadable => "its body is no JSON object",
            Self::NoHook => "no hook has the domain its caller dialled",
            Self::BadDomain => "its caller's SIP headers hold no domain",
            Self::NoDomain => "its SIP trunk passes on no header that holds a domain",
            Self::Filtered => "its hook does not want events of this name",
            Self::HookRemoved => "its call is bound to a hook that was removed",
            Self::Damaged => "what is stored of its call is damaged, so whose it is, is not known",
            Self::Held => "it waits for the caller who decides which tenant its call belongs to",
            Self::NoCall => "no caller came into its room, or none whose domain has a hook",
        }
    }

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
            Self::Damaged => {
                "`switchhook store check` names what is damaged. After `switchhook store recover`, replay it: it goes to \
                 its call's hook if that is known again."
            }
            Self::Held => "Nothing to mend: it waits for its room's call.",
            Self::NoCall => "Nothing to mend: no caller came into its room, or it belongs to none.",
            Self::Unreadable => "Nothing to mend here: LiveKit sent no JSON object.",
        }
    }
}

impl Reason {
    /// The same in more detail, where the caller's attributes or the dialled domain are known.
    pub fn advice(self, caller: Option<&Caller<'_>>, domain: Option<&str>) -> String {
        let trunk = caller.and_then(|caller| caller.trunk.as_deref());
        let trunk = trunk.map_or("the trunk".to_owned(), |trunk| format!("trunk {trunk}"));
        match (self, caller, domain) {
            (Self::NoHook, _, Some(domain)) if is_address(domain) => format!(
                "The carrier dials an address, which all tenants share: let it dial the tenant's name, or add the \
                 called number to the hook's `numbers`. Then: switchhook replay --unrouted --domain {domain}"
            ),
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

/// Whether a domain is an IP address, spelled as [`crate::domain::Domain`] does: IPv6 in brackets.
fn is_address(domain: &str) -> bool {
    domain.starts_with('[') || domain.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_that_dials_an_address_is_told_to_dial_a_name() {
        for (domain, is_address) in [
            ("127.0.0.10", true),
            ("[2001:db8::7]", true),
            ("calls.acme.example", false),
            ("10.acme.example", false),
        ] {
            let advice = Reason::NoHook.advice(None, Some(domain));
            assert_eq!(advice.starts_with("The carrier dials an address"), is_address, "{advice}");
            assert!(advice.ends_with(&format!("--domain {domain}")), "{advice}");
        }
    }
}
