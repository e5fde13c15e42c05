//! What a token permits.

use std::sync::Arc;

use crate::domain::Domain;
use crate::hooks::{HostPattern, Number, Tenant};

/// What the bearer of a verified token may see and change: everything, or one tenant's.
///
/// Its field is private to [`super`], so there is no other way to one than [`super::Tokens::verify`]:
///
/// ```no_run
/// use switchhook::scoped::{Scope, Tokens};
/// fn scope(tokens: &Tokens) -> Option<Scope> {
///     let bearer = tokens.verify("a token", switchhook::UnixMillis(0)).ok()?;
///     Some(bearer.scope)
/// }
/// ```
///
/// What does not compile:
///
/// ```compile_fail
/// use switchhook::scoped::{Scope, Tokens};
/// fn scope(tokens: &Tokens) -> Option<Scope> {
///     Some(Scope::everything())
/// }
/// ```
///
/// ```compile_fail
/// use switchhook::scoped::{Scope, Tokens};
/// fn scope(tokens: &Tokens) -> Option<Scope> {
///     let bearer = tokens.verify("a token", switchhook::UnixMillis(0)).ok()?;
///     Some(Scope(bearer.scope.0))
/// }
/// ```
///
/// ```compile_fail
/// use switchhook::scoped::{Scope, Tokens};
/// fn scope(tokens: &Tokens) -> Option<Scope> {
///     Some(Scope::for_tests())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Scope(Reach);

#[derive(Clone, Debug)]
enum Reach {
    Everything,
    Tenant(Arc<Grant>),
}

/// What a tenant's token permits.
#[derive(Clone, PartialEq, Debug)]
pub struct Grant {
    pub tenant: Tenant,
    /// Hosts it may register: an exact name permits that host; a wildcard permits itself and every host below it.
    pub hosts: Vec<HostPattern>,
    pub numbers: Vec<Number>,
    pub trunks: Vec<String>,
    /// LiveKit API keys that are the tenant's own: its hooks may have them.
    pub livekit: Vec<String>,
    /// Whether its hooks may deliver to the private networks that the operator has opened.
    pub private: bool,
}

#[cfg(test)]
impl Grant {
    /// What a token permits that names these hosts, for tests of what takes one.
    pub fn for_tests(tenant: &str, hosts: &[&str]) -> Self {
        Self {
            tenant: Tenant::new(tenant).expect("a name"),
            hosts: hosts.iter().map(|host| HostPattern::parse(host).expect(host)).collect(),
            numbers: Vec::new(),
            trunks: Vec::new(),
            livekit: Vec::new(),
            private: false,
        }
    }
}

impl Scope {
    /// An operator's.
    pub(super) fn everything() -> Self {
        Self(Reach::Everything)
    }

    /// A tenant's.
    pub(super) fn tenants(grant: Grant) -> Self {
        Self(Reach::Tenant(Arc::new(grant)))
    }

    /// An operator's, for tests of what takes one.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self::everything()
    }

    /// A tenant's, for tests of what takes one.
    #[cfg(test)]
    pub fn of_tenant_for_tests(grant: Grant) -> Self {
        Self::tenants(grant)
    }

    fn grant(&self) -> Option<&Grant> {
        match &self.0 {
            Reach::Everything => None,
            Reach::Tenant(grant) => Some(grant),
        }
    }

    /// The tenant whose hooks, events and calls the token may see and change; `None`: an operator, who may see and change
    /// those of all tenants.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.grant().map(|grant| &grant.tenant)
    }

    /// Whether it is an operator's.
    pub fn is_operator(&self) -> bool {
        self.grant().is_none()
    }

    /// Whether what belongs to this tenant may be seen.
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant().is_none_or(|own| own.as_str() == tenant)
    }

    /// Whether a hook of this host may be registered. A wildcard only if the token names that wildcard.
    pub fn covers_host(&self, host: &HostPattern) -> bool {
        let Some(grant) = self.grant() else { return true };
        grant.hosts.iter().any(|granted| granted == host || is_below(host, granted))
    }

    /// Whether events that dialled this domain may be seen although no hook has them.
    pub fn covers_domain(&self, domain: &str) -> bool {
        self.is_operator() || self.covers_host(&HostPattern::Exact(Domain::stored(domain)))
    }

    /// Whether an unrouted event may be seen. A tenant sees those that its own LiveKit sent, and of the platform's LiveKit
    /// those with a domain that the scope covers. `space`: the tenant whose LiveKit sent the event; empty: the platform's.
    pub fn sees_unrouted(&self, space: &str, domain: Option<&str>) -> bool {
        let Some(tenant) = self.tenant() else { return true };
        match space {
            "" => domain.is_some_and(|domain| self.covers_domain(domain)),
            own => own == tenant.as_str(),
        }
    }

    /// Whether a hook may have this number.
    pub fn covers_number(&self, number: &Number) -> bool {
        self.grant().is_none_or(|grant| grant.numbers.contains(number))
    }

    /// Whether a hook may have this SIP trunk.
    pub fn covers_trunk(&self, trunk: &str) -> bool {
        self.grant().is_none_or(|grant| grant.trunks.iter().any(|granted| granted == trunk))
    }

    /// Whether a hook may have this LiveKit API key as its tenant's own.
    pub fn covers_livekit(&self, key: &str) -> bool {
        self.grant().is_none_or(|grant| grant.livekit.iter().any(|granted| granted == key))
    }

    /// Whether hooks may deliver to the private networks that the operator has opened.
    pub fn may_dial_private(&self) -> bool {
        self.grant().is_none_or(|grant| grant.private)
    }
}

/// Whether `host` is an exact host that the wildcard `granted` has.
fn is_below(host: &HostPattern, granted: &HostPattern) -> bool {
    match (host, granted) {
        (HostPattern::Exact(_), HostPattern::Any) => true,
        (HostPattern::Exact(host), HostPattern::Below(parent)) => host.is_below(parent),
        (HostPattern::Exact(_), HostPattern::Exact(_)) | (HostPattern::Below(_) | HostPattern::Any, _) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_hosts_below_it_and_no_other_wildcard() {
        let host = |text: &str| HostPattern::parse(text).expect(text);
        let scope = Scope::tenants(Grant {
            livekit: vec!["APIacme".to_owned()],
            ..Grant::for_tests("acme", &["calls.acme.com", "*.eu.acme.com"])
        });
        let covered = ["calls.acme.com", "a.eu.acme.com", "a.b.eu.acme.com", "*.eu.acme.com"];
        let others = ["acme.com", "eu.acme.com", "*.acme.com", "*.a.eu.acme.com", "*", "192.0.2.1"];
        covered.iter().for_each(|text| assert!(scope.covers_host(&host(text)), "{text}"));
        others.iter().for_each(|text| assert!(!scope.covers_host(&host(text)), "{text}"));
        assert!(scope.covers_livekit("APIacme") && !scope.covers_livekit("APIother"));
        assert!(scope.sees("acme") && !scope.sees("acme.com"));
    }
}
