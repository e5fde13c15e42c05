//! The settings and secrets of a hook that are stored sealed, and which secrets sign for it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::queries::QuerySealer;
use super::seal::Sealer;
use crate::hooks::{KeyPair, Settings, Signing, Tenant};
use crate::ids::HookId;
use crate::signature::{MasterSecret, Secret};
use crate::time::{UnixMillis, millis};

/// After a secret was changed, the one before signs beside it for this long.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// Secrets that may sign for a hook at one time, at most: every delivery has a signature by each.
pub const SIGNING: usize = 8;

/// How [`KeptHook`] is spelled today.
const VERSION: u32 = 2;

/// What the store keeps sealed of a hook.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptHook {
    /// Of the spelling.
    pub v: u32,
    /// Secrets that were given, not derived.
    pub given: Vec<Secret>,
    /// Secrets that were current before, and until when they sign.
    pub older: Vec<(Secret, i64)>,
    /// The tenant's own LiveKit key.
    pub livekit: Option<Box<KeyPair>>,
    /// Whether a change of the hook moves calls in progress: hooks of the file only.
    pub now: bool,
    /// Whether it may deliver to the private networks that are opened: hooks of the API only, those of the file may.
    pub private: bool,
    /// What it is also found by: hooks of the API only.
    pub numbers: Vec<String>,
    pub trunks: Vec<String>,
    /// Absent: the defaults.
    pub settings: Option<Settings>,
}

impl Default for KeptHook {
    fn default() -> Self {
        Self {
            v: VERSION,
            given: Vec::new(),
            older: Vec::new(),
            livekit: None,
            now: false,
            private: false,
            numbers: Vec::new(),
            trunks: Vec::new(),
            settings: None,
        }
    }
}

/// Why what is stored of a hook cannot be read. Quotes nothing of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnreadableSettings {
    #[error("another master secret sealed its settings, or they were altered")]
    Sealed,
    #[error("its settings are stored in version {0}, by a newer Switchhook")]
    Newer(u32),
    #[error("its settings are damaged at byte {0} of their text")]
    Damaged(usize),
    #[error("its row in the store is damaged")]
    Row,
}

impl UnreadableSettings {
    /// What the operator can do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Sealed => {
                "give the master secret that sealed them as a second line of the master secret's file, and start again"
            }
            Self::Newer(_) => "start the newer Switchhook, or write the hook again",
            Self::Damaged(_) | Self::Row => "write the hook again",
        }
    }
}

impl KeptHook {
    /// Reads what was sealed.
    fn read(text: &str) -> Result<Self, UnreadableSettings> {
        #[derive(Deserialize)]
        struct Head {
            v: Option<u32>,
        }
        let damaged = |error: serde_json::Error| UnreadableSettings::Damaged(error.column());
        match serde_json::from_str::<Head>(text).map_err(damaged)?.v {
            None => Self::read_first(text).map_err(damaged),
            Some(VERSION) => serde_json::from_str(text).map_err(damaged),
            Some(other) => Err(UnreadableSettings::Newer(other)),
        }
    }

    /// The first spelling has no version, and what is missing in it has its default.
    fn read_first(text: &str) -> serde_json::Result<Self> {
        let mut whole = serde_json::to_value(Self::default())?;
        let mut given: Value = serde_json::from_str(text)?;
        if let Some(settings) = given.get_mut("settings").filter(|settings| !settings.is_null()) {
            let mut all = serde_json::to_value(Settings::default())?;
            lay_over(&mut all, settings.take());
            *settings = all;
        }
        lay_over(&mut whole, given);
        serde_json::from_value(whole)
    }
}

/// Replaces the values of an object's keys.
fn lay_over(below: &mut Value, above: Value) {
    if let (Value::Object(below), Value::Object(above)) = (below, above) {
        below.extend(above);
    }
}

/// How often a tenant's derived secret was renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation {
    pub number: i64,
    /// When it was last renewed.
    pub rotated_at: Option<i64>,
}

impl Generation {
    /// Whether the secret before the last renewal still signs.
    pub fn overlaps(&self, now: UnixMillis) -> bool {
        self.rotated_at.is_some_and(|at| now.0 < at.saturating_add(millis(OVERLAP)))
    }
}

/// Opens, seals and derives secrets.
pub struct Vault {
    sealer: Sealer,
    queries: QuerySealer,
    master: MasterSecret,
    generations: HashMap<String, Generation>,
}

impl Vault {
    /// A vault under this master secret. `generations`: of tenants whose secret was renewed.
    pub fn new(master: &MasterSecret, generations: HashMap<String, Generation>) -> Self {
        let (sealer, queries) = (Sealer::new(master), QuerySealer::new(master));
        Self { sealer, queries, master: master.clone(), generations }
    }

    /// What is stored of a hook; nothing where all of it is as usual.
    pub fn seal(&self, id: HookId, kept: &KeptHook) -> Option<Vec<u8>> {
        if *kept == KeptHook::default() {
            return None;
        }
        let text = Zeroizing::new(serde_json::to_string(kept).ok()?);
        self.sealer.seal(&context(id), &text)
    }

    /// The URL that was stored; none if its query cannot be opened.
    pub fn open_url(&self, stored: &str) -> Option<String> {
        self.queries.open(stored).map(Cow::into_owned)
    }

    /// Reads what is stored of a hook.
    ///
    /// # Errors
    /// [`UnreadableSettings`]: nothing of it is known then, and no default stands for it.
    pub fn open(&self, id: HookId, sealed: Option<&[u8]>) -> Result<KeptHook, UnreadableSettings> {
        let Some(sealed) = sealed else { return Ok(KeptHook::default()) };
        KeptHook::read(&self.sealer.open(&context(id), sealed).ok_or(UnreadableSettings::Sealed)?)
    }

    /// What signs for a hook: the current secrets first, then older ones for as long as they do.
    pub fn signing(&self, tenant: &Tenant, kept: &KeptHook, now: UnixMillis) -> Vec<Signing> {
        let current = self.current(tenant, &kept.given);
        let mut older: Vec<(Secret, i64)> = kept.older.clone();
        let generation = self.generation(tenant);
        if let (true, Some(rotated_at)) = (kept.given.is_empty(), generation.rotated_at) {
            let until = rotated_at.saturating_add(millis(OVERLAP));
            let before = self.master.derive(tenant.as_str(), generation.number - 1);
            older.extend(before.into_iter().map(|secret| (secret, until)));
        }
        older.retain(|(secret, until)| now.0 < *until && !current.contains(secret));
        let older =
            older.into_iter().map(|(secret, until)| Signing { secret, until: Some(UnixMillis(until)) });
        current.into_iter().map(Signing::current).chain(older).collect()
    }

    /// The given secrets, else the tenant's derived ones.
    fn current(&self, tenant: &Tenant, given: &[Secret]) -> Vec<Secret> {
        if given.is_empty() {
            self.master.derive(tenant.as_str(), self.generation(tenant).number)
        } else {
            given.to_vec()
        }
    }

    /// The older secrets of a hook that has `given` ones from now on and had `before`, the oldest first; and whether
    /// that is a change.
    pub fn older(
        &self,
        tenant: &Tenant,
        before: &KeptHook,
        given: &[Secret],
        now: UnixMillis,
    ) -> (Vec<(Secret, i64)>, bool) {
        let mut older: Vec<_> = before.older.iter().filter(|(_, until)| now.0 < *until).cloned().collect();
        let changes = before.given != given;
        if changes {
            let until = now.after(OVERLAP).0;
            let current = self.current(tenant, &before.given);
            // One that is given again is current, and signs for longer once it is older again.
            older.retain(|(secret, _)| !given.contains(secret) && !current.contains(secret));
            let ended = current.into_iter().filter(|secret| !given.contains(secret));
            older.extend(ended.map(|secret| (secret, until)));
        }
        (older, changes)
    }

    /// Whether more secrets than [`SIGNING`] would sign for a hook.
    pub fn is_beyond(&self, tenant: &Tenant, kept: &KeptHook, now: UnixMillis) -> bool {
        self.signing(tenant, kept, now).len() > SIGNING
    }

    /// Drops the oldest of the older secrets until no more than [`SIGNING`] sign; whether there were too many.
    pub fn bound(&self, tenant: &Tenant, kept: &mut KeptHook, now: UnixMillis) -> bool {
        let mut is_cut = false;
        while self.is_beyond(tenant, kept, now) && !kept.older.is_empty() {
            kept.older.remove(0);
            is_cut = true;
        }
        is_cut
    }

    /// What signs for a hook with derived secrets once its tenant's is renewed; `before`: what signs now.
    pub fn renewed(&self, tenant: &Tenant, before: &[Signing], now: UnixMillis) -> Vec<Signing> {
        let next = self.master.derive(tenant.as_str(), self.next(tenant));
        let until = Some(now.after(OVERLAP));
        let ended = |signing: &Signing| Signing { until: signing.until.or(until), ..signing.clone() };
        let older = before.iter().filter(|signing| signing.is_valid(now)).map(ended);
        next.into_iter().map(Signing::current).chain(older).collect()
    }

    /// How often a tenant's derived secret was renewed.
    pub fn generation(&self, tenant: &Tenant) -> Generation {
        let known = self.generations.get(tenant.as_str()).copied();
        known.unwrap_or(Generation { number: 1, rotated_at: None })
    }

    /// The number of a tenant's next derived secret.
    pub fn next(&self, tenant: &Tenant) -> i64 {
        self.generation(tenant).number + 1
    }

    /// A tenant's derived secret is renewed.
    pub fn renew(&mut self, tenant: &Tenant, now: UnixMillis) {
        let number = self.next(tenant);
        self.generations.insert(tenant.to_string(), Generation { number, rotated_at: Some(now.0) });
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
    let vault = Vault::new(master, generations.into_iter().collect());
    vault.signing(tenant, &KeptHook::default(), now)
}

fn context(id: HookId) -> String {
    format!("hook/{}", id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn vault(master: &str) -> Vault {
        Vault::new(&MasterSecret::parse(&master.repeat(32)).expect("strong"), HashMap::new())
    }

    /// As the first release stored it.
    const FIRST: &str = r#"{"given":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],"older":[["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",1790000000000]],"livekit":{"key":"APIx","secret":"s"},"now":true,"settings":{"events":{"include":["room_started"],"exclude":[]},"sign":{"standard":true,"livekit":null},"format":"cloudevents","headers":[["x-key","k"]],"timeout":{"secs":7,"nanos":0},"retry":{"initial":{"secs":0,"nanos":500000000},"factor":2.0,"max":{"secs":600,"nanos":0},"max_age":{"secs":3600,"nanos":0}},"concurrency":8,"rate":null,"order_wait":{"secs":30,"nanos":0},"redact":[],"paused":false}}"#;

    /// As it is stored today. What stood here once is stored somewhere: it must be read for ever.
    const SECOND: &str = r#"{"v":2,"given":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],"older":[],"livekit":null,"now":false,"private":true,"numbers":["15550100"],"trunks":["ST_1"],"settings":{"events":{"include":[],"exclude":["track_published"]},"sign":{"standard":true,"livekit":{"key":"K","secret":"s"}},"format":"raw","headers":[["x-key","k"]],"timeout":{"secs":7,"nanos":0},"retry":{"initial":{"secs":0,"nanos":500000000},"factor":2.0,"max":{"secs":600,"nanos":0},"max_age":{"secs":3600,"nanos":0}},"concurrency":8,"rate":2.5,"order_wait":{"secs":30,"nanos":0},"redact":["room.turnPassword"],"paused":true}}"#;

    #[test]
    fn both_spellings_are_read_whole() {
        let first = KeptHook::read(FIRST).expect("the first");
        assert_eq!((first.given.len(), first.older[0].1, first.now), (1, 1_790_000_000_000, true));
        let settings = first.settings.expect("settings");
        assert_eq!((settings.timeout.as_secs(), settings.concurrency), (7, 8));
        assert_eq!(settings.retry.max_age.as_secs(), 3600);
        let second = KeptHook::read(SECOND).expect("the second");
        assert_eq!((second.numbers.as_slice(), second.private), (&["15550100".to_owned()][..], true));
        assert_eq!(serde_json::to_string(&second).expect("text"), SECOND, "it is spelled as before");
    }

    #[test]
    fn what_the_first_spelling_leaves_out_has_its_default() {
        let kept = KeptHook::read(r#"{"now":true,"settings":{"concurrency":3}}"#).expect("the first");
        let settings = Settings { concurrency: 3, ..Settings::default() };
        assert!(kept == KeptHook { now: true, settings: Some(settings), ..KeptHook::default() });
    }

    #[test]
    fn how_long_bodies_are_kept_is_spelled_where_they_are() {
        let settings = Settings { keep: Duration::from_secs(3600), ..Settings::default() };
        let kept = KeptHook { settings: Some(settings), ..KeptHook::default() };
        let text = serde_json::to_string(&kept).expect("text");
        assert!(text.contains(r#""keep":{"secs":3600,"nanos":0}"#) && !SECOND.contains("keep"), "{text}");
        assert!(KeptHook::read(&text).is_ok_and(|read| read == kept));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_no_default() {
        let without = SECOND.replace(r#""max_age":{"secs":3600,"nanos":0}"#, r#""max_age":{"secs":3600}"#);
        let more = SECOND.replace(r#""factor":2.0"#, r#""factor":2.0,"jitter":0.5"#);
        for damaged in [&without, &more, &SECOND.replace("whsec_", "whsek_"), "", "[]", "null"] {
            let found = KeptHook::read(damaged).err();
            assert!(matches!(found, Some(UnreadableSettings::Damaged(_))), "{damaged}: {found:?}");
        }
        assert_eq!(KeptHook::read(r#"{"v":3,"x":1}"#).err(), Some(UnreadableSettings::Newer(3)));
    }

    #[test]
    fn what_another_master_secret_sealed_is_an_error() {
        let kept = KeptHook { given: vec![Secret::parse(SECRET).expect("a secret")], ..KeptHook::default() };
        let sealed = vault("a").seal(HookId(7), &kept).expect("sealed");
        assert!(vault("a").open(HookId(7), Some(&sealed)).is_ok_and(|opened| opened == kept));
        assert_eq!(vault("b").open(HookId(7), Some(&sealed)).err(), Some(UnreadableSettings::Sealed));
        assert_eq!(vault("a").open(HookId(8), Some(&sealed)).err(), Some(UnreadableSettings::Sealed));
        assert!(vault("b").open(HookId(7), None).is_ok_and(|opened| opened == KeptHook::default()));
        let both = format!("{}\n{}", "b".repeat(32), "a".repeat(32));
        let both = Vault::new(&MasterSecret::parse(&both).expect("strong"), HashMap::new());
        assert!(both.open(HookId(7), Some(&sealed)).is_ok(), "the older one as a second line");
    }
}
