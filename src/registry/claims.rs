//! What hooks are found by besides their hosts: each belongs to one hook.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::hooks::{Hook, KeyPair, Number, ShadowedClaim, Tenant};

/// The numbers, trunks and LiveKit keys that hooks have.
pub struct TakenClaims {
    numbers: HashSet<Number>,
    trunks: HashSet<String>,
    keys: HashMap<String, (Tenant, Box<KeyPair>)>,
}

impl TakenClaims {
    /// Those of these hooks.
    pub fn of(hooks: &[Arc<Hook>]) -> Self {
        let mut claims = Self { numbers: HashSet::new(), trunks: HashSet::new(), keys: HashMap::new() };
        hooks.iter().for_each(|hook| claims.add(hook));
        claims
    }

    fn add(&mut self, hook: &Hook) {
        self.numbers.extend(hook.numbers.iter().cloned());
        self.trunks.extend(hook.trunks.iter().cloned());
        if let Some(pair) = &hook.livekit {
            let owner = || (hook.tenant.clone(), pair.clone());
            self.keys.entry(pair.key.clone()).or_insert_with(owner);
        }
    }

    /// Takes what a hook has away from it where another has it, and adds the rest; what was taken away.
    pub fn take(&mut self, hook: &mut Hook) -> Vec<ShadowedClaim> {
        let mut shadowed = Vec::new();
        let (id, host, tenant) = (hook.id, hook.host.clone(), hook.tenant.clone());
        let mut lose = |field, value: &str| {
            let (host, tenant, value) = (host.clone(), tenant.clone(), value.to_owned());
            shadowed.push(ShadowedClaim { id, host, tenant, field, value });
        };
        let (lost, numbers): (Vec<_>, Vec<_>) =
            hook.numbers.iter().cloned().partition(|number| self.numbers.contains(number));
        lost.iter().for_each(|number| lose("numbers", number.as_str()));
        let (lost, trunks): (Vec<_>, Vec<_>) =
            hook.trunks.iter().cloned().partition(|trunk| self.trunks.contains(trunk));
        lost.iter().for_each(|trunk| lose("trunks", trunk));
        (hook.numbers, hook.trunks) = (numbers.into(), trunks.into());
        let is_anothers = |pair: &KeyPair| {
            self.keys.get(&pair.key).is_some_and(|(owner, known)| *owner != hook.tenant || **known != *pair)
        };
        if let Some(pair) = hook.livekit.take_if(|pair| is_anothers(pair)) {
            lose("livekit", &pair.key);
        }
        self.add(hook);
        shadowed
    }
}
