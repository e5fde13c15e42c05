//! The sums against a plain model, whatever happens in whatever order.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::access::Scope;
use crate::calls::tests::world::{post, room};
use crate::calls::{
    Change, DigestPart, KeptBody, NewEvent, Next, Post, Replay, SealedRoom, Settlement, Sweep,
};
use crate::delivery::{Answer, Attempt, DeadReason, Fault};
use crate::ids::HookId;
use crate::outbox::engine::Engine;
use crate::outbox::engine::contract::bench::{at, chain, destination, freed, of_session, session, tenant};
use crate::outbox::sqlite::Sqlite;
use crate::outbox::sqlite::views::{UsageFilter, usage};
use crate::route::{Door, Reason};

const HOUR: i64 = 3600;

/// What happens; the number names the event it happens to, out of those it may happen to.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// An event comes for one of three tenants.
    Routed(usize),
    /// One comes that is delivered before it is stored.
    Away(usize),
    /// One comes for nobody, of a room without SIP.
    Unrouted,
    /// One comes that its hook does not want.
    Filtered(usize),
    /// An attempt ends.
    Delivered(usize),
    /// The same, and its body is kept.
    DeliveredAndKept(usize),
    Failed(usize),
    GivenUp(usize),
    /// A dead letter is replayed.
    Revived(usize),
    /// A delivered event whose body is kept is sent again.
    Resent(usize),
    /// What was nobody's is delivered to `acme`.
    Freed(usize),
    /// It is `globex`', which does not want it.
    Stays(usize),
    /// Its body is removed.
    Stripped(usize),
    /// It is removed.
    Swept(usize),
    /// The next rows are digested.
    Digested(i64),
    /// Twelve hours pass.
    TimePasses,
    /// The router is killed, and started again.
    Killed,
}

fn happens() -> impl Strategy<Value = Happens> {
    let which = || any::<prop::sample::Index>().prop_map(|index| index.index(1000));
    prop_oneof![
        4 => (0..3_usize).prop_map(Happens::Routed),
        1 => (0..3_usize).prop_map(Happens::Away),
        2 => Just(Happens::Unrouted),
        1 => (0..3_usize).prop_map(Happens::Filtered),
        3 => which().prop_map(Happens::Delivered),
        3 => which().prop_map(Happens::DeliveredAndKept),
        2 => which().prop_map(Happens::Failed),
        1 => which().prop_map(Happens::GivenUp),
        1 => which().prop_map(Happens::Revived),
        3 => which().prop_map(Happens::Resent),
        1 => which().prop_map(Happens::Freed),
        1 => which().prop_map(Happens::Stays),
        1 => which().prop_map(Happens::Stripped),
        2 => which().prop_map(Happens::Swept),
        2 => (1..6_i64).prop_map(Happens::Digested),
        1 => Just(Happens::TimePasses),
        1 => Just(Happens::Killed),
    ]
}

/// An event, as the plain model knows it.
#[derive(Clone, Debug)]
struct Event {
    owner: &'static str,
    received: UnixDay,
    bytes: i64,
    shelf: Shelf,
    has_body: bool,
    is_kept: bool,
    attempts: Vec<UnixDay>,
    delivered: Option<UnixDay>,
    is_gone: bool,
}

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// A body that is kept.
fn kept(now: i64) -> KeptBody {
    let (tenant, sealed) = (tenant("acme"), vec![1, 2, 3]);
    let _counted = SealedRoom::default().count(&tenant, sealed.len());
    KeptBody { hook: HookId(1), tenant, at: at(now), until: at(now + HOUR), sealed, _counted }
}

/// A store, and the model of it.
struct World {
    folder: TempDir,
    engine: Option<Sqlite>,
    events: Vec<Event>,
    now: i64,
    digested: i64,
    refuses: bool,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut world =
            Self { folder, engine: None, events: Vec::new(), now: 0, digested: 0, refuses: false };
        world.start();
        world
    }

    fn start(&mut self) {
        self.engine = None;
        let engine = Sqlite::open(self.folder.path()).expect("a database");
        engine.connection().execute_batch("PRAGMA synchronous = OFF").expect("quick");
        self.engine = Some(engine);
    }

    fn engine(&mut self) -> &mut Sqlite {
        self.engine.as_mut().expect("it is open")
    }

    /// Commits a change: every second time a first commit fails at its end, and each is repeated.
    fn commit(&mut self, change: Change) {
        self.refuses = !self.refuses;
        let (changes, refuses) = ([change], self.refuses);
        let engine = self.engine();
        if refuses {
            let refuse =
                "CREATE TEMP TRIGGER refuse BEFORE INSERT ON usage BEGIN SELECT raise(ABORT, 'no'); END";
            engine.connection().execute_batch(refuse).expect("a trigger");
            let _ = engine.commit(&[&changes]);
            engine.connection().execute_batch("DROP TRIGGER refuse").expect("no trigger");
        }
        engine.commit(&[&changes]).expect("committed");
        engine.commit(&[&changes]).expect("committed");
    }

    /// The event that is meant, out of those that `may` be: its row and its place.
    fn find(&self, which: usize, may: impl Fn(&Event) -> bool) -> Option<(DeliveryId, usize)> {
        let those: Vec<_> = (0..self.events.len()).filter(|n| may(&self.events[*n])).collect();
        let place = *those.get(which.checked_rem(those.len())?)?;
        Some((DeliveryId(place as i64 + 1), place))
    }

    fn add(&mut self, owner: Option<&'static str>, shelf: Shelf, reason: Option<Reason>) {
        self.add_as(owner, shelf, reason, |post| post);
    }

    fn add_as(
        &mut self,
        owner: Option<&'static str>,
        shelf: Shelf,
        reason: Option<Reason>,
        stored: impl Fn(Arc<Post>) -> Arc<Post>,
    ) {
        let id = self.events.len() as i64 + 1;
        let name = "x".repeat(usize::try_from(id % 5).expect("small"));
        let body = room(&format!("EV_{id}{name}"), "room_started", "c").to_string();
        let post = stored(post(&body, at(self.now), Door::Platform));
        let fate = reason.map_or_else(|| Ok(destination(1, "c", id)), Err);
        let (session, tenant) = (post.sid.clone(), owner.map(tenant));
        let event = NewEvent { id: DeliveryId(id), post, session, domain: None, tenant, fate };
        self.commit(Change::EventAdded(Box::new(event)));
        self.events.push(Event {
            owner: owner.unwrap_or_default(),
            received: self.day(),
            bytes: body.len() as i64,
            shelf,
            has_body: reason != Some(Reason::Filtered),
            is_kept: false,
            attempts: Vec::new(),
            delivered: None,
            is_gone: false,
        });
    }

    fn day(&self) -> UnixDay {
        UnixDay::of(at(self.now))
    }

    fn attempt(&mut self, which: usize, next: Next, keeps: bool) {
        let Some((delivery, place)) =
            self.find(which, |event| event.shelf == Shelf::Pending && !event.is_gone)
        else {
            return;
        };
        let number = u32::try_from(self.events[place].attempts.len()).expect("few") + 1;
        let answer = |status| Ok(Answer { status, retry_after: None });
        let (outcome, shelf) = match next {
            Next::Delivered => (answer(204), Shelf::Delivered),
            Next::Retry { .. } => (Err(Fault::Timeout), Shelf::Pending),
            Next::Dead(_) => (answer(500), Shelf::Dead),
        };
        let latency = Duration::from_secs(7);
        let attempt = Attempt { number, at: at(self.now), url: "https://a.example".into(), latency, outcome };
        let kept = (keeps && !self.events[place].is_kept).then(|| Arc::new(kept(self.now)));
        self.commit(Change::Attempted(Settlement { delivery, attempt, next, kept }));
        let (began, ended) = (self.day(), UnixDay::of(at(self.now + 7)));
        let event = &mut self.events[place];
        event.shelf = shelf;
        event.attempts.push(began);
        event.is_kept |= keeps;
        if next == Next::Delivered {
            event.delivered = event.delivered.or(Some(ended));
        }
    }

    /// Has an event sent again that may be.
    fn revive(&mut self, which: usize, from: Shelf) {
        let may =
            |event: &Event| event.shelf == from && !event.is_gone && (from == Shelf::Dead || event.is_kept);
        let Some((id, place)) = self.find(which, may) else { return };
        let (hook, chain) = (HookId(1), chain(1, "c"));
        let replay = Replay { id, hook, chain, sequence: 1, bytes: 1, paused_before: 0, from };
        self.commit(Change::LetterRevived { replay, at: at(self.now) });
        self.events[place].shelf = Shelf::Pending;
    }

    fn sweep(&mut self, sweep: Sweep) {
        self.commit(Change::Swept { sweep: Arc::new(sweep), numbers: Vec::new(), complete: 0 });
    }

    fn happens(&mut self, what: Happens) {
        let waits = |event: &Event| event.shelf as i64 >= 3 && event.has_body && !event.is_gone;
        self.now += 1;
        match what {
            Happens::Routed(n) => self.add(Some(TENANTS[n]), Shelf::Pending, None),
            Happens::Unrouted => self.add(None, Shelf::WithoutSip, Some(Reason::NoCall)),
            Happens::Filtered(n) => self.add(Some(TENANTS[n]), Shelf::Unrouted, Some(Reason::Filtered)),
            Happens::Away(n) => {
                let without_body = |post: Arc<Post>| Arc::new(post.without_body());
                self.add_as(Some(TENANTS[n]), Shelf::Pending, None, without_body);
            }
            Happens::Delivered(which) => self.attempt(which, Next::Delivered, false),
            Happens::DeliveredAndKept(which) => self.attempt(which, Next::Delivered, true),
            Happens::Failed(which) => self.attempt(which, Next::Retry { due: at(self.now) }, false),
            Happens::GivenUp(which) => self.attempt(which, Next::Dead(DeadReason::Expired), false),
            Happens::Revived(which) => self.revive(which, Shelf::Dead),
            Happens::Resent(which) => self.revive(which, Shelf::Delivered),
            Happens::Freed(which) => {
                let Some((id, place)) = self.find(which, waits) else { return };
                self.commit(freed(id.0, "c", destination(1, "c", 1000 + id.0), self.now));
                (self.events[place].shelf, self.events[place].owner) = (Shelf::Pending, "acme");
            }
            Happens::Stays(which) => {
                let Some((id, place)) = self.find(which, waits) else { return };
                let (place_of, session, reason) = (of_session("c"), session("c"), Reason::Filtered);
                let tenant = Some(tenant("globex"));
                self.commit(Change::EventStays { id, place: place_of, session, reason, tenant });
                let event = &mut self.events[place];
                (event.shelf, event.owner, event.has_body) = (Shelf::Unrouted, "globex", false);
            }
            Happens::Stripped(which) => {
                let bodies = |event: &Event| event.shelf == Shelf::WithoutSip && !event.is_gone;
                let Some((id, place)) = self.find(which, bodies) else { return };
                self.sweep(Sweep { stripped: vec![id], ..Sweep::default() });
                (self.events[place].shelf, self.events[place].has_body) = (Shelf::Unrouted, false);
            }
            Happens::Swept(which) => {
                let old = |event: &Event| event.shelf != Shelf::Pending && !event.is_gone;
                let Some((id, place)) = self.find(which, old) else { return };
                let shelf = self.events[place].shelf;
                self.sweep(Sweep { events: vec![(id, shelf)], ..Sweep::default() });
                // The newest row stays.
                self.events[place].is_gone = place + 1 < self.events.len();
            }
            Happens::Digested(rows) => {
                let after = self.digested;
                self.digested = (after + rows).min(self.events.len() as i64);
                self.commit(Change::Digested(DigestPart { after, up_to: self.digested }));
            }
            Happens::TimePasses => self.now += 12 * HOUR,
            Happens::Killed => self.start(),
        }
    }

    /// What the model says of everything.
    fn expected(&self) -> Tally {
        let mut tally = Tally::new();
        for event in &self.events {
            let mut add = |day: UnixDay, counts: UsageCounts| {
                *tally.entry((day, event.owner.to_owned())).or_default() += counts;
            };
            let none = UsageCounts::default();
            add(event.received, UsageCounts { events: 1, bytes: event.bytes, ..none });
            event.attempts.iter().for_each(|day| add(*day, UsageCounts { attempts: 1, ..none }));
            event.delivered.iter().for_each(|day| add(*day, UsageCounts { deliveries: 1, ..none }));
        }
        tally
    }

    /// What the store answers, in pages of two.
    fn answered(&mut self, tenant: Option<&str>) -> (Tally, UsageCounts) {
        let to = UnixDay(UnixDay::of(at(self.now)).0 + 1);
        let mut filter = UsageFilter { from: UnixDay(0), to, tenant: tenant.map(str::to_owned), after: None };
        let (mut found, connection) = (Tally::new(), self.engine().connection());
        loop {
            let page = usage(connection, &Scope::for_tests(), &filter, 2).expect("usage");
            assert!(page.complete);
            for line in page.usage {
                let counts = line.counts();
                let key = (UnixDay::of_date(line.day), line.tenant);
                filter.after = Some(key.clone());
                assert_eq!(found.insert(key, counts), None);
            }
            if page.next.is_none() {
                return (found, page.totals);
            }
        }
    }
}

fn sum<'c>(counts: impl Iterator<Item = &'c UsageCounts>) -> UsageCounts {
    counts.fold(UsageCounts::default(), |mut sum, counts| {
        sum += *counts;
        sum
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn usage_is_exact_at_every_moment_whatever_happens(all in prop::collection::vec(happens(), 1..80)) {
        let mut world = World::new();
        for what in all {
            world.happens(what);
            let (expected, (found, totals)) = (world.expected(), world.answered(None));
            prop_assert_eq!(&found, &expected, "{:?}", what);
            prop_assert_eq!(totals, sum(expected.values()));
        }
        let mut expected = world.expected();
        expected.retain(|(_, tenant), _| tenant == "acme");
        let (found, totals) = world.answered(Some("acme"));
        prop_assert_eq!(totals, sum(expected.values()));
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn an_older_database_gets_the_table_and_what_it_has_is_counted_once() {
    let mut world = World::new();
    for what in [Happens::Routed(0), Happens::Delivered(0), Happens::Routed(1)] {
        world.happens(what);
    }
    let older =
        "DROP TABLE usage; ALTER TABLE events DROP COLUMN bytes; ALTER TABLE progress DROP COLUMN digested";
    world.engine().connection().execute_batch(older).expect("as it was");
    world.start();
    for what in [Happens::Killed, Happens::Digested(9), Happens::Killed, Happens::Delivered(0)] {
        world.happens(what);
        assert_eq!(world.answered(None).0, world.expected(), "{what:?}");
    }
}
