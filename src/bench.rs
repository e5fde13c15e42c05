//! What the benchmarks measure from the inside. Not part of the library's face.

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;

use crate::hooks::{Around, HookTable, parse};
use crate::ids::{BodyHash, HookId};
use crate::ingress::{KeyRing, Keys, check_hash, check_token};
use crate::network::Network;
use crate::time::UnixMillis;

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
        let mut keys = Keys::default();
        keys.insert(key, secret);
        let network = Network { allowed: Vec::new(), allow_http: true };
        let around = Around::new(network, |_| Err("a benchmark has no secrets".into()));
        let entries = parse(hooks, &around).expect("a hook table");
        let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
        Self { ring: KeyRing::new(&keys), table: HookTable::build(numbered.collect(), Vec::new()), now }
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
        check_token(headers, &self.ring, self.now)
            .is_ok_and(|vouched| check_hash(&vouched.sha256, &BodyHash::of(body)).is_ok())
    }

    /// Whether the event finds a hook.
    pub fn route(&self, body: &Bytes) -> bool {
        crate::event::Event::parse(body)
            .is_ok_and(|event| crate::route::route(&event, &self.table, true, None).outcome.is_ok())
    }
}
