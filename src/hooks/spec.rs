//! How hooks are spelled in `hooks.yaml`. Every fault of a file is found, not only the first.

mod fields;
mod options;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;

use reqwest::Url;
use zeroize::Zeroizing;

use self::fields::Fields;
use self::options::{Base, Limits};
use super::hook::{Entry, HostPattern, Number, Tenant};
use super::settings::{KeyPair, Masked};
use crate::network::Network;
use crate::signature::Secret;
use crate::yaml::{self, Fault, Node, Place, Value};

/// Keys that belong to one hook alone; [`options::KEYS`] may stand in `defaults:`, too.
const OWN: [&str; 10] =
    ["host", "url", "tenant", "secret", "secrets", "livekit", "livekit_sign", "numbers", "trunks", "now"];

/// Where a secret stands that is not in the file itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source<'a> {
    /// `${NAME}`.
    Variable(&'a str),
    /// `{file: path}`.
    File(&'a str),
}

impl std::fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${{{name}}}"),
            Self::File(path) => write!(f, "file: {path}"),
        }
    }
}

/// What a source holds, or why it cannot be read.
pub type Looked = Result<Zeroizing<String>, String>;

/// What a hooks file is read against.
pub struct Around<'a> {
    network: Network,
    look_up: Box<dyn Fn(Source<'_>) -> Looked + Send + Sync + 'a>,
    is_platform_key: Box<dyn Fn(&str) -> bool + Send + Sync + 'a>,
}

impl<'a> Around<'a> {
    /// `network`: what URLs may be delivered to. `look_up`: gives secrets from outside the file.
    pub fn new(network: Network, look_up: impl Fn(Source<'_>) -> Looked + Send + Sync + 'a) -> Self {
        Self { network, look_up: Box::new(look_up), is_platform_key: Box::new(|_| false) }
    }

    /// The same; `note` is told what each source held.
    pub fn noting<'b>(
        &'b self,
        note: impl Fn(Source<'_>, &Zeroizing<String>) + Send + Sync + 'b,
    ) -> Around<'b> {
        let look_up = move |source: Source<'_>| (self.look_up)(source).inspect(|text| note(source, text));
        Around::new(self.network.clone(), look_up).beside_keys(|key| (self.is_platform_key)(key))
    }

    /// The same; where a source cannot be read, `instead` may know what it held.
    pub fn or_else<'b>(
        &'b self,
        instead: impl Fn(Source<'_>) -> Option<Zeroizing<String>> + Send + Sync + 'b,
    ) -> Around<'b> {
        let look_up =
            move |source: Source<'_>| (self.look_up)(source).or_else(|why| instead(source).ok_or(why));
        Around::new(self.network.clone(), look_up).beside_keys(|key| (self.is_platform_key)(key))
    }

    /// `is_platform_key`: whether a LiveKit API key is the platform's, which no tenant may have.
    #[must_use]
    pub fn beside_keys(self, is_platform_key: impl Fn(&str) -> bool + Send + Sync + 'a) -> Self {
        Self { is_platform_key: Box::new(is_platform_key), ..self }
    }
}

/// Reads the text of a hooks file.
///
/// # Errors
/// Every fault, in the file's order; nothing of the file is to be used then.
pub fn parse(text: &str, around: &Around<'_>) -> Result<Vec<Entry>, Vec<Fault>> {
    let root = yaml::parse(text).map_err(|fault| vec![fault])?;
    let mut reader = Reader { around, faults: Vec::new(), taken: Taken::default() };
    let entries = reader.file(root);
    reader.faults.sort_by_key(|fault| fault.place);
    if reader.faults.is_empty() { Ok(entries) } else { Err(reader.faults) }
}

struct Reader<'a> {
    around: &'a Around<'a>,
    faults: Vec<Fault>,
    taken: Taken,
}

/// What hooks already own, and the line it stands in.
#[derive(Default)]
struct Taken {
    hosts: HashMap<HostPattern, u64>,
    numbers: HashMap<Number, u64>,
    trunks: HashMap<String, u64>,
    /// LiveKit API keys of tenants' own.
    keys: HashMap<String, (Tenant, Masked, u64)>,
    /// How many hooks each tenant has.
    hooks: HashMap<Tenant, usize>,
}

impl Reader<'_> {
    fn fault(&mut self, place: Place, key: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(place, key, message));
    }

    fn file(&mut self, root: Node) -> Vec<Entry> {
        let entries = match root.value {
            Value::Map(entries) => entries,
            other => {
                let message = format!("a map with the key hooks belongs here, not {}", other.kind());
                self.fault(root.place, "hooks", message);
                return Vec::new();
            }
        };
        let mut fields = self.fields("", entries, &["hooks", "defaults", "limits"]);
        let limits = self.limits(&mut fields);
        let base = self.defaults(&mut fields, &limits);
        match fields.take("hooks") {
            Some(Node { value: Value::List(hooks), .. }) => {
                hooks.into_iter().filter_map(|hook| self.hook(hook, &base, &limits)).collect()
            }
            // All of them commented out: a table without hooks.
            Some(Node { value: Value::Null, .. }) => Vec::new(),
            Some(other) => {
                let message = format!("a list of hooks belongs here, not {}", other.value.kind());
                self.fault(other.place, "hooks", message);
                Vec::new()
            }
            None => {
                self.fault(root.place, "hooks", "the key is missing");
                Vec::new()
            }
        }
    }

    fn hook(&mut self, node: Node, base: &Base, limits: &Limits) -> Option<Entry> {
        let place = node.place;
        let Value::Map(entries) = node.value else {
            let message = format!("a hook with host and url belongs here, not {}", node.value.kind());
            self.fault(place, "hooks", message);
            return None;
        };
        let mut fields = self.fields("", entries, &[&OWN[..], &options::KEYS].concat());
        let host = self.required(&mut fields, "host", place, Self::host);
        let url = self.required(&mut fields, "url", place, Self::url);
        let tenant = self.tenant(&mut fields, host.as_ref(), place);
        let secrets = self.secrets(&mut fields);
        let numbers = self.texts(&mut fields, "numbers", |reader, place, text| {
            let number = Number::new(text);
            if number.is_none() {
                reader.fault(place, "numbers", "it holds no number");
            }
            reader.claim(number?, place, "numbers", text, |taken| &mut taken.numbers)
        });
        let trunks = self.texts(&mut fields, "trunks", |reader, place, text| {
            reader.claim(text.to_owned(), place, "trunks", text, |taken| &mut taken.trunks)
        });
        let now = self.flag(&mut fields, "now").unwrap_or(false);
        let livekit = self.key_pair(&mut fields, "livekit");
        let most = limits.of(tenant.as_ref());
        let settings =
            self.hook_settings(&mut fields, base, livekit.as_ref().map(|(_, pair)| pair), &most, place);
        let tenant = tenant?;
        if let Some((place, pair)) = &livekit {
            self.claim_key(pair, &tenant, *place);
        }
        self.count_hook(&tenant, &most, place);
        let livekit = livekit.map(|(_, pair)| Box::new(pair));
        let (host, url, line) = (host?, url?, place.line);
        Some(Entry { host, tenant, url, secrets, numbers, trunks, livekit, settings, now, line })
    }

    fn required<T>(
        &mut self,
        fields: &mut Fields,
        key: &str,
        hook: Place,
        read: impl FnOnce(&mut Self, Place, &str) -> Option<T>,
    ) -> Option<T> {
        let Some(node) = fields.take(key) else {
            self.fault(hook, key, "the key is missing");
            return None;
        };
        let text = self.text(&node, key)?;
        read(self, node.place, text)
    }

    fn host(&mut self, place: Place, text: &str) -> Option<HostPattern> {
        match HostPattern::parse(text) {
            Ok(pattern) => self.claim(pattern, place, "host", text, |taken| &mut taken.hosts),
            Err(_) => {
                let message = format!("{text:?} is no host name: {}", host_fault(text));
                self.fault(place, "host", message);
                None
            }
        }
    }

    fn url(&mut self, place: Place, text: &str) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) if url.has_host() => url,
            Ok(_) | Err(_) => {
                self.fault(place, "url", "it is no URL with a scheme and a host");
                return None;
            }
        };
        match self.around.network.check(&url) {
            Ok(()) => Some(url),
            Err(refused) => {
                let shown = text.split(['?', '#']).next().unwrap_or_default();
                let credentials = !url.username().is_empty() || url.password().is_some();
                let shown = if credentials { "it" } else { shown };
                let message = format!("{shown} can never be delivered: {}", refused.why);
                let fault = Fault::new(place, "url", message);
                self.faults.push(Fault { fix: refused.fix, ..fault });
                None
            }
        }
    }

    fn tenant(&mut self, fields: &mut Fields, host: Option<&HostPattern>, hook: Place) -> Option<Tenant> {
        let (place, name) = match fields.take("tenant") {
            Some(node) => (node.place, self.text(&node, "tenant")?.to_owned()),
            None => match host?.default_tenant() {
                Some(name) => (hook, name.to_owned()),
                None => {
                    self.fault(hook, "tenant", "the key is missing: a wildcard does not say whose it is");
                    return None;
                }
            },
        };
        let tenant = Tenant::new(&name);
        if tenant.is_none() {
            let fault = Fault::new(place, "tenant", format!("{name:?} is no tenant name"));
            self.faults.push(fault.fix("lower-case letters, digits, '.', '_' and '-', at most 253"));
        }
        tenant
    }

    fn secrets(&mut self, fields: &mut Fields) -> Vec<Secret> {
        let (one, several) = (fields.take("secret"), fields.take("secrets"));
        if let (Some(_), Some(both)) = (&one, &several) {
            self.fault(both.place, "secrets", "secret stands beside it; give one of the two");
        }
        let nodes = match several {
            None => Vec::new(),
            Some(Node { value: Value::List(nodes), .. }) => nodes,
            Some(other) => {
                let message = format!("a list belongs here, not {}", other.value.kind());
                self.fault(other.place, "secrets", message);
                Vec::new()
            }
        };
        nodes.into_iter().chain(one).filter_map(|node| self.secret(&node)).collect()
    }

    fn secret(&mut self, node: &Node) -> Option<Secret> {
        let text = self.secret_text(node, "secret")?;
        match Secret::parse(&text) {
            Ok(secret) => Some(secret),
            Err(fault) => {
                let fault = Fault::new(node.place, "secret", format!("no usable secret: {fault}"));
                self.faults.push(fault.fix("whsec_ followed by the base64 of 24 to 64 random bytes"));
                None
            }
        }
    }

    /// A tenant's LiveKit key is its own: it says whose a post is.
    fn claim_key(&mut self, KeyPair { key, secret }: &KeyPair, tenant: &Tenant, place: Place) {
        if (self.around.is_platform_key)(key) {
            let message = format!("{key} is the platform's own key: it would verify other tenants' events");
            self.fault(place, "livekit", message);
            return;
        }
        match self.taken.keys.entry(key.clone()) {
            Slot::Vacant(slot) => {
                slot.insert((tenant.clone(), secret.clone(), place.line));
            }
            Slot::Occupied(slot) => {
                let (owner, known, line) = slot.get();
                let fault = match (owner == tenant, known == secret) {
                    (true, true) => return,
                    (true, false) => format!("{key} has another secret in line {line}"),
                    (false, _) => format!("{key} is already another tenant's, in line {line}"),
                };
                self.fault(place, "livekit", fault);
            }
        }
    }

    fn count_hook(&mut self, tenant: &Tenant, most: &options::Most, place: Place) {
        let count = self.taken.hooks.entry(tenant.clone()).or_default();
        *count += 1;
        // Said once, at the first one too many.
        if *count == most.hooks + 1 {
            let message = format!("tenant {tenant} has more than {} hooks", most.hooks);
            let fix = format!("raise limits.tenants.{tenant}.hooks, or limits.hooks for all");
            self.faults.push(Fault::new(place, "hooks", message).fix(fix));
        }
    }

    /// Takes `thing` for this hook, unless another has it.
    fn claim<T: Hash + Eq + Clone>(
        &mut self,
        thing: T,
        place: Place,
        key: &str,
        text: &str,
        owners: impl Fn(&mut Taken) -> &mut HashMap<T, u64>,
    ) -> Option<T> {
        match owners(&mut self.taken).entry(thing.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(place.line);
                Some(thing)
            }
            Slot::Occupied(slot) => {
                let message =
                    format!("{text} is already taken in line {} (the same after normalisation)", slot.get());
                self.fault(place, key, message);
                None
            }
        }
    }
}

fn host_fault(text: &str) -> &'static str {
    let wildcard = text.contains('*');
    match text {
        _ if text.contains(char::is_whitespace) => "it contains a space",
        _ if text.contains("://") || text.starts_with("sip:") => "it has a scheme; give the host alone",
        _ if !text.is_ascii() => "it is not ASCII; give its xn-- form",
        _ if text.starts_with('[') || text.matches(':').count() > 1 => {
            "an IPv6 address stands in brackets, without a port"
        }
        _ if text.contains(':') => "it has a port; give the host alone",
        _ if wildcard => "a wildcard is `*`, or `*.` before a host name",
        _ => "labels of letters, digits, '-' and '_', the last one beginning with a letter",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Around<'static> {
        Around::new(Network::default(), |source| match source {
            Source::Variable("ACME_SECRET") => Ok("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into()),
            Source::File("globex.secret") => Ok("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n".to_owned().into()),
            Source::Variable(_) => Err("the variable is not set".into()),
            Source::File(_) => Err("no such file".into()),
        })
    }

    fn faults(text: &str) -> Vec<String> {
        match parse(text, &plain()) {
            Ok(entries) => panic!("{entries:?}"),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_whole_entry_is_host_and_url() {
        let text = "hooks:\n  - host: Calls.DrSmith.com.\n    url: https://api.drsmith.com/voice\n";
        let entries = parse(text, &plain()).expect("no fault");
        assert_eq!(entries[0].host.to_string(), "calls.drsmith.com");
        assert_eq!(entries[0].tenant.as_str(), "calls.drsmith.com");
        assert!(entries[0].secrets.is_empty());
    }

    #[test]
    fn every_fault_is_named_with_its_place_and_no_secret() {
        let text = "hooks:
  - host: calls acme.com
    url: https://a.example/hook
  - host: calls.citydental.com
    url: http://10.0.0.7/hook?token=hush
    secret: whsec_hush
  - host: Calls.CityDental.com
    url: not a url
    numbers: [15550102, '+1 555 0103']
    colour: red
  - host: [a]
    host: b
    url: https://user:hush@b.example/
    numbers: ['1-555-0103']
  - nonsense
  - tenant: ACME
extra: 1
";
        let faults = faults(text);
        let all = faults.join("\n");
        assert!(!all.contains("hush"), "{all}");
        let expected = [
            "   2:11  host     \"calls acme.com\" is no host name: it contains a space",
            "   5:10  url      http://10.0.0.7/hook can never be delivered: private address, and plain http",
            "   6:13  secret   no usable secret: it holds 3 bytes; 24 to 64 are needed",
            "   7:11  host     Calls.CityDental.com is already taken in line 4",
            "   8:10  url      it is no URL with a scheme and a host",
            "   9:15  numbers  text belongs here, not a number",
            "   10:5  colour   there is no such key",
            "  11:11  host     text belongs here, not a list",
            "   12:5  host     the key stands here twice",
            "  13:10  url      it can never be delivered: it holds a user or password",
            "  14:15  numbers  1-555-0103 is already taken in line 9",
            "   15:5  hooks    a hook with host and url belongs here, not text",
            "   16:5  host     the key is missing",
            "   16:5  url      the key is missing",
            "  16:13  tenant   \"ACME\" is no tenant name",
            "   17:1  extra    there is no such key",
        ];
        assert_eq!(faults.len(), expected.len(), "{all}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}\n{expected}");
        }
    }

    #[test]
    fn a_wildcard_names_its_tenant() {
        let text = "hooks:\n  - {host: '*.acme.com', url: 'https://a.example'}\n  - {host: '*', url: 'https://b.example', tenant: rest}\n  - {host: '*acme.com', url: 'https://c.example'}\n  - {host: '*.10.0.0.1', url: 'https://d.example', tenant: d}\n";
        let faults = faults(text);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults[0].contains("2:5  tenant   the key is missing: a wildcard does not say whose it is"),
            "{faults:?}"
        );
        assert!(faults[1].contains("a wildcard is `*`, or `*.` before a host name"), "{faults:?}");
    }

    #[test]
    fn what_is_no_hooks_file_says_so() {
        for text in ["", "[]", "hooks: 3", "other: 1"] {
            assert!(!faults(text).is_empty(), "{text}");
        }
        for text in ["hooks: []", "hooks:\n  # - host: none yet\n"] {
            assert!(parse(text, &plain()).expect("an empty table").is_empty());
        }
    }
}
