//! A hook and its parts; none can be built invalid.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;

use super::settings::{KeyPair, Settings};
use super::target::loggable;
use crate::domain::{Domain, Invalid};
use crate::ids::HookId;
use crate::signature::Secret;
use crate::time::UnixMillis;

/// A customer of the platform: `[a-z0-9._-]{1,253}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// A tenant of this name, if it is one.
    pub fn new(name: &str) -> Option<Self> {
        let legal = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        let named = (1..=253).contains(&name.len()) && name.bytes().all(legal);
        named.then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which domains a hook is found by.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum HostPattern {
    /// `calls.acme.com`: this host.
    Exact(Domain),
    /// `*.acme.com`: any subdomain, at any depth; not acme.com itself.
    Below(Domain),
    /// `*`: every host that nothing else has, addresses too.
    Any,
}

impl HostPattern {
    /// Reads a pattern as the hook table spells it.
    ///
    /// # Errors
    /// [`Invalid`] when it is neither a host nor a wildcard.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.strip_prefix('*') {
            None => Domain::from_host(text).map(Self::Exact),
            Some("") => Ok(Self::Any),
            Some(rest) => {
                let domain = Domain::from_host(rest.strip_prefix('.').ok_or(Invalid::Host)?)?;
                // An IP address has no subdomains.
                let named = domain
                    .as_str()
                    .rsplit('.')
                    .next()
                    .is_some_and(|top| top.starts_with(|c: char| c.is_ascii_alphabetic()));
                if named { Ok(Self::Below(domain)) } else { Err(Invalid::Host) }
            }
        }
    }

    /// The tenant's name where none is given: an exact host's own.
    pub fn default_tenant(&self) -> Option<&str> {
        match self {
            Self::Exact(domain) => Some(domain.as_str()),
            Self::Below(_) | Self::Any => None,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(domain) => write!(f, "{domain}"),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A telephone number as it is compared: without a leading `+` and without separators.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Number(Box<str>);

impl Number {
    /// Reads any spelling of a number; none if nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let bare: String = text.chars().filter(|c| !c.is_whitespace() && !"-.()".contains(*c)).collect();
        let bare = bare.strip_prefix('+').unwrap_or(&bare);
        (!bare.is_empty()).then(|| Self(bare.into()))
    }

    /// What is compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A hook as the operator wrote it: valid, but not yet known to the store.
#[derive(Clone)]
pub struct Entry {
    /// The hosts it is found by.
    pub host: HostPattern,
    /// The tenant it belongs to.
    pub tenant: Tenant,
    /// Where its events go.
    pub url: Url,
    /// Secrets the operator gave, the current one first; none: the tenant's derived ones.
    pub secrets: Vec<Secret>,
    /// Numbers it is also found by.
    pub numbers: Vec<Number>,
    /// SIP trunks it is also found by.
    pub trunks: Vec<String>,
    /// The tenant's own LiveKit API key: verifies what comes by its URL.
    pub livekit: Option<Box<KeyPair>>,
    /// How its events are delivered.
    pub settings: Arc<Settings>,
    /// Whether a change of this entry moves calls in progress, too.
    pub now: bool,
    /// Whether it may deliver to the private networks that the operator has opened.
    pub private: bool,
    /// Where it stands in the file, from 1.
    pub line: u64,
}

/// A secret that signs, for as long as it does.
#[derive(Clone, PartialEq, Debug)]
pub struct Signing {
    /// The secret.
    pub secret: Secret,
    /// An older one's end; none: the current one.
    pub until: Option<UnixMillis>,
}

impl Signing {
    /// A current secret.
    pub fn current(secret: Secret) -> Self {
        Self { secret, until: None }
    }

    /// Whether it signs at `now`.
    pub fn is_valid(&self, now: UnixMillis) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Who writes a hook.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Layer {
    /// The operators, in the hooks file.
    File,
    /// The API's callers.
    Api,
}

impl Layer {
    /// Its name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
        }
    }

    /// The layer of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::File, Self::Api].into_iter().find(|layer| layer.as_str() == name)
    }
}

/// What is stored of a hook besides its settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Who writes it.
    pub layer: Layer,
    /// Rises with every change of the entry, from 1.
    pub version: i64,
    /// Absent: before times were stored.
    pub created_at: Option<UnixMillis>,
    /// The last change of the entry.
    pub changed_at: Option<UnixMillis>,
}

impl Default for Origin {
    fn default() -> Self {
        Self { layer: Layer::File, version: 1, created_at: None, changed_at: None }
    }
}

/// A hook in force.
#[derive(Clone)]
pub struct Hook {
    /// Its identity: stays when the URL changes, ends when it is removed.
    pub id: HookId,
    /// The hosts it is found by.
    pub host: HostPattern,
    /// The tenant it belongs to.
    pub tenant: Tenant,
    /// Where its events go.
    pub url: Url,
    /// What signs, the current one first; all that are valid sign.
    pub secrets: Vec<Signing>,
    /// Its secret is the operator's, not the tenant's derived one.
    pub has_given_secret: bool,
    /// The tenant's own LiveKit API key.
    pub livekit: Option<Box<KeyPair>>,
    /// How its events are delivered.
    pub settings: Arc<Settings>,
    /// Numbers it is also found by.
    pub numbers: Box<[Number]>,
    /// SIP trunks it is also found by.
    pub trunks: Box<[String]>,
    /// Whether it may deliver to the private networks that the operator has opened.
    pub private: bool,
    /// What is stored of it besides.
    pub origin: Origin,
}

impl Hook {
    /// The hook of an entry. `signing`: the secrets in force for it.
    pub fn new(entry: Entry, id: HookId, signing: Vec<Signing>, origin: Origin) -> Self {
        let Entry {
            host,
            tenant,
            url,
            secrets,
            numbers,
            trunks,
            livekit,
            settings,
            now: _,
            private,
            line: _,
        } = entry;
        Self {
            id,
            host,
            tenant,
            url,
            secrets: signing,
            has_given_secret: !secrets.is_empty(),
            livekit,
            settings,
            numbers: numbers.into(),
            trunks: trunks.into(),
            private,
            origin,
        }
    }

    /// The URL without its query, which may hold a credential: for logs.
    pub fn loggable_url(&self) -> &str {
        loggable(self.url.as_str())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, tenant, url, line, .. } = self;
        let mut shown = f.debug_struct("Entry");
        shown.field("host", host).field("tenant", tenant).field("url", &loggable(url.as_str()));
        shown.field("line", line).finish_non_exhaustive()
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, host, tenant, .. } = self;
        let mut shown = f.debug_struct("Hook");
        shown.field("id", id).field("host", host).field("tenant", tenant).field("url", &self.loggable_url());
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_without_separators() {
        let spellings = ["+1 555-0102", "15550102", "+1 (555) 01.02", "1555\u{a0}0102"];
        for spelling in spellings {
            assert_eq!(Number::new(spelling), Number::new("+15550102"), "{spelling}");
        }
        assert_ne!(Number::new("015550102"), Number::new("15550102"));
        assert_eq!(Number::new(" +-() "), None);
    }

    #[test]
    fn the_query_of_a_url_is_not_printed() {
        let url = Url::parse("https://a.example/hook?token=hush").expect("a URL");
        let entry = Entry {
            host: HostPattern::parse("a.example").expect("a host"),
            tenant: Tenant::new("a").expect("a tenant"),
            url,
            secrets: Vec::new(),
            numbers: Vec::new(),
            trunks: Vec::new(),
            livekit: None,
            settings: Arc::default(),
            now: false,
            private: false,
            line: 1,
        };
        let hook = Hook::new(entry.clone(), HookId(1), Vec::new(), Origin::default());
        let printed = format!("{entry:?} {hook:?}");
        assert!(printed.contains("https://a.example/hook") && !printed.contains("hush"), "{printed}");
    }

    #[test]
    fn tenant_names_are_plain() {
        assert!(Tenant::new("calls.dr-smith_2.com").is_some());
        for bad in ["", "Acme", "a b", "a/b", "ä", &"x".repeat(254)] {
            assert!(Tenant::new(bad).is_none(), "{bad}");
        }
    }
}
