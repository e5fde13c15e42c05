//! Whether anybody can call past the edge.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cli::doctor::finding::{Finding, Severity, Subject, listed};
use crate::cli::doctor::sip::InboundTrunk;

/// What is wrong with the addresses that a trunk allows.
pub fn finding(trunk: &InboundTrunk) -> Option<Finding> {
    let masks = Masks::of(&trunk.allowed_addresses);
    if !masks.names.is_empty() {
        let what = format!("has allowed addresses that are none: {}", listed(masks.names));
        let why = "LiveKit compares a name with the host in From, which the caller writes at will";
        return Some(about(trunk, Severity::Problem, "address_is_a_name", &what, why));
    }
    if let Some(what) = masks.open() {
        return Some(open(trunk, &what));
    }
    (!masks.ignored.is_empty()).then(|| {
        let what = format!("has allowed addresses that LiveKit ignores: {}", listed(masks.ignored));
        let why = "calls from there are refused, or come in by another trunk";
        about(trunk, Severity::Warning, "address_ignored", &what, why)
    })
}

fn open(trunk: &InboundTrunk, what: &str) -> Finding {
    let (severity, why) = if trunk.auth_username.is_empty() {
        (
            Severity::Problem,
            "whoever reaches LiveKit's SIP port past the edge can write X-To-IP: the call goes to any tenant it names",
        )
    } else {
        (
            Severity::Warning,
            "whoever has its password can call past the edge and write X-To-IP: the call goes to any tenant it names",
        )
    };
    about(trunk, severity, "takes_calls_from_everywhere", what, why)
}

fn about(trunk: &InboundTrunk, severity: Severity, check: &'static str, what: &str, why: &str) -> Finding {
    let fix = "allow the edge alone: EDGE_IP is its address as LiveKit sees it";
    let subject = Subject::of("inbound trunk", &trunk.id, &trunk.name);
    Finding::new(severity, check, subject, [what, why, fix].map(str::to_owned))
}

/// Allowed addresses by what LiveKit makes of them (livekit/protocol, `sip/sip.go`, `matchAddrMasks`).
#[derive(Default)]
struct Masks<'t> {
    /// Left out; if nothing else is there, every address is allowed.
    ignored: Vec<&'t str>,
    /// Compared with the host in From.
    names: Vec<&'t str>,
    /// Compared with the caller's address.
    networks: Vec<IpNet>,
}

impl<'t> Masks<'t> {
    fn of(allowed: &'t [String]) -> Self {
        let mut masks = Self::default();
        for mask in allowed {
            let network = mask.parse::<IpNet>().ok().or_else(|| mask.parse::<IpAddr>().ok().map(IpNet::from));
            if mask.contains(|c: char| "()+*;, \t\n\r".contains(c)) || mask.contains("://") {
                masks.ignored.push(mask);
            } else if let Some(network) = network {
                masks.networks.push(network);
            } else {
                masks.names.push(mask);
            }
        }
        masks
    }

    /// That every address is allowed, and why; None: not every one is.
    fn open(&self) -> Option<String> {
        // Two halves are a whole.
        let is_whole = IpNet::aggregate(&self.networks).iter().any(|network| network.prefix_len() == 0);
        let why = match (is_whole, self.networks.is_empty(), self.ignored.is_empty()) {
            (true, ..) => ": what it allows is every address".to_owned(),
            (false, false, _) => return None,
            (false, true, true) => String::new(),
            (false, true, false) => {
                format!(": LiveKit ignores what it allows ({})", listed(self.ignored.iter().copied()))
            }
        };
        Some(format!("takes calls from every address{why}"))
    }
}
