//! Which header becomes which attribute, and whether callers choose their tenant by it.

use crate::cli::doctor::finding::{Finding, Severity, Subject, is_harmless, listed};
use crate::cli::doctor::sip::InboundTrunk;

/// The attributes that routing reads from headers.
pub const X_TO_IP: &str = "sip.h.x-to-ip";
pub const TO: &str = "sip.h.to";

/// All that routing reads, each with the only header that may become it.
const ROUTED: [(&str, Option<&str>); 5] = [
    (X_TO_IP, Some("X-To-IP")),
    (TO, Some("To")),
    ("sip.ruleID", None),
    ("sip.trunkID", None),
    ("sip.trunkPhoneNumber", None),
];

/// Whether the right header becomes this attribute.
pub fn maps(trunk: &InboundTrunk, attribute: &str) -> bool {
    trunk.headers_to_attributes.iter().any(|(header, name)| name == attribute && !is_of_callers(header, name))
}

/// Headers that callers write, and the attribute that routing reads of each.
pub struct OfCallers<'t> {
    trunk: &'t InboundTrunk,
    headers: Vec<(&'t str, &'t str)>,
}

impl<'t> OfCallers<'t> {
    /// Those of a trunk.
    pub fn of(trunk: &'t InboundTrunk) -> Self {
        let all = trunk.headers_to_attributes.iter();
        let headers = all.filter(|(header, name)| is_of_callers(header, name));
        Self { trunk, headers: headers.map(|(header, name)| (header.as_str(), name.as_str())).collect() }
    }

    /// Whether one of them becomes this attribute.
    pub fn give(&self, attribute: &str) -> bool {
        self.headers.iter().any(|(_, name)| *name == attribute)
    }

    /// What is wrong with them.
    pub fn finding(&self) -> Option<Finding> {
        if self.headers.is_empty() {
            return None;
        }
        let told: Vec<_> =
            self.headers.iter().map(|(header, name)| format!("{name} of the header {header}")).collect();
        let text = [
            format!("makes {}", listed(told.iter().map(String::as_str))),
            "routing reads these attributes, and the edge replaces X-To-IP alone: whoever writes the other headers \
             chooses the tenant"
                .to_owned(),
            "map X-To-IP to sip.h.x-to-ip, To to sip.h.to if need be, and other headers to other attributes"
                .to_owned(),
        ];
        let subject = Subject::of("inbound trunk", &self.trunk.id, &self.trunk.name);
        Some(Finding::new(Severity::Problem, "maps_a_header_of_callers", subject, text))
    }

    /// The edit that removes them; None: one has a name that is not to be copied into a shell.
    pub fn removal(&self) -> Option<String> {
        let quote = |(header, _): &(&str, &str)| is_harmless(header).then(|| format!("\"{header}\""));
        let names: Option<Vec<_>> = self.headers.iter().map(quote).collect();
        Some(format!("del(.headersToAttributes[{}])", names?.join(", ")))
    }
}

/// Whether routing reads this attribute, but of another header. Names of headers count in any case (RFC 3261 §7.3.1).
fn is_of_callers(header: &str, attribute: &str) -> bool {
    let routed = ROUTED.iter().find(|(name, _)| *name == attribute);
    routed.is_some_and(|(_, own)| own.is_none_or(|own| !header.eq_ignore_ascii_case(own)))
}

/// A mapping that was meant for routing: names of attributes count letter by letter.
pub fn misspelt(trunk: &InboundTrunk) -> Option<(&str, &str)> {
    let bare = |name: &str| name.to_ascii_lowercase().replace(['_', '-', '.', ' '], "");
    let is_meant = |(header, attribute): &(&String, &String)| {
        matches!(bare(header).as_str(), "xtoip" | "to")
            || matches!(bare(attribute).as_str(), "siphxtoip" | "siphto")
    };
    let found = trunk.headers_to_attributes.iter().find(is_meant);
    found.map(|(header, attribute)| (header.as_str(), attribute.as_str()))
}
