//! Whatever bytes of the files change: what comes out of the store is what went in, or nothing.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use tempfile::TempDir;

use super::{PendingDelivery, Snapshot, pending_delivery};
use crate::calls::tests::world::{World, caller, egress, guest, post, room, table};
use crate::calls::{Change, Decided, GivenUp, KeptBody, Keys, Next, Place, SealedRoom, Session, Settlement};
use crate::calls::{DamagedRow, Loaded};
use crate::delivery::{Answer, Attempt, DeadReason, Delivery};
use crate::hooks::HookTable;
use crate::ids::{DeliveryId, HookId};
use crate::outbox::engine::Engine;
use crate::outbox::engine::contract::bench::{at, tenant};
use crate::outbox::sqlite::Sqlite;
use crate::registry::{BodySealer, QuerySealer, Seals};
use crate::route::Door;
use crate::signature::MasterSecret;

const CALLS: usize = 24;
const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];

/// A store with calls, held, unrouted, pending, failed, dead and kept events: its files, and all that went in.
struct Original {
    database: Vec<u8>,
    log: Vec<u8>,
    table: HookTable,
    seals: Seals,
    deliveries: HashMap<DeliveryId, Arc<Delivery>>,
    sessions: HashMap<Arc<str>, Session>,
    /// Bodies by the key of their event.
    bodies: HashMap<Arc<str>, Vec<u8>>,
    pending: Vec<DeliveryId>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(original);

fn secret() -> MasterSecret {
    MasterSecret::parse(&"m".repeat(32)).expect("strong")
}

/// What happens in a call: most have one caller, some a second one of another tenant, some nobody whom a hook knows.
fn events(call: usize) -> Vec<Value> {
    let name = format!("c{call}");
    let id = |n: usize| format!("EV_{call}_{n}");
    let host = if call.is_multiple_of(7) { "nobody.example" } else { HOSTS[call % 3] };
    let mut large = guest(&id(4), &name, &format!("PA_{call}"));
    large["padding"] = "x".repeat(400 * (call % 20)).into();
    let mut events = vec![
        room(&id(0), "room_started", &name),
        egress(&id(1), &name),
        caller(&id(2), &name, &format!("PA_{call}"), host),
        guest(&id(3), &name, "PA_guest"),
        large,
    ];
    if call.is_multiple_of(4) {
        events.push(caller(&id(5), &name, &format!("PA_{call}_2"), HOSTS[(call + 1) % 3]));
    }
    // Its caller never comes.
    if call.is_multiple_of(5) {
        events.truncate(2);
    }
    events
}

fn original() -> Original {
    let folder = tempfile::tempdir().expect("a folder");
    let mut engine = Sqlite::open(folder.path()).expect("a database");
    engine.seal_queries(QuerySealer::new(&secret()).into());
    let hooks =
        HOSTS.map(|host| format!("host: {host}, tenant: {host}, url: 'https://{host}/?token={host}'"));
    let mut world = World::of(table(&hooks.each_ref().map(String::as_str)));
    let (mut deliveries, mut bodies) = (HashMap::new(), HashMap::new());
    let mut sessions = Vec::new();
    for call in 0..CALLS {
        for event in events(call) {
            world.now.0 += 1000;
            let post = post(&event.to_string(), world.now, Door::Platform);
            bodies.insert(Arc::clone(&post.key), post.body.to_vec());
            sessions.extend(post.sid.clone());
            let Decided { changes, posts, .. } = world.decide(&[post], &[]);
            let ready = posts.iter().flat_map(|post| &post.ready).filter_map(|ready| ready.fresh.clone());
            deliveries.extend(ready.map(|delivery| (delivery.id, delivery)));
            engine.commit(&[&changes]).expect("committed");
        }
        // The younger half is in the log alone.
        if call == CALLS / 2 {
            engine.tidy(true);
        }
    }
    for delivery in deliveries.values() {
        engine.commit(&[&became(delivery)]).expect("committed");
    }
    let mut original = Original {
        database: fs::read(folder.path().join("switchhook.db")).expect("a file"),
        log: fs::read(folder.path().join("switchhook.db-wal")).expect("a file"),
        table: world.table,
        seals: Seals::new(&secret()),
        deliveries,
        sessions: HashMap::new(),
        bodies,
        pending: Vec::new(),
    };
    let Loaded { sessions, .. } = engine.load(&Keys { sessions, ..Keys::default() }).expect("loaded");
    original.sessions = sessions.into_iter().collect();
    drop(engine);
    let (came, damaged) = taken(folder.path(), &original).expect("no fault");
    assert_eq!(damaged, []);
    original.pending = came;
    original
}

/// What became of a delivery: every second one waits.
fn became(delivery: &Delivery) -> Vec<Change> {
    let (id, reason) = (delivery.id, DeadReason::LaneFull);
    let outcome = Ok(Answer { status: 200, retry_after: None });
    let (url, latency) = ("https://x.example/".into(), std::time::Duration::from_millis(1));
    let attempt = Attempt { number: 1, at: at(9999), url, latency, outcome };
    let settled =
        |next, kept| Change::Attempted(Settlement { delivery: id, attempt: attempt.clone(), next, kept });
    let sealed = || {
        let sealed =
            BodySealer::new(&secret()).seal(id, delivery.event_id.as_str(), &delivery.body).expect("sealed");
        let (tenant, hook) = (tenant("a"), delivery.hook.id);
        let counted = SealedRoom::default().count(&tenant, sealed.len());
        Arc::new(KeptBody { hook, tenant, at: at(9999), until: at(99_999), sealed, _counted: counted })
    };
    match id.0 % 10 {
        0 => vec![Change::GivenUp(GivenUp { delivery: id, reason, at: at(9999) })],
        2 => vec![settled(Next::Delivered, None)],
        4 => vec![settled(Next::Retry { due: at(99_999) }, None)],
        6 => vec![settled(Next::Delivered, Some(sealed()))],
        _ => Vec::new(),
    }
}

/// What a router would deliver after a start, each compared with what went in; none: it does not start.
fn taken(folder: &Path, original: &Original) -> Option<(Vec<DeliveryId>, Vec<DamagedRow>)> {
    let mut engine = Sqlite::open(folder).ok()?;
    engine.seal_queries(QuerySealer::new(&secret()).into());
    let mut snapshot = Snapshot::open(folder).ok()?;
    let (mut came, mut damaged, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(page) = snapshot.page(16).ok()? {
        ready.extend(page.deliveries.iter().map(|ready| ready.id));
        damaged.extend(page.damaged);
    }
    for id in ready {
        match pending_delivery(engine.connection(), &original.table, &original.seals, id) {
            Ok((PendingDelivery::Whole(delivery), put_right)) => {
                is_as_it_went_in(&delivery, original);
                came.push(id);
                damaged.extend(put_right.map(|right| DamagedRow::new("events", &right.id.0)));
            }
            Ok((PendingDelivery::Gone, None) | (PendingDelivery::WithoutHook, _)) => {}
            Ok(_) | Err(_) => damaged.push(DamagedRow::new("events", &id.0)),
        }
    }
    if !original.sessions.is_empty() {
        damaged.extend(known_right(&mut engine, original));
    }
    // A row whose state was altered is named when it is found, and when it is tried.
    let mut named = HashSet::new();
    damaged.retain(|row| named.insert(row.clone()));
    Some((came, damaged))
}

fn is_as_it_went_in(delivery: &Delivery, original: &Original) {
    let was = &original.deliveries[&delivery.id];
    let told = |delivery: &Delivery| {
        let Delivery { event_id, event, body, hook, rule, domain, call, sequence, received_at, .. } =
            delivery;
        let (hook, domain) = (hook.id, domain.as_ref().map(ToString::to_string));
        format!("{event_id} {event} {hook:?} {rule} {domain:?} {call:?} {sequence} {received_at:?} {body:?}")
    };
    assert_eq!(told(delivery), told(was));
    assert!(delivery.bound.is_none() || delivery.bound == was.bound, "{:?}", delivery.bound);
}

/// Loads each call with what waits for it: all of it is as it went in, or nobody's.
fn known_right(engine: &mut Sqlite, original: &Original) -> Vec<DamagedRow> {
    let mut damaged = Vec::new();
    for (key, was) in &original.sessions {
        let (sessions, waiting) = (vec![Arc::clone(key)], vec![Place::Session(Arc::clone(key))]);
        let Ok(loaded) = engine.load(&Keys { sessions, waiting, ..Keys::default() }) else {
            engine.rest();
            damaged.push(DamagedRow::new("calls", &**key));
            continue;
        };
        for (_, session) in &loaded.sessions {
            let is_lost = session.call.binding.as_ref().is_some_and(|bound| bound.hook == HookId::DAMAGED);
            let (now, was) = (&session.call.binding, &was.call.binding);
            // The log may end earlier: then the call is as it was before.
            assert!(is_lost || now.is_none() || now == was, "{key}: {session:?}");
        }
        for waiting in loaded.answers.waiting.values().flatten() {
            assert_eq!(waiting.post.body, original.bodies[&waiting.post.key], "{key}");
        }
        damaged.extend(loaded.damaged);
    }
    engine.rest();
    damaged
}

/// What a disk does.
#[derive(Clone, Debug)]
enum Harm {
    Byte(Index, u8),
    Bit(Index, u8),
    Zeros(Index),
    Swapped(Index, Index),
    Cut(Index),
}

const PAGE: usize = 4096;

impl Harm {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            6 => (any::<Index>(), any::<u8>()).prop_map(|(at, new)| Self::Byte(at, new)),
            6 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Self::Bit(at, bit)),
            2 => any::<Index>().prop_map(Self::Zeros),
            2 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Self::Swapped(one, other)),
            1 => any::<Index>().prop_map(Self::Cut),
        ]
    }

    fn befalls(&self, file: &mut Vec<u8>) {
        let pages = file.len() / PAGE;
        if pages == 0 {
            return;
        }
        match self {
            Self::Byte(at, new) => file[at.index(pages * PAGE)] = *new,
            Self::Bit(at, bit) => file[at.index(pages * PAGE)] ^= 1 << bit,
            Self::Zeros(page) => file[page.index(pages) * PAGE..][..PAGE].fill(0),
            Self::Swapped(one, other) => {
                let (one, other) = (one.index(pages) * PAGE, other.index(pages) * PAGE);
                for at in 0..PAGE {
                    file.swap(one + at, other + at);
                }
            }
            Self::Cut(at) => file.truncate(at.index(file.len())),
        }
    }
}

fn survives(of_database: &[Harm], of_log: &[Harm], with_log: bool) {
    let original = &*ORIGINAL;
    let (mut database, mut log) = (original.database.clone(), original.log.clone());
    of_database.iter().for_each(|harm| harm.befalls(&mut database));
    of_log.iter().for_each(|harm| harm.befalls(&mut log));
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("switchhook.db"), database).expect("written");
    if with_log {
        fs::write(folder.path().join("switchhook.db-wal"), log).expect("written");
    }
    let taken = taken(folder.path(), original);
    let is_whole = of_database.is_empty() && of_log.is_empty() && with_log;
    if let Some((came, damaged)) = taken.filter(|_| is_whole) {
        assert_eq!((&came, damaged), (&original.pending, Vec::new()));
    }
}

#[test]
fn what_is_not_damaged_comes_out_as_it_went_in() {
    assert!(ORIGINAL.pending.len() > 30 && ORIGINAL.sessions.len() == CALLS, "{:?}", ORIGINAL.pending);
    survives(&[], &[], true);
    survives(&[], &[], false);
}

/// Every byte of these texts is changed, in all rows and bodies.
#[test]
fn what_is_altered_does_not_come_out_and_is_named() {
    let original = &*ORIGINAL;
    let alter = |file: &[u8], text: &[u8]| {
        let mut file = file.to_vec();
        let starts: Vec<_> = (0..file.len()).filter(|at| file[*at..].starts_with(text)).collect();
        starts.into_iter().for_each(|at| file[at..][..text.len()].make_ascii_lowercase());
        file
    };
    for text in ["PA_guest", "RM_c", "EV_", "API"] {
        let folder = tempfile::tempdir().expect("a folder");
        // Without the log, whose frames SQLite itself checks.
        let database = alter(&original.database, text.as_bytes());
        fs::write(folder.path().join("switchhook.db"), database).expect("written");
        let (came, damaged) = taken(folder.path(), original).expect("a store");
        fs::write(folder.path().join("switchhook.db"), &original.database).expect("written");
        let (expected, _) = taken(folder.path(), original).expect("a store");
        assert!(came.len() < expected.len() && !damaged.is_empty(), "{text}: {came:?} {damaged:?}");
    }
}

/// What comes out of a copy of the original in which `alter` was carried out.
fn taken_after(alter: &str) -> (Vec<DeliveryId>, Vec<DamagedRow>) {
    let original = &*ORIGINAL;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("switchhook.db"), &original.database).expect("written");
    fs::write(folder.path().join("switchhook.db-wal"), &original.log).expect("written");
    let store = rusqlite::Connection::open(folder.path().join("switchhook.db")).expect("a database");
    store.execute_batch(alter).expect(alter);
    drop(store);
    taken(folder.path(), original).expect("a store")
}

/// All that waits is moved where the sweeper moves it after a while.
const PARKED: &str = "INSERT INTO bodies SELECT ring.seq, body FROM ring JOIN events USING (seq) WHERE state = 0; \
                      DELETE FROM ring; UPDATE events SET parked = 1 WHERE state = 0; \
                      UPDATE progress SET seq = (SELECT max(seq) FROM events);";

#[test]
fn what_waits_is_delivered_though_its_state_was_altered_and_named() {
    let original = &*ORIGINAL;
    for state in ["1", "x''", "'pending'", "9"] {
        for before in ["", PARKED] {
            let (mut came, damaged) =
                taken_after(&format!("{before} UPDATE events SET state = {state} WHERE state = 0"));
            came.sort_unstable_by_key(|id| id.0);
            let mut expected = original.pending.clone();
            expected.sort_unstable_by_key(|id| id.0);
            assert_eq!((came, damaged.len()), (expected, original.pending.len()), "{state} {before}");
        }
    }
}

#[test]
fn what_was_delivered_does_not_come_again_though_its_state_says_that_it_waits() {
    let original = &*ORIGINAL;
    let (came, damaged) = taken_after("UPDATE events SET state = 0 WHERE state = 1");
    assert_eq!(came, original.pending);
    assert!(damaged.len() > 10, "{damaged:?}");
}

/// A dead letter cannot be written where a page of the file is gone: that keeps nothing else from being written.
#[test]
fn a_damaged_delivery_that_cannot_be_written_keeps_no_other_from_it() {
    let original = &*ORIGINAL;
    let mut unwritten = 0;
    for page in 1..original.database.len() / PAGE {
        let mut database = original.database.clone();
        database[page * PAGE..][..PAGE].fill(0);
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("switchhook.db"), database).expect("written");
        let Some(Ok(mut engine)) = taken(folder.path(), original).map(|_| Sqlite::open(folder.path())) else {
            continue;
        };
        let writes = |engine: &mut Sqlite| engine.commit(&[&[Change::HoldEnded(Vec::new())]]).is_ok();
        let give_up = |id: &DeliveryId| {
            let (reason, at) = (DeadReason::Damaged, at(9999));
            Change::GivenUp(GivenUp { delivery: *id, reason, at })
        };
        if writes(&mut engine) {
            let given_up: Vec<_> = original.pending.iter().map(give_up).collect();
            engine.commit(&[&given_up]).expect("what can be written");
            let pending = "SELECT count(*) FROM events WHERE state = 0";
            let left = engine.connection().query_row(pending, [], |row| row.get::<_, i64>(0));
            unwritten += usize::from(left.is_ok_and(|left| left > 0));
        }
    }
    assert!(unwritten > 0, "some pages are needed for dead letters alone");
}

proptest! {
    // As many as elsewhere would take long: each opens a database. PROPTEST_CASES raises both.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn whatever_bytes_of_the_store_change_what_comes_out_went_in(
        of_database in prop::collection::vec(Harm::any(), 0..4),
        of_log in prop::collection::vec(Harm::any(), 0..2),
        with_log: bool,
    ) {
        survives(&of_database, &of_log, with_log);
    }
}
