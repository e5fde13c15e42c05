//! A router over two engines: to one of them it commits again what it heard nothing of.

use std::cell::RefCell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::committed::Committed;
use super::drawn::{By, DOMAINS, End, Posted, Step, What};
use super::orders::Seen;
use crate::calls::tests::world::{START, caller_with, door_of, egress, guest, post, room};
use crate::calls::{Change, Decided, Ground, Keys, Known, Order, Outcome, Post, Ready, decide};
use crate::delivery::Fresh;
use crate::outbox::engine::Engine;
use crate::outbox::engine::contract::Kept;
use crate::route::Door;
use crate::time::UnixMillis;

/// What was decided at once.
struct Batch {
    changes: Vec<Change>,
    /// The deliveries that it has the router make.
    ready: Vec<Ready>,
}

/// An engine, and where it keeps what it stores.
struct Store<K: Kept> {
    kept: K,
    /// None only while it is opened anew.
    engine: Option<K::Engine>,
}

pub struct Router<'c, K: Kept> {
    /// What is committed to it may be committed again.
    twice: Store<K>,
    /// Each batch is committed to it once.
    once: Store<K>,
    known: Known,
    fresh: Fresh,
    seen: Seen,
    now: UnixMillis,
    posted: Vec<Arc<Post>>,
    /// Batches whose commits succeeded, but gave the router no result: it commits them again with the next batch.
    unheard: Vec<Batch>,
    committed: &'c RefCell<Committed>,
}

impl<K: Kept> Store<K> {
    fn new() -> Self {
        let kept = K::new();
        let engine = Some(kept.open());
        Self { kept, engine }
    }

    fn engine(&mut self) -> &mut K::Engine {
        self.engine.as_mut().expect("it is open")
    }

    fn open_anew(&mut self) {
        self.engine = None;
        self.engine = Some(self.kept.open());
    }

    fn commit(&mut self, batches: &[Batch]) {
        let changes: Vec<&[Change]> = batches.iter().map(|batch| &batch.changes[..]).collect();
        self.engine().commit(&changes).expect("committed");
    }
}

impl<'c, K: Kept> Router<'c, K> {
    /// A router over two empty stores.
    pub fn new(committed: &'c RefCell<Committed>) -> Self {
        let mut twice = Store::<K>::new();
        let known = K::known(twice.engine());
        let mut router = Self {
            twice,
            once: Store::new(),
            known,
            fresh: Fresh::default(),
            seen: Seen::default(),
            now: START,
            posted: Vec::new(),
            unheard: Vec::new(),
            committed,
        };
        let first = router.seen.first();
        router.decide(&[], &first);
        router
    }

    /// Takes a step: decides a batch, and commits it with those that nobody has heard of.
    pub fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.now.0 += step.later;
        let posts: Vec<_> = step.posts.iter().map(|posted| self.post(posted)).collect();
        let orders = if self.unheard.is_empty() {
            self.seen.at(self.now, K::shelves(self.twice.engine()));
            step.orders.iter().filter_map(|asked| self.seen.order(asked)).collect()
        } else {
            self.deliver_early(step);
            Vec::new()
        };
        self.decide(&posts, &orders);
        self.seen.end_batch();
        self.twice.commit(&self.unheard);
        match step.end {
            End::Heard => self.hear(),
            End::Unheard => Ok(()),
            End::Reopened => {
                self.twice.open_anew();
                Ok(())
            }
        }
    }

    /// All is committed once more, and heard of.
    pub fn end(&mut self) -> Result<(), TestCaseError> {
        self.twice.commit(&self.unheard);
        self.hear()
    }

    fn post(&mut self, posted: &Posted) -> Arc<Post> {
        let Posted { what, door, call, participant, domain } = posted;
        let id = format!("EV_{}", self.posted.len());
        let (call, participant) = (format!("c{call}"), format!("PA_{call}_{participant}"));
        let dialled = json!({ "sip.h.x-to-ip": DOMAINS[*domain], "sip.trunkPhoneNumber": format!("+1555{participant}") });
        let body = match what {
            What::Started => room(&id, "room_started", &call).to_string(),
            What::Finished => room(&id, "room_finished", &call).to_string(),
            What::Caller => caller_with(&id, &call, &participant, &dialled).to_string(),
            What::Track => guest(&id, &call, &participant).to_string(),
            What::Egress => egress(&id, &call).to_string(),
            What::Unreadable => format!("no JSON: {id}"),
            What::Again if !self.posted.is_empty() => {
                return Arc::clone(&self.posted[domain * 7 % self.posted.len()]);
            }
            What::Again => room(&id, "room_started", &call).to_string(),
        };
        let door = match door {
            By::Platform => Door::Platform,
            By::Tenant => door_of(DOMAINS[0], false),
            By::OwnKey => door_of(DOMAINS[0], true),
        };
        let post = post(&body, self.now, door);
        self.posted.push(Arc::clone(&post));
        post
    }

    fn decide(&mut self, posts: &[Arc<Post>], orders: &[Order]) {
        let table = self.seen.table();
        let ground = Ground { table: &table, to_fallback: true, fresh: &self.fresh };
        loop {
            let mut keys = Keys::default();
            posts.iter().for_each(|post| keys.of_post(&self.known, &ground, post));
            orders.iter().for_each(|order| keys.of_order(&self.known, &ground, order));
            if keys.is_empty() {
                break;
            }
            self.known.learn(self.twice.engine().load(&keys.deduplicated()).expect("loaded"));
        }
        let Decided { changes, posts, outcomes } = decide(posts, orders, &mut self.known, ground);
        let of_orders = |Outcome { revived, released, .. }: Outcome| {
            revived.into_iter().chain(released.into_iter().map(|released| released.ready))
        };
        let ready =
            posts.into_iter().flat_map(|post| post.ready).chain(outcomes.into_iter().flat_map(of_orders));
        let ready = ready.collect();
        self.unheard.push(Batch { changes, ready });
    }

    /// An event that is delivered before it is known to be stored: as `Backlog::settle` in the queue notes it.
    fn deliver_early(&mut self, step: &Step) {
        let batch = step.early.index(self.unheard.len());
        let Batch { changes, ready } = &mut self.unheard[batch];
        let added = changes.iter_mut().find_map(|change| match change {
            Change::EventAdded(event) if event.fate.is_ok() => Some(event),
            _ => None,
        });
        let Some(event) = added.filter(|event| ready.iter().any(|ready| ready.id == event.id)) else {
            return;
        };
        event.post = Arc::new(event.post.without_body());
        ready.retain(|ready| ready.id != event.id);
        let settlement = self.seen.delivered(event.id, self.now, 1);
        changes.push(Change::Attempted(settlement));
    }

    /// Nothing is unheard of any more, and both stores hold the same.
    fn hear(&mut self) -> Result<(), TestCaseError> {
        self.known.end_batch();
        for batch in std::mem::take(&mut self.unheard) {
            batch.changes.iter().for_each(|change| self.committed.borrow_mut().note(change));
            batch.changes.iter().for_each(|change| self.seen.hear(change));
            self.seen.hand_over(batch.ready.iter());
            self.known.written(&batch.changes);
            self.once.commit(&[batch]);
        }
        let [twice, once] = [&mut self.twice, &mut self.once].map(|store| K::stored(store.engine()));
        let of_twice: Vec<_> = twice.iter().filter(|row| !once.contains(*row)).collect();
        let of_once: Vec<_> = once.iter().filter(|row| !twice.contains(*row)).collect();
        prop_assert!(of_twice.is_empty() && of_once.is_empty(), "twice: {of_twice:#?}\nonce: {of_once:#?}");
        prop_assert_eq!(twice.len(), once.len());
        Ok(())
    }
}
