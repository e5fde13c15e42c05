//! Texts that are searched for all at once, in one pass: by their first eight bytes.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};

use super::forms::Form;

/// What a secret is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Of a key of LiveKit's API, the platform's or a tenant's (`livekit`, `livekit_sign`).
    LiveKitSecret,
    /// A JWT that LiveKit signed: its signature.
    LiveKitToken,
    /// What API tokens are signed with.
    ApiSecret,
    /// A token for the API: its signature.
    ApiToken,
    /// What tenants' secrets derive from.
    MasterSecret,
    /// What signs a tenant's deliveries (`whsec_`): given, derived or an older one.
    SigningSecret,
    /// The value of a fixed header.
    HeaderValue,
    /// A value in the query of a hook's URL.
    UrlQuery,
    /// A field of LiveKit's bodies that hooks redact.
    BodyField,
    /// The private key of a certificate.
    PrivateKey,
}

/// A secret that was found.
#[derive(Debug)]
pub struct Leak {
    pub kind: Kind,
    pub form: &'static str,
    context: String,
}

impl Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret ({:?}, {}): {}", self.kind, self.form, self.context)
    }
}

/// A text begins to be compared where its first eight bytes are.
const PREFIX: usize = 8;

/// Bits of the hash of a prefix.
const HASH_BITS: u32 = 20;

/// Bytes before and after a secret that are shown.
const CONTEXT: usize = 80;

struct Needle {
    kind: Kind,
    form: &'static str,
    text: Vec<u8>,
}

/// All that is searched for.
pub struct Index {
    /// Whether any prefix has this hash: of most positions in a text, none has.
    marks: Vec<bool>,
    needles: HashMap<u64, Vec<Needle>>,
    secrets: HashSet<(Kind, Vec<u8>)>,
}

impl Default for Index {
    fn default() -> Self {
        Self { marks: vec![false; 1 << HASH_BITS], needles: HashMap::new(), secrets: HashSet::new() }
    }
}

impl Index {
    /// Whether this secret is searched for.
    pub fn has(&self, kind: Kind, secret: &[u8]) -> bool {
        self.secrets.contains(&(kind, secret.to_vec()))
    }

    /// Searches for a secret in these forms, too. Each has at least eight bytes.
    pub fn add(&mut self, kind: Kind, secret: &[u8], forms: Vec<Form>) {
        if self.secrets.insert((kind, secret.to_vec())) {
            for (form, text) in forms {
                let prefix = text[..PREFIX].iter().fold(0, |prefix, byte| prefix << 8 | u64::from(*byte));
                self.marks[mark(prefix)] = true;
                self.needles.entry(prefix).or_default().push(Needle { kind, form, text });
            }
        }
    }

    /// The first secret in a text, but for these kinds.
    pub fn find(&self, text: &[u8], but: &[Kind]) -> Option<Leak> {
        let mut prefix = 0_u64;
        for (at, byte) in text.iter().enumerate() {
            prefix = prefix << 8 | u64::from(*byte);
            if !self.marks[mark(prefix)] {
                continue;
            }
            let rest = &text[(at + 1).saturating_sub(PREFIX)..];
            let mut here = self.needles.get(&prefix).into_iter().flatten();
            let found = here.find(|needle| rest.starts_with(&needle.text) && !but.contains(&needle.kind));
            if let Some(Needle { kind, form, text: secret }) = found {
                let context = context(text, text.len() - rest.len(), secret.len());
                return Some(Leak { kind: *kind, form, context });
            }
        }
        None
    }
}

fn mark(prefix: u64) -> usize {
    (prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS)) as usize
}

/// What surrounds a secret, without the secret.
fn context(text: &[u8], at: usize, length: usize) -> String {
    let (before, after) = (&text[..at], &text[at + length..]);
    let before = String::from_utf8_lossy(&before[before.len().saturating_sub(CONTEXT)..]);
    let after = String::from_utf8_lossy(&after[..after.len().min(CONTEXT)]);
    format!("…{before}<the secret>{after}…").escape_debug().to_string()
}
