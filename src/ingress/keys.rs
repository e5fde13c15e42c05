//! LiveKit's API keys: several at once, replaced while running.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use zeroize::Zeroizing;

use crate::hooks::{HookTable, Tenant};
use crate::yaml::{self, TextFault, Value};

/// API keys and their secrets.
#[derive(Clone, Default)]
pub struct ApiKeys(HashMap<String, Zeroizing<String>>);

impl ApiKeys {
    /// Reads `key: secret` lines, as LiveKit's own `keys` setting spells them.
    ///
    /// # Errors
    /// Every fault with its place; never with a secret.
    pub fn parse(text: &str) -> Result<Self, Vec<TextFault>> {
        let root = yaml::parse(text).map_err(|fault| vec![fault])?;
        let entries = match root.value {
            Value::Map(entries) => entries,
            Value::Null => Vec::new(),
            other => {
                let message = format!("`key: secret` lines belong here, not {}", other.kind());
                return Err(vec![TextFault::new(root.place, "keys", message)]);
            }
        };
        let (mut keys, mut faults) = (HashMap::new(), Vec::new());
        for (key, node) in entries {
            match node.value {
                Value::Text(secret) if !secret.is_empty() => {
                    if keys.insert(key.name.clone(), Zeroizing::new(secret)).is_some() {
                        faults.push(TextFault::new(key.place, &key.name, "the key stands here twice"));
                    }
                }
                other => {
                    let message = format!("a secret belongs here, in quotes, not {}", other.kind());
                    faults.push(TextFault::new(node.place, &key.name, message));
                }
            }
        }
        if faults.is_empty() { Ok(Self(keys)) } else { Err(faults) }
    }

    /// Adds one key.
    pub fn insert(&mut self, key: &str, secret: &str) {
        self.0.insert(key.to_owned(), Zeroizing::new(secret.to_owned()));
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether there is an API key of this name.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key names, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

impl IntoIterator for ApiKeys {
    type Item = (String, Zeroizing<String>);
    type IntoIter = std::collections::btree_map::IntoIter<String, Zeroizing<String>>;

    /// The keys and their secrets, in order of the keys.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().collect::<BTreeMap<_, _>>().into_iter()
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// The keys in force: read without locks, replaced whole.
pub struct KeyRing(ArcSwap<Ring>);

struct Ring {
    keys: HashMap<String, DecodingKey>,
    names: Vec<String>,
}

impl KeyRing {
    /// A ring of these keys.
    pub fn new(keys: &ApiKeys) -> Self {
        Self(ArcSwap::from_pointee(Ring::new(keys)))
    }

    /// Replaces all keys.
    pub fn replace(&self, keys: &ApiKeys) {
        self.0.store(Ring::new(keys).into());
    }

    /// What `read` makes of the secret of this API key.
    pub fn with<T>(&self, key: &str, read: impl FnOnce(Option<&DecodingKey>) -> T) -> T {
        read(self.0.load().keys.get(key))
    }

    /// Whether there is an API key of this name.
    pub fn has(&self, key: &str) -> bool {
        self.0.load().keys.contains_key(key)
    }

    /// The configured key names, for the log.
    pub fn names(&self) -> Vec<String> {
        self.0.load().names.clone()
    }
}

impl Ring {
    fn new(keys: &ApiKeys) -> Self {
        let decoding = |(key, secret): (&String, &Zeroizing<String>)| {
            (key.clone(), DecodingKey::from_secret(secret.as_bytes()))
        };
        Self {
            keys: keys.0.iter().map(decoding).collect(),
            names: keys.names().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// The keys that verify at one door.
pub enum DoorKeys<'a> {
    /// The platform's.
    Platform(&'a KeyRing),
    /// Those of a tenant's own LiveKits. Only the one that a token names is looked for.
    Own {
        /// The hooks that hold them.
        table: Arc<HookTable>,
        /// Whose they are.
        tenant: Tenant,
    },
}

impl DoorKeys<'_> {
    /// What `read` makes of the secret of this API key.
    pub fn with<T>(&self, key: &str, read: impl FnOnce(Option<&DecodingKey>) -> T) -> T {
        match self {
            Self::Platform(ring) => ring.with(key, read),
            Self::Own { table, tenant } => {
                let pair = table.keys_of(tenant).filter(|pair| pair.key == key).last();
                let secret = pair.map(|pair| DecodingKey::from_secret(pair.secret.0.as_bytes()));
                read(secret.as_ref())
            }
        }
    }

    /// The configured key names, for the log.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Platform(ring) => ring.names(),
            Self::Own { table, tenant } => {
                let names: BTreeSet<_> = table.keys_of(tenant).map(|pair| pair.key.clone()).collect();
                names.into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_livekit_spells_them_and_no_fault_quotes_a_secret() {
        let keys = ApiKeys::parse("APIone: hush\nAPItwo: 'also hush'\n").expect("keys");
        assert_eq!(format!("{keys:?}"), r#"["APIone", "APItwo"]"#);
        let faults = ApiKeys::parse("APIone: 12\nAPItwo: hush\nAPItwo: hush\n").expect_err("faults");
        let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(!text.concat().contains("hush"), "{text:?}");
        assert!(ApiKeys::parse("just text").is_err());
        assert!(ApiKeys::parse("").expect("nothing").is_empty());
    }
}
