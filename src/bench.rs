//! What the benchmarks measure from the inside. Not part of the library's face.

pub mod hostile;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use ipnet::IpNet;

use crate::access::{Claims, Scope, Tokens};
use crate::domain::Domain;
use crate::hooks::{
    Around, Entry, Hook, HookTable, HostPattern, Numbered, Signing, Tenant, parse, parse_file,
};
use crate::ids::{BodyHash, EventId, HookId};
use crate::ingress::{ApiKeys, DoorKeys, KeyRing, check_hash, check_token};
use crate::network::Network;
use crate::outbox::bench::Live;
use crate::registry::{
    EditGround, EditRefusal, EditRequest, Pauses, Plan, Precondition, Registry, StoredHooks, TableEdit, plan,
};
use crate::signature::{self, MasterSecret};
use crate::telemetry::Metrics;
use crate::time::UnixMillis;

/// The token LiveKit would send with `body`.
pub fn livekit_token(key: &str, secret: &str, body: &[u8], now: UnixMillis) -> String {
    signature::livekit_token(key, secret, &BodyHash::of(body), now)
}

/// Verifies, reads and routes events as the router does, without sockets and store.
pub struct HotPath {
    ring: KeyRing,
    table: HookTable,
    now: UnixMillis,
}

impl HotPath {
    /// The path with one API key, the hook table `hooks`, at `now`.
    ///
    /// # Panics
    /// When the hook table is faulty.
    #[expect(clippy::expect_used, reason = "a benchmark's own table")]
    pub fn new(key: &str, secret: &str, hooks: &str, now: UnixMillis) -> Self {
        let mut keys = ApiKeys::default();
        keys.insert(key, secret);
        let loopback = IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let network = Network { allowed: vec![loopback], allow_http: true };
        let around = Around::new(network, |_| Err("a benchmark has no secrets".into()));
        let mut signed = Signed::new(0);
        signed.add(Read(parse(hooks, &around).expect("a hook table")));
        Self { ring: KeyRing::new(&keys), table: Table::build(signed).0, now }
    }

    /// The headers of a request with this token.
    ///
    /// # Panics
    /// When the token is no header value.
    #[expect(clippy::expect_used, reason = "a benchmark's own token")]
    pub fn headers(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(token).expect("a token");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    /// Whether the token and the body's hash verify.
    pub fn verify(&self, headers: &HeaderMap, body: &Bytes) -> bool {
        self.hash(headers, body, self.now).is_some()
    }

    /// The hash of a body whose token verifies at `now`.
    fn hash(&self, headers: &HeaderMap, body: &Bytes, now: UnixMillis) -> Option<BodyHash> {
        let vouched = check_token(headers, &DoorKeys::Platform(&self.ring), now).ok()?;
        let hash = BodyHash::of(body);
        check_hash(&vouched.sha256, &hash).ok().map(|()| hash)
    }

    /// Whether the event finds a hook.
    pub fn route(&self, body: &Bytes) -> bool {
        crate::event::Event::parse(body).is_ok_and(|event| self.hook(&event).is_some())
    }

    fn hook(&self, event: &crate::event::Event<'_>) -> Option<Arc<Hook>> {
        let route = crate::route::route(event, self.table.all(), true, None);
        route.outcome.ok().map(|(hook, _)| hook)
    }

    /// Verifies at `now`, reads and routes an event; none: not LiveKit's, or no hook's.
    pub fn address(&self, headers: &HeaderMap, body: &Bytes, now: UnixMillis) -> Option<Addressed> {
        let hash = self.hash(headers, body, now)?;
        let event = crate::event::Event::parse(body).ok()?;
        Some(Addressed { hook: self.hook(&event)?, id: EventId::new(event.id.as_deref(), &hash) })
    }
}

/// An event and the hook it goes to.
pub struct Addressed {
    hook: Arc<Hook>,
    id: EventId,
}

impl Addressed {
    /// Where its hook's events go.
    pub fn url(&self) -> &str {
        self.hook.url.as_str()
    }

    /// Its `webhook-id`.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Its `webhook-signature` (Standard Webhooks 1.0), by the tenant's derived secret. `timestamp`:
    /// Unix seconds.
    pub fn sign(&self, timestamp: i64, body: &[u8]) -> String {
        let signatures = self.hook.secrets.iter().map(|one| one.secret.sign(self.id(), timestamp, body));
        signatures.collect::<Vec<_>>().join(" ")
    }
}

/// The entries of a hooks file, read and checked.
pub struct Read(Vec<Entry>);

impl Read {
    /// Reads the text of a hooks file.
    ///
    /// # Panics
    /// When it is faulty.
    #[expect(clippy::expect_used, reason = "a benchmark's own table")]
    pub fn new(text: &str) -> Self {
        let around = Around::new(Network::default(), |_| Err("a benchmark has no secrets".into()));
        Self(parse(text, &around).expect("a hook table"))
    }
}

/// Entries with the ids and the derived secrets a running router has for them.
pub struct Signed {
    master: MasterSecret,
    hooks: Vec<Numbered>,
}

impl Signed {
    /// No entries yet, with room for `count`.
    ///
    /// # Panics
    /// Never: the master secret is long enough.
    #[expect(clippy::expect_used, reason = "a benchmark's own secret")]
    pub fn new(count: usize) -> Self {
        let master = MasterSecret::parse("a-benchmark-secret-used-only-on-loopback").expect("long enough");
        Self { master, hooks: Vec::with_capacity(count) }
    }

    /// Adds entries; ids count from 0, in the order they are added.
    pub fn add(&mut self, read: Read) {
        for entry in read.0 {
            let id = HookId(i64::try_from(self.hooks.len()).unwrap_or(i64::MAX));
            let secrets =
                self.master.derive(entry.tenant.as_str(), 1).into_iter().map(Signing::current).collect();
            self.hooks.push((entry, id, secrets));
        }
    }
}

/// A domain, as it is once an event has been read.
pub struct Name(Domain);

impl Name {
    /// The domain of a host.
    ///
    /// # Panics
    /// When it is no host.
    #[expect(clippy::expect_used, reason = "a benchmark's own hosts")]
    pub fn new(host: &str) -> Self {
        Self(Domain::from_host(host).expect("a host"))
    }
}

/// A hook table by itself.
pub struct Table(HookTable);

impl Table {
    /// Builds the index.
    pub fn build(signed: Signed) -> Self {
        Self(HookTable::build(signed.hooks, Vec::new()))
    }

    /// The hook a domain has, by the place it stands in.
    pub fn find(&self, name: &Name) -> Option<usize> {
        self.0.by_domain(&name.0).map(|hook| Arc::as_ptr(hook).addr())
    }

    /// Where the hook with this id stands.
    pub fn place(&self, id: i64) -> Option<usize> {
        self.0.by_id(HookId(id)).map(|hook| Arc::as_ptr(hook).addr())
    }
}

/// Single edits of a large hook table, checked and planned as the API's are, but not stored.
pub struct Edits {
    table: HookTable,
    registry: Registry,
    around: Around<'static>,
    scope: Scope,
}

impl Edits {
    /// The table of a hooks file, and a token that covers every host.
    ///
    /// # Panics
    /// When the file is faulty.
    #[expect(clippy::expect_used, reason = "a benchmark's own table")]
    pub fn new(hooks: &str, now: UnixMillis) -> Self {
        let around = Around::new(Network::default(), |_| Err("a benchmark has no secrets".into()));
        let file = parse_file(hooks, &around).expect("a hook table");
        let secret = "a-benchmark-secret-used-only-on-loopback";
        let master = MasterSecret::parse(secret).expect("long enough");
        let stored = StoredHooks { next_id: 1, ..StoredHooks::default() };
        let Plan { table, registry, .. } = plan(stored, file, &HookTable::default(), &master, now);
        let tokens = Tokens::new(secret);
        let token = tokens.sign(&Claims::operator(now, UnixMillis(now.0 + 60_000))).expect("a token");
        let scope = tokens.verify(&token, now).expect("its own").scope;
        Self { table, registry, around, scope }
    }

    /// Puts a hook at this host and URL; the table is another one from here on. Gives the old one, to be dropped
    /// later.
    ///
    /// # Panics
    /// When it is refused.
    #[expect(clippy::expect_used, reason = "a benchmark's own hooks")]
    pub fn put(&mut self, host: &str, url: &str, now: UnixMillis) -> impl Sized + use<> {
        let host = HostPattern::parse(host).expect("a host");
        let planned = self.try_put(host, serde_json::json!({ "url": url }), now).expect("made");
        std::mem::replace(&mut self.table, planned.table)
    }

    fn try_put(
        &mut self,
        host: HostPattern,
        spec: serde_json::Value,
        now: UnixMillis,
    ) -> Result<TableEdit, EditRefusal> {
        let edit = EditRequest::Put { host, spec, now: false, precondition: Precondition::None };
        let ground = EditGround {
            table: &self.table,
            pauses: &Pauses::default(),
            rows: Vec::new(),
            calling: false,
            around: &self.around,
            now,
        };
        self.registry.plan_edit(&self.scope, &edit, &ground)
    }

    /// How many hooks there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }
}

/// What is counted of each event for charts, and what its live stream costs while nobody reads it.
pub struct Watched {
    metrics: Metrics,
    tenants: Vec<Tenant>,
}

impl Watched {
    /// So many tenants.
    pub fn new(count: usize) -> Self {
        let tenants = (0..count).filter_map(|number| Tenant::new(&format!("t{number}"))).collect();
        Self { metrics: Metrics::default(), tenants }
    }

    /// Counts an event of the tenant of this number: it came, was acknowledged, and is delivered.
    pub fn count(&self, number: usize, at: UnixMillis) {
        let (hour, tenant) = (&self.metrics.hour, &self.tenants[number % self.tenants.len()]);
        hour.acknowledged(at, Duration::from_micros(400));
        hour.received(at, Some(tenant));
        hour.attempted(at, tenant, Some(Duration::from_millis(12)));
    }

    /// Whether a live stream has a reader. Each event makes this check; without a reader it makes nothing more.
    pub fn has_reader(&self) -> bool {
        self.metrics.live.readers() > 0
    }
}

/// Live calls, each bound to a hook by its caller.
pub struct LiveCalls {
    live: Live,
    table: HookTable,
}

impl LiveCalls {
    /// `count` calls of a few hooks.
    ///
    /// # Panics
    /// When the hook table is faulty.
    #[expect(clippy::expect_used, reason = "a benchmark's own table")]
    pub fn new(hooks: &str, count: usize) -> Self {
        let network = Network { allowed: Vec::new(), allow_http: true };
        let around = Around::new(network, |_| Err("a benchmark has no secrets".into()));
        let entries = parse(hooks, &around).expect("a hook table");
        let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
        let table = HookTable::build(numbered.collect(), Vec::new());
        let hosts: Vec<String> = table.hooks().map(|hook| hook.host.to_string()).collect();
        let mut live = Live::default();
        for (number, host) in (0..count).zip(hosts.iter().cycle()) {
            let session = Self::session(number);
            let body = format!(
                r#"{{"event":"participant_joined","id":"EV_{number}","room":{{"sid":"{session}","name":"{session}"}},"participant":{{"sid":"PA_{number:012}","kind":"SIP","attributes":{{"sip.ruleID":"SDR_1","sip.h.x-to-ip":"{host}"}}}}}}"#
            );
            live.hear(&table, body.into());
        }
        Self { live, table }
    }

    /// The sid of a call's room.
    pub fn session(number: usize) -> String {
        format!("RM_{number:012}")
    }

    /// Whether an event of this session, read from `body`, finds a hook; without `session`: no call is looked
    /// for.
    pub fn route(&self, body: &[u8], session: Option<&str>) -> bool {
        let call = match session {
            Some(session) => self.live.call(session),
            None => None,
        };
        crate::event::Event::parse(body)
            .is_ok_and(|event| crate::route::route(&event, self.table.all(), true, call).outcome.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_addressed_once_it_verifies_and_signed_with_its_tenants_secret() {
        let (secret, now) = ("a-secret-of-livekit", UnixMillis(1_795_240_012_000));
        let hooks = "hooks:\n  - host: a.example\n    url: http://127.0.0.1:8000/voice\n";
        let path = HotPath::new("APIbench", secret, hooks, now);
        let body = Bytes::from_static(
            br#"{"id":"EV_1","event":"participant_joined","participant":{"kind":"SIP",
                "attributes":{"sip.ruleID":"SDR_1","sip.h.x-to-ip":"a.example"}}}"#,
        );
        let headers = HotPath::headers(&livekit_token("APIbench", secret, &body, now));
        let addressed = path.address(&headers, &body, now).expect("a hook");
        assert_eq!((addressed.url(), addressed.id()), ("http://127.0.0.1:8000/voice", "EV_1"));
        let signature = addressed.sign(now.seconds(), &body);
        let signing = &addressed.hook.secrets[0];
        assert!(signing.secret.verifies("EV_1", now.seconds(), &body, &signature), "{signature}");
        assert!(path.address(&headers, &Bytes::from_static(b"{}"), now).is_none(), "another body");
        assert!(path.address(&headers, &body, now.after(Duration::from_secs(400))).is_none());
    }
}
