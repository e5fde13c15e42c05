//! Tokens that are refused although they verify.

use std::collections::HashMap;

use super::scope::Scope;
use crate::hooks::Tenant;
use crate::time::UnixMillis;

/// Which tokens are refused although they verify.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Revocations {
    /// Tokens of a tenant that were issued before this time.
    pub tenants: HashMap<Tenant, UnixMillis>,
    /// Single tokens by their `jti`, and when they expire: later they need not be remembered.
    pub tokens: HashMap<String, UnixMillis>,
}

impl Revocations {
    /// These and more.
    pub fn with(&self, more: &Self) -> Self {
        let mut all = self.clone();
        for (tenant, before) in &more.tenants {
            let known = all.tenants.entry(tenant.clone()).or_insert(*before);
            *known = (*before).max(*known);
        }
        all.tokens.extend(more.tokens.iter().map(|(jti, expires)| (jti.clone(), *expires)));
        all
    }

    /// Whether a token is revoked. `issued_at`: its `iat`, in Unix seconds.
    pub fn has(&self, jti: &str, issued_at: f64, scope: &Scope) -> bool {
        let is_older = |before: &UnixMillis| issued_at * 1000.0 < before.0 as f64;
        self.tokens.contains_key(jti)
            || scope.tenant().and_then(|tenant| self.tenants.get(tenant)).is_some_and(is_older)
    }
}
