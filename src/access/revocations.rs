//! Tokens that are refused although they verify.

use std::collections::HashMap;

use super::scope::Scope;
use crate::hooks::Tenant;
use crate::time::UnixMillis;

/// At most this many single tokens are revoked at once. Each is remembered in memory and in the store.
const TOKENS: usize = 10_000;

/// Which tokens are refused although they verify.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Revocations {
    /// Tokens of a tenant that were issued before this time.
    pub tenants: HashMap<Tenant, UnixMillis>,
    /// Everybody's tokens that were issued before this time.
    pub everybody: Option<UnixMillis>,
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
        all.everybody = all.everybody.max(more.everybody);
        all.tokens.extend(more.tokens.iter().map(|(jti, expires)| (jti.clone(), *expires)));
        all
    }

    /// These and one token more, without those that have expired until `now`. None if there is no room.
    pub fn with_token(&self, jti: &str, expires: UnixMillis, now: UnixMillis) -> Option<Self> {
        let mut all = self.clone();
        all.tokens.retain(|_, expires| *expires > now);
        if all.tokens.len() >= TOKENS && !all.tokens.contains_key(jti) {
            return None;
        }
        all.tokens.insert(jti.to_owned(), expires);
        Some(all)
    }

    /// Whether a token is revoked. `issued_at`: its `iat`, in Unix seconds.
    pub fn has(&self, jti: &str, issued_at: f64, scope: &Scope) -> bool {
        let is_older = |before: &UnixMillis| issued_at * 1000.0 < before.0 as f64;
        self.tokens.contains_key(jti)
            || self.everybody.as_ref().is_some_and(is_older)
            || scope.tenant().and_then(|tenant| self.tenants.get(tenant)).is_some_and(is_older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_tokens_are_revoked_and_those_that_have_expired_make_room() {
        let (expires, late) = (UnixMillis(5), UnixMillis(9));
        let tokens = (0..TOKENS - 1).map(|n| (n.to_string(), expires)).collect();
        let revocations = Revocations { tokens, ..Revocations::default() };
        let full = revocations.with_token("last", late, UnixMillis(4)).expect("room");
        assert_eq!(full.tokens.len(), TOKENS);
        assert_eq!(full.with_token("more", late, UnixMillis(4)), None);
        assert!(full.with_token("last", late, UnixMillis(4)).is_some(), "it is revoked already");
        let later = full.with_token("more", late, expires).expect("room");
        let left = HashMap::from(["last", "more"].map(|jti| (jti.to_owned(), late)));
        assert_eq!(later.tokens, left);
    }
}
