//! An engine under test, and changes to give it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Kept;
use crate::calls::tests::world::{START, post};
use crate::calls::{
    AuditRecord, Change, Destination, FreedEvent, Keys, Known, Loaded, NewEvent, Owned, Place, Session,
};
use crate::delivery::{Answer, Attempt};
use crate::hooks::{Format, Tenant};
use crate::ids::{Chain, DeliveryId, HookId};
use crate::outbox::engine::Engine;
use crate::route::{Binding, Door, Reason, Rule};
use crate::time::UnixMillis;

/// An engine under test.
pub struct Bench<K: Kept> {
    kept: K,
    /// None only while it is opened anew.
    engine: Option<K::Engine>,
    last: Vec<Change>,
}

impl<K: Kept> Bench<K> {
    pub fn new() -> Self {
        Self::of(K::new())
    }

    pub fn of(kept: K) -> Self {
        let engine = Some(kept.open());
        Self { kept, engine, last: Vec::new() }
    }

    pub fn engine(&mut self) -> &mut K::Engine {
        self.engine.as_mut().expect("it is open")
    }

    pub fn commit(&mut self, changes: Vec<Change>) {
        self.engine().commit(&[&changes]).expect("committed");
        assert_eq!(K::altered(self.engine()), 0, "each change keeps the sums: {changes:?}");
        self.last = changes;
    }

    /// Opens the engine anew; what deciding knows then.
    pub fn start(&mut self) -> Known {
        self.engine = None;
        self.engine = Some(self.kept.open());
        K::known(self.engine())
    }

    pub fn load(&mut self, keys: &Keys) -> Loaded {
        self.engine().load(keys).expect("loaded")
    }

    /// Checks the answer: now, after the last changes are committed once more, and after a start.
    pub fn answers(&mut self, keys: &Keys, check: impl Fn(Loaded)) {
        check(self.load(keys));
        let last = std::mem::take(&mut self.last);
        self.commit(last);
        check(self.load(keys));
        self.start();
        check(self.load(keys));
    }

    /// Checks what waits at a place, as ids with reasons.
    pub fn waits(&mut self, place: &Place, expected: &[(i64, Reason)]) {
        let keys = Keys { waiting: vec![place.clone()], ..Keys::default() };
        self.answers(&keys, |loaded| {
            let waiting = loaded.answers.waiting[place].iter();
            assert_eq!(waiting.map(|one| (one.id.0, one.reason)).collect::<Vec<_>>(), expected, "{place:?}");
        });
    }

    /// Checks a session.
    pub fn has(&mut self, session: &str, expected: Option<&Session>) {
        let key: Arc<str> = session.into();
        let keys = Keys { sessions: vec![Arc::clone(&key)], ..Keys::default() };
        self.answers(&keys, |loaded| {
            assert_eq!(loaded.answers.absent.contains(&key), expected.is_none());
            assert_eq!(loaded.sessions.first().map(|(_, session)| session), expected, "{session}");
        });
    }
}

/// A time, so many seconds after the start.
pub fn at(seconds: i64) -> UnixMillis {
    UnixMillis(START.0 + 1000 * seconds)
}

pub fn session(call: &str) -> Arc<str> {
    format!("RM_{call}").into()
}

pub fn of_session(call: &str) -> Place {
    Place::Session(session(call))
}

pub fn of_room(room: &str) -> Place {
    Place::Room(room.into())
}

pub fn binding(hook: i64) -> Binding {
    Binding { hook: HookId(hook), url: format!("https://{hook}.example/").into(), format: Format::Raw }
}

pub fn tenant(name: &str) -> Tenant {
    Tenant::new(name).expect("a name")
}

/// A binding to this hook, of the tenant `acme`.
pub fn owned(hook: i64) -> Owned {
    Owned { binding: binding(hook), tenant: Some(tenant("acme")) }
}

pub fn chain(hook: i64, call: &str) -> Chain {
    Chain::new(HookId(hook), &session(call))
}

/// Where an event goes: to this hook, with this number in this chain.
pub fn destination(hook: i64, call: &str, sequence: i64) -> Destination {
    Destination {
        rule: Rule::Call,
        hook: HookId(hook),
        bound: Some(binding(hook)),
        chain: chain(hook, call),
        sequence,
        paused_before_ms: 0,
    }
}

/// An event came, `id` seconds after the start.
pub fn added(id: i64, event: &Value, fate: Result<Destination, Reason>) -> Change {
    let post = post(&event.to_string(), at(id), Door::Platform);
    let (session, domain, tenant) = (post.sid.clone(), None, None);
    Change::EventAdded(Box::new(NewEvent { id: DeliveryId(id), post, session, domain, tenant, fate }))
}

/// A session of the room's name `call` began.
pub fn begun(call: &str, began: i64) -> Change {
    let (room, bound) = (Some(call.into()), None);
    Change::CallBegun { session: session(call), room, sip: false, at: at(began), space: None, bound }
}

/// An event that waited for its session's call is freed.
pub fn freed(id: i64, call: &str, destination: Destination, seconds: i64) -> Change {
    let (place, session, at) = (of_session(call), session(call), at(seconds));
    let (id, tenant, is_replay) = (DeliveryId(id), tenant("acme"), false);
    Change::EventFreed(Box::new(FreedEvent { id, place, session, tenant, destination, at, is_replay }))
}

/// An attempt that was answered with this status.
pub fn attempt(number: u32, at: UnixMillis, status: u16) -> Attempt {
    let outcome = Ok(Answer { status, retry_after: None });
    Attempt { number, at, url: "https://1.example/".into(), latency: Duration::from_millis(3), outcome }
}

/// A record of the audit log: an operator has put a tenant's hook.
pub fn audit_record(at: UnixMillis, tenant: &Tenant) -> AuditRecord {
    AuditRecord {
        at,
        actor: "operator".to_owned(),
        token: None,
        from: None,
        tenant: Some(tenant.to_string()),
        action: "hook.put".to_owned(),
        target: "a.example".to_owned(),
        before: None,
        after: None,
        outcome: "done".to_owned(),
    }
}
