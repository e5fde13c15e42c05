//! The settings and secrets of a hook that are stored sealed, and which secrets sign for it.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seal::Sealer;
use crate::hooks::{KeyPair, Settings, Signing, Tenant};
use crate::ids::HookId;
use crate::signature::{MasterSecret, Secret};
use crate::time::{UnixMillis, millis};

/// After a secret was changed, the one before signs beside it for this long.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// What the store keeps sealed of a hook.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Secrets the operator gave.
    pub given: Vec<Secret>,
    /// Secrets that were current before, and until when they sign.
    pub older: Vec<(Secret, i64)>,
    /// The tenant's own LiveKit key.
    pub livekit: Option<Box<KeyPair>>,
    /// Whether a change of the hook moves calls in progress.
    pub now: bool,
    /// Absent: the defaults.
    pub settings: Option<Settings>,
}

/// How often a tenant's derived secret was renewed.
#[derive(Clone, Copy, Debug)]
pub struct Generation {
    pub number: i64,
    /// When it was last renewed.
    pub rotated_at: Option<i64>,
}

/// Opens, seals and derives secrets.
pub struct Vault<'a> {
    sealer: Sealer,
    master: &'a MasterSecret,
    generations: HashMap<String, Generation>,
    pub now: UnixMillis,
}

impl<'a> Vault<'a> {
    /// A vault under this master secret. `generations`: of tenants whose secret was renewed.
    pub fn new(master: &'a MasterSecret, generations: HashMap<String, Generation>, now: UnixMillis) -> Self {
        Self { sealer: Sealer::new(master), master, generations, now }
    }

    pub fn seal(&self, id: HookId, kept: &Kept) -> Option<Vec<u8>> {
        if *kept == Kept::default() {
            return None;
        }
        let text = zeroize::Zeroizing::new(serde_json::to_string(kept).ok()?);
        self.sealer.seal(&context(id), &text)
    }

    pub fn open(&self, id: HookId, sealed: &[u8]) -> Kept {
        let opened = self.sealer.open(&context(id), sealed);
        opened.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// What signs for a hook: the current secrets first, then older ones for as long as they do.
    pub fn signing(&self, tenant: &Tenant, kept: &Kept) -> Vec<Signing> {
        let current = self.current(tenant, &kept.given);
        let mut older: Vec<(Secret, i64)> = kept.older.clone();
        let generation = self.generation(tenant);
        if let (true, Some(rotated_at)) = (kept.given.is_empty(), generation.rotated_at) {
            let until = rotated_at.saturating_add(millis(OVERLAP));
            let before = self.master.derive(tenant.as_str(), generation.number - 1);
            older.extend(before.into_iter().map(|secret| (secret, until)));
        }
        older.retain(|(secret, until)| self.now.0 < *until && !current.contains(secret));
        let older =
            older.into_iter().map(|(secret, until)| Signing { secret, until: Some(UnixMillis(until)) });
        current.into_iter().map(Signing::current).chain(older).collect()
    }

    /// The given secrets, else the tenant's derived ones.
    pub fn current(&self, tenant: &Tenant, given: &[Secret]) -> Vec<Secret> {
        if given.is_empty() {
            self.master.derive(tenant.as_str(), self.generation(tenant).number)
        } else {
            given.to_vec()
        }
    }

    fn generation(&self, tenant: &Tenant) -> Generation {
        let known = self.generations.get(tenant.as_str()).copied();
        known.unwrap_or(Generation { number: 1, rotated_at: None })
    }
}

/// What signs for a tenant's hook without a secret of its own, as long as there is none yet.
pub fn derived(
    master: &MasterSecret,
    tenant: &Tenant,
    generation: Option<Generation>,
    now: UnixMillis,
) -> Vec<Signing> {
    let generations = generation.map(|generation| (tenant.to_string(), generation));
    let vault = Vault::new(master, generations.into_iter().collect(), now);
    vault.signing(tenant, &Kept::default())
}

fn context(id: HookId) -> String {
    format!("hook/{}", id.0)
}
