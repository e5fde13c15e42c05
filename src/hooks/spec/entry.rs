//! One hook's own keys: its host, tenant, URL, and what it signs with.

use std::collections::hash_map::Entry as Slot;

use reqwest::Url;

use super::fields::Fields;
use super::options::{self, Terms};
use super::reader::SpecReader;
use crate::hooks::hook::{Entry, HostPattern, Number, Tenant};
use crate::hooks::limits::Most;
use crate::hooks::settings::KeyPair;
use crate::hooks::target::{is_hidden, loggable};
use crate::signature::Secret;
use crate::yaml::{Node, TextFault, TextPosition, Value};

/// Secrets that a hook may be given: each signs every delivery.
const SECRETS: usize = 4;

/// Numbers of one hook, and trunks, at most.
const CLAIMS: usize = 1000;

/// Characters of a URL, at most.
const URL: usize = 2048;

/// What is wrong with a URL that was copied from an answer.
const HIDDEN_QUERY: &str = "`***` stands for a stored query that is not shown; only a hook of the API keeps it, \
    its own, and only if the URL before it is the same";

impl SpecReader<'_> {
    /// One hook; none if it is faulty. `own`: the keys that may stand in it besides those with defaults.
    pub fn hook(&mut self, node: Node, terms: &Terms, own: &[&str]) -> Option<Entry> {
        let place = node.place;
        let Value::Map(entries) = node.value else {
            let message = format!("a hook with host and url belongs here, not {}", node.value.kind());
            self.fault(place, "hooks", message);
            return None;
        };
        let mut fields = self.fields("", entries, &[own, &options::KEYS].concat());
        let host = self.required(&mut fields, "host", place, Self::host);
        let url = self.required(&mut fields, "url", place, Self::url);
        let tenant = self.tenant(&mut fields, host.as_ref(), place);
        let secrets = self.secrets(&mut fields);
        let numbers = self.texts(&mut fields, "numbers", CLAIMS, |reader, place, text| {
            let number = Number::new(text);
            if number.is_none() {
                reader.fault(place, "numbers", "it holds no number");
            }
            reader.claim(number?, place, "numbers", text, |taken| &mut taken.numbers)
        });
        let trunks = self.texts(&mut fields, "trunks", CLAIMS, |reader, place, text| {
            reader.claim(text.to_owned(), place, "trunks", text, |taken| &mut taken.trunks)
        });
        let now = self.flag(&mut fields, "now").unwrap_or(false);
        let livekit = self.key_pair(&mut fields, "livekit");
        let most = terms.limits.of(tenant.as_ref());
        let pair = livekit.as_ref().map(|(_, pair)| pair);
        let settings = self.hook_settings(&mut fields, &terms.base, pair, &most, place);
        let tenant = tenant?;
        if let Some((place, pair)) = &livekit {
            self.claim_key(pair, &tenant, *place);
        }
        self.count_hook(&tenant, &most, place);
        let livekit = livekit.map(|(_, pair)| Box::new(pair));
        let (host, url, private, line) = (host?, url?, true, place.line);
        Some(Entry { host, tenant, url, secrets, numbers, trunks, livekit, settings, now, private, line })
    }

    fn required<T>(
        &mut self,
        fields: &mut Fields,
        key: &str,
        hook: TextPosition,
        read: impl FnOnce(&mut Self, TextPosition, &str) -> Option<T>,
    ) -> Option<T> {
        let Some(node) = fields.take(key) else {
            self.fault(hook, key, "the key is missing");
            return None;
        };
        let text = self.text(&node, key)?;
        read(self, node.place, text)
    }

    fn host(&mut self, place: TextPosition, text: &str) -> Option<HostPattern> {
        match HostPattern::parse(text) {
            Ok(pattern) => self.claim(pattern, place, "host", text, |taken| &mut taken.hosts),
            Err(_) => {
                let message = format!("{text:?} is no host name: {}", host_fault(text));
                self.fault(place, "host", message);
                None
            }
        }
    }

    fn url(&mut self, place: TextPosition, text: &str) -> Option<Url> {
        if is_hidden(text) {
            let fault = TextFault::new(place, "url", HIDDEN_QUERY);
            self.faults.push(fault.fix("give the whole URL, with its query"));
            return None;
        }
        let url = match Url::parse(text) {
            Ok(url) if url.has_host() => url,
            Ok(_) | Err(_) => {
                self.fault(place, "url", "it is no URL with a scheme and a host");
                return None;
            }
        };
        // Either spelling: special characters are escaped in the stored one.
        let length = text.len().max(url.as_str().len());
        if length > URL {
            let fault = TextFault::new(place, "url", format!("it has {length} characters"));
            self.faults.push(fault.fix(format!("at most {URL}")));
            return None;
        }
        match self.around.network.check(&url) {
            Ok(()) => Some(url),
            Err(refused) => {
                let credentials = !url.username().is_empty() || url.password().is_some();
                let shown = if credentials { "it" } else { loggable(text) };
                let message = format!("{shown} can never be delivered: {}", refused.why);
                let fault = TextFault::new(place, "url", message);
                // A scheme that does not exist for hooks, or a password in the URL, is opened by nothing.
                let fix = refused.fix.map(|fix| self.around.target_fix.map_or(fix, str::to_owned));
                self.faults.push(TextFault { fix, ..fault });
                None
            }
        }
    }

    fn tenant(
        &mut self,
        fields: &mut Fields,
        host: Option<&HostPattern>,
        hook: TextPosition,
    ) -> Option<Tenant> {
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
            let fault = TextFault::new(place, "tenant", format!("{name:?} is no tenant name"));
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
            Some(Node { value: Value::List(nodes), place }) => {
                if !self.is_within(place, "secrets", nodes.len(), SECRETS) {
                    return Vec::new();
                }
                nodes
            }
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
                let fault = TextFault::new(node.place, "secret", format!("no usable secret: {fault}"));
                self.faults.push(fault.fix("whsec_ followed by the base64 of 24 to 64 random bytes"));
                None
            }
        }
    }

    /// A tenant's LiveKit key belongs to one tenant, since posts are assigned to the tenant by it.
    fn claim_key(&mut self, KeyPair { key, secret }: &KeyPair, tenant: &Tenant, place: TextPosition) {
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

    fn count_hook(&mut self, tenant: &Tenant, most: &Most, place: TextPosition) {
        let count = self.taken.hooks.entry(tenant.clone()).or_default();
        *count += 1;
        // Reported once, at the first hook beyond the limit.
        if *count == most.hooks + 1 {
            let message = format!("tenant {tenant} has more than {} hooks", most.hooks);
            let fix = format!("raise limits.tenants.{tenant}.hooks, or limits.hooks for all");
            self.faults.push(TextFault::new(place, "hooks", message).fix(fix));
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
