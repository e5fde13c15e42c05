//! How hooks are spelled in `hooks.yaml`. Every fault of a file is found, not only the first.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;

use reqwest::Url;

use super::hook::{Entry, HostPattern, Number, Tenant};
use crate::network::Network;
use crate::signature::Secret;
use crate::yaml::{self, Fault, Key, Node, Place, Value};

const KEYS: [&str; 7] = ["host", "url", "tenant", "secret", "secrets", "numbers", "trunks"];

/// Reads the text of a hooks file. `network`: what URLs may be delivered to.
///
/// # Errors
/// Every fault, in the file's order; nothing of the file is to be used then.
pub fn parse(text: &str, network: &Network) -> Result<Vec<Entry>, Vec<Fault>> {
    let root = yaml::parse(text).map_err(|fault| vec![fault])?;
    let mut reader = Reader { network, faults: Vec::new(), taken: Taken::default() };
    let entries = reader.file(root);
    reader.faults.sort_by_key(|fault| fault.place);
    if reader.faults.is_empty() { Ok(entries) } else { Err(reader.faults) }
}

struct Reader<'a> {
    network: &'a Network,
    faults: Vec<Fault>,
    taken: Taken,
}

/// What one hook already owns, and the line it stands in.
#[derive(Default)]
struct Taken {
    hosts: HashMap<HostPattern, u64>,
    numbers: HashMap<Number, u64>,
    trunks: HashMap<String, u64>,
}

/// The entries of one map, with doubled keys already reported.
struct Fields(HashMap<String, Node>);

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
        let mut fields = self.fields(entries, &["hooks"]);
        match fields.0.remove("hooks") {
            Some(Node { value: Value::List(hooks), .. }) => {
                hooks.into_iter().filter_map(|hook| self.hook(hook)).collect()
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

    fn hook(&mut self, node: Node) -> Option<Entry> {
        let place = node.place;
        let Value::Map(entries) = node.value else {
            let message = format!("a hook with host and url belongs here, not {}", node.value.kind());
            self.fault(place, "hooks", message);
            return None;
        };
        let mut fields = self.fields(entries, &KEYS);
        let host = self.required(&mut fields, "host", place, Self::host);
        let url = self.required(&mut fields, "url", place, Self::url);
        let tenant = self.tenant(&mut fields, host.as_ref(), place);
        let secrets = self.secrets(&mut fields);
        let numbers = self.list(&mut fields, "numbers", |reader, place, text| {
            let number = Number::new(text);
            if number.is_none() {
                reader.fault(place, "numbers", "it holds no number");
            }
            reader.claim(number?, place, "numbers", text, |taken| &mut taken.numbers)
        });
        let trunks = self.list(&mut fields, "trunks", |reader, place, text| {
            reader.claim(text.to_owned(), place, "trunks", text, |taken| &mut taken.trunks)
        });
        Some(Entry { host: host?, url: url?, tenant: tenant?, secrets, numbers, trunks })
    }

    /// Sorts a map's entries by key; unknown and doubled keys are faults.
    fn fields(&mut self, entries: Vec<(Key, Node)>, known: &[&str]) -> Fields {
        let mut fields = HashMap::new();
        for (key, node) in entries {
            if !known.contains(&key.name.as_str()) {
                let fault = Fault::new(key.place, &key.name, "there is no such key");
                self.faults.push(fault.fix(format!("one of: {}", known.join(", "))));
                continue;
            }
            match fields.entry(key.name) {
                Slot::Vacant(slot) => {
                    slot.insert(node);
                }
                Slot::Occupied(slot) => {
                    self.faults.push(Fault::new(key.place, slot.key(), "the key stands here twice"));
                }
            }
        }
        Fields(fields)
    }

    fn required<T>(
        &mut self,
        fields: &mut Fields,
        key: &str,
        hook: Place,
        read: impl FnOnce(&mut Self, Place, &str) -> Option<T>,
    ) -> Option<T> {
        let Some(node) = fields.0.remove(key) else {
            self.fault(hook, key, "the key is missing");
            return None;
        };
        let text = self.text(&node, key)?;
        read(self, node.place, text)
    }

    fn text<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text.trim()),
            Value::Text(_) => {
                self.fault(node.place, key, "it is empty");
                None
            }
            other => {
                let fault = Fault::new(node.place, key, format!("text belongs here, not {}", other.kind()));
                let quoted = matches!(other, Value::Number | Value::Bool);
                self.faults.push(if quoted { fault.fix("put it in quotes") } else { fault });
                None
            }
        }
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
        match self.network.check(&url) {
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
        let (place, name) = match fields.0.remove("tenant") {
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
        if let (Some(_), Some(both)) = (fields.0.get("secret"), fields.0.get("secrets")) {
            let place = both.place;
            self.fault(place, "secrets", "secret stands beside it; give one of the two");
        }
        let one = fields.0.remove("secret");
        let mut secrets = self.list(fields, "secrets", Self::secret);
        if let Some(node) = one
            && let Some(text) = self.text(&node, "secret")
        {
            secrets.extend(self.secret(node.place, text));
        }
        secrets
    }

    fn secret(&mut self, place: Place, text: &str) -> Option<Secret> {
        match Secret::parse(text) {
            Ok(secret) => Some(secret),
            Err(fault) => {
                let fault = Fault::new(place, "secret", format!("no usable secret: {fault}"));
                self.faults.push(fault.fix("whsec_ followed by the base64 of 24 to 64 random bytes"));
                None
            }
        }
    }

    fn list<T>(
        &mut self,
        fields: &mut Fields,
        key: &str,
        mut read: impl FnMut(&mut Self, Place, &str) -> Option<T>,
    ) -> Vec<T> {
        let items = match fields.0.remove(key) {
            None => return Vec::new(),
            Some(Node { value: Value::List(items), .. }) => items,
            Some(other) => {
                self.fault(other.place, key, format!("a list belongs here, not {}", other.value.kind()));
                return Vec::new();
            }
        };
        let mut list = Vec::new();
        for item in items {
            if let Some(text) = self.text(&item, key) {
                list.extend(read(self, item.place, text));
            }
        }
        list
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

    fn faults(text: &str) -> Vec<String> {
        match parse(text, &Network::default()) {
            Ok(entries) => panic!("{entries:?}"),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_whole_entry_is_host_and_url() {
        let text = "hooks:\n  - host: Calls.DrSmith.com.\n    url: https://api.drsmith.com/voice\n";
        let entries = parse(text, &Network::default()).expect("no fault");
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
            assert!(parse(text, &Network::default()).expect("an empty table").is_empty());
        }
    }
}
