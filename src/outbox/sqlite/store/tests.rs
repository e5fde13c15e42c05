//! The contract of engines, and this engine's own devices.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::{Sqlite, stored};
use crate::calls::tests::world::{World, caller, door_of, guest, hook, post, room, table};
use crate::calls::{Change, Known, LastNumber, Next, Settlement, Shelf, Sweep, Walked};
use crate::ids::{DeliveryId, HookId};
use crate::outbox::engine::Engine;
use crate::outbox::engine::contract::bench::{added, at, attempt, begun, chain, destination, freed, session};
use crate::outbox::engine::contract::{Kept, contract};
use crate::outbox::sqlite::care::count_altered;
use crate::outbox::sqlite::{
    Complete, Retention, Snapshot, database, last_audit_id, last_id, pauses, plan_sweep, recover,
};
use crate::registry::HookChange;
use crate::route::{Door, Reason};
use crate::time::UnixMillis;

impl Kept for TempDir {
    type Engine = Sqlite;

    fn new() -> Self {
        tempfile::tempdir().expect("a folder")
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(self.path()).expect("a database")
    }

    fn known(engine: &Sqlite) -> Known {
        let connection = engine.connection();
        let last_id = last_id(connection).expect("an id");
        let known =
            Known::new(last_id, pauses(connection).expect("pauses"), recover(connection).expect("numbers"));
        known.audited(last_audit_id(connection).expect("an id"))
    }

    fn altered(engine: &Sqlite) -> usize {
        count_altered(engine.connection()).expect("read")
    }

    fn stored(engine: &Sqlite) -> BTreeSet<String> {
        stored::texts(engine.connection())
    }

    fn shelves(engine: &Sqlite) -> Vec<(DeliveryId, Shelf)> {
        stored::shelves(engine.connection())
    }

    fn while_it_refuses(&self, attempt: impl FnOnce()) {
        let other = rusqlite::Connection::open(database(self.path())).expect("a connection");
        other.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
        attempt();
    }
}

contract!(tempfile::TempDir);

/// A number from a query.
pub fn one(engine: &Sqlite, sql: &str) -> i64 {
    engine.connection().query_row(sql, [], |row| row.get(0)).expect("a number")
}

/// An event of the call `c` on its way, with its number.
pub fn routed(id: i64, sequence: i64) -> Change {
    added(id, &room(&format!("EV_{id}"), "room_started", "c"), Ok(destination(1, "c", sequence)))
}

/// Carries out a round of the sweeper, which writes these numbers; whether there was anything to do.
fn sweep(engine: &mut Sqlite, now: UnixMillis, numbers: Vec<LastNumber>) -> bool {
    let retention = Retention::default();
    let plan = plan_sweep(engine.connection(), &retention, now, Walked::default()).expect("a plan");
    let is_empty = plan.is_empty();
    carry_out(engine, plan, numbers);
    !is_empty
}

fn carry_out(engine: &mut Sqlite, sweep: Sweep, numbers: Vec<LastNumber>) {
    let complete = sweep.progress.1;
    let swept = Change::Swept { sweep: Arc::new(sweep), numbers, complete };
    engine.commit(&[&[swept]]).expect("committed");
}

fn snapshot(folder: &TempDir, limit: usize) -> Vec<i64> {
    let mut snapshot = Snapshot::open(folder.path()).expect("a snapshot");
    let pages = std::iter::from_fn(|| snapshot.page(limit).expect("a page"));
    pages.flat_map(|page| page.deliveries).map(|ready| ready.id.0).collect()
}

#[test]
fn what_waits_for_longer_is_parked_and_found_in_order_behind_what_is_young() {
    let folder = <TempDir as Kept>::new();
    let mut engine = folder.open();
    let held = added(3, &room("EV_3", "room_started", "c"), Err(Reason::Held));
    engine.commit(&[&[routed(1, 1), routed(2, 2), held]]).expect("committed");
    let last = LastNumber { chain: chain(1, "c"), sequence: 2, seen_at: at(2) };
    assert!(sweep(&mut engine, at(60), vec![last]));
    assert_eq!(one(&engine, "SELECT seq FROM progress"), 3);
    assert_eq!(one(&engine, "SELECT sequence FROM chains"), 2);
    assert_eq!(one(&engine, "SELECT count(*) FROM events WHERE parked = 1"), 2);
    // Their bodies have left the ring, whose rows are written over.
    assert_eq!(one(&engine, "SELECT count(*) FROM ring"), 0);
    assert_eq!(one(&engine, "SELECT count(*) FROM bodies"), 3);
    // What is freed late is older than what a start reads at the end of the table.
    let late = [routed(70, 3), freed(3, "c", destination(1, "c", 4), 71)];
    engine.commit(&[&late]).expect("committed");
    for limit in [1, 2, 10] {
        assert_eq!(snapshot(&folder, limit), [70, 1, 2, 3], "{limit} a page");
    }
    let delivered = |id| {
        let (delivery, attempt) = (DeliveryId(id), attempt(1, at(72), 200));
        Change::Attempted(Settlement { delivery, attempt, next: Next::Delivered, kept: None })
    };
    engine.commit(&[&[delivered(1), delivered(70)]]).expect("committed");
    assert_eq!(snapshot(&folder, 10), [2, 3]);
    assert_eq!(one(&engine, "SELECT count(*) FROM events WHERE parked = 1"), 2);
}

#[test]
fn what_waits_keeps_its_body_through_all_parts_of_a_sweep_though_its_state_was_altered() {
    const COUNT: i64 = 600;
    let folder = <TempDir as Kept>::new();
    let mut engine = folder.open();
    let waiting: Vec<_> = (1..=COUNT).map(|id| routed(id, id)).collect();
    engine.commit(&[&waiting]).expect("committed");
    engine.connection().execute("UPDATE events SET state = 1 WHERE seq IN (5, 300)", []).expect("altered");
    let now = at(COUNT + 60);
    let plan = plan_sweep(engine.connection(), &Retention::default(), now, Walked::default());
    let parts = plan.expect("a plan").parts();
    assert!(parts.len() > 1, "a sweep of one part");
    parts.into_iter().for_each(|part| carry_out(&mut engine, part, Vec::new()));
    assert_eq!(one(&engine, "SELECT count(*) FROM events WHERE parked = 1"), COUNT);
    assert_eq!(one(&engine, "SELECT count(*) FROM ring"), 0);
    assert_eq!(one(&engine, "SELECT count(*) FROM bodies"), COUNT);
}

#[test]
fn a_hook_of_which_little_is_parked_waits_for_no_other_hooks_pages() {
    let folder = <TempDir as Kept>::new();
    let mut engine = folder.open();
    let of = |id: i64, hook: i64| {
        let call = format!("c{hook}");
        added(id, &room(&format!("EV_{id}"), "room_started", &call), Ok(destination(hook, &call, id)))
    };
    let mut parked: Vec<_> = (1..=9).map(|id| of(id, 1)).collect();
    parked.extend([of(10, 2), of(11, 3)]);
    engine.commit(&[&parked]).expect("committed");
    assert!(sweep(&mut engine, at(60), Vec::new()));
    engine.commit(&[&[of(12, 4), of(13, 2)]]).expect("committed");

    let mut snapshot = Snapshot::open(folder.path()).expect("a snapshot");
    let pages = std::iter::from_fn(|| snapshot.page(3).expect("a page"));
    let found: Vec<(Vec<i64>, Complete)> =
        pages.map(|page| (page.deliveries.iter().map(|ready| ready.id.0).collect(), page.complete)).collect();
    let also = |hooks: &[i64]| Complete::Also(hooks.iter().map(|hook| HookId(*hook)).collect());
    let expected = [
        (vec![12, 13], Complete::AllBut([1, 2, 3].map(HookId).into())),
        (vec![1, 2, 3], also(&[])),
        (vec![10, 11, 4, 5, 6], also(&[2, 3])),
        (vec![7, 8, 9], also(&[])),
        (vec![], also(&[1])),
    ];
    assert_eq!(found, expected);
}

/// A text of each row, where it is not absent.
fn texts(engine: &Sqlite, sql: &str) -> Vec<String> {
    let mut rows = engine.connection().prepare(sql).expect("a query");
    let rows = rows.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("texts")
}

#[test]
fn rows_say_whose_they_are_and_whose_livekit_named_them() {
    let folder = <TempDir as Kept>::new();
    let mut engine = folder.open();
    let picky = "host: f.example, tenant: f, url: 'https://f.example/', events: {exclude: [track_published]}";
    let mut world = World::of(table(&[&hook("a.example"), &hook("b.example"), picky]));
    let mut hear = |id: i64, event: &Value, door: Door| {
        let decided = world.decide(&[post(&event.to_string(), at(id), door)], &[]);
        engine.commit(&[&decided.changes]).expect("committed");
    };
    let platform = || Door::Platform;
    hear(1, &room("EV_1", "room_started", "c"), platform());
    hear(2, &caller("EV_2", "c", "PA_1", "a.example"), platform());
    hear(3, &caller("EV_3", "c", "PA_2", "b.example"), platform());
    hear(4, &caller("EV_4", "d", "PA_3", "nobody.example"), platform());
    hear(5, &caller("EV_5", "f", "PA_4", "f.example"), platform());
    hear(6, &guest("EV_6", "f", "PA_4"), platform());
    hear(7, &room("EV_7", "room_started", "c"), door_of("a.example", true));
    hear(8, &room("EV_8", "room_started", "x"), door_of("b.example", false));
    let owner = "coalesce(tenant, '-') || ' ' || coalesce(space, '-')";
    let events =
        texts(&engine, &format!("SELECT id || ' ' || {owner} || coalesce(' url' || by_url, '') FROM events"));
    let expected = [
        "EV_1 a.example -",
        "EV_2 a.example -",
        "EV_3 b.example -",
        "EV_4 - -",
        "EV_5 f -",
        "EV_6 f -",
        "EV_7@a.example a.example a.example url1",
        "EV_8 b.example - url1",
    ];
    assert_eq!(events, expected);
    let calls = format!("SELECT call || ' ' || {owner} FROM calls ORDER BY call");
    let expected = [
        "RM_c a.example -",
        "RM_c@a.example a.example a.example",
        "RM_d - -",
        "RM_f f -",
        "RM_x b.example -",
    ];
    assert_eq!(texts(&engine, &calls), expected);
    let participants = format!("SELECT participant || ' ' || {owner} FROM participants ORDER BY participant");
    assert_eq!(texts(&engine, &participants), ["PA_2 b.example -", "PA_3 - -"]);
    // Calls that were cut off have no hook, and are their tenant's data still.
    let cut = |id| Change::Hook(HookChange::Cut { id: HookId(id) });
    engine.commit(&[&[cut(1), cut(2)]]).expect("committed");
    assert_eq!(texts(&engine, &calls)[0], "RM_c a.example -");
    assert_eq!(texts(&engine, &participants)[0], "PA_2 b.example -");
    let hooks = "SELECT hook || '' FROM calls WHERE call = 'RM_c' UNION ALL \
                 SELECT hook || '' FROM participants WHERE participant = 'PA_2'";
    assert_eq!(texts(&engine, hooks), ["0", "0"]);
}

#[test]
fn a_snapshot_shows_nothing_of_what_is_committed_while_it_is_read() {
    let folder = <TempDir as Kept>::new();
    let mut engine = folder.open();
    let held = added(1, &room("EV_1", "room_started", "c"), Err(Reason::Held));
    engine.commit(&[&[held, routed(2, 1), routed(3, 2)]]).expect("committed");
    let mut snapshot = Snapshot::open(folder.path()).expect("a snapshot");
    let mut page = || snapshot.page(1).expect("a page")?.deliveries.first().map(|ready| ready.id.0);
    assert_eq!(page(), Some(2));
    engine.commit(&[&[freed(1, "c", destination(1, "c", 3), 9), routed(4, 4)]]).expect("committed");
    assert_eq!([page(), page()], [Some(3), None]);
}

#[test]
fn bodies_of_rooms_without_sip_go_an_hour_after_their_end_and_their_rows_stay() {
    let folder = <TempDir as Kept>::new();
    let mut engine = folder.open();
    let event =
        |id: i64, call| added(id, &room(&format!("EV_{id}"), "room_started", call), Err(Reason::Held));
    let changes = [
        begun("web", 1),
        event(1, "web"),
        begun("sip", 1),
        Change::CallHasSip { session: session("sip") },
        event(2, "sip"),
        Change::HoldEnded(vec![DeliveryId(1), DeliveryId(2)]),
        Change::CallFinished { session: session("web"), at: at(3) },
        Change::CallFinished { session: session("sip"), at: at(3) },
    ];
    engine.commit(&[&changes]).expect("committed");
    sweep(&mut engine, at(3600), Vec::new());
    assert_eq!(one(&engine, "SELECT count(*) FROM bodies"), 2);
    sweep(&mut engine, at(3604), Vec::new());
    assert_eq!(one(&engine, "SELECT sum(seq) FROM bodies"), 2);
    assert_eq!(one(&engine, "SELECT count(*) FROM events"), 2);
    assert_eq!(one(&engine, "SELECT count(*) FROM calls"), 0);
}

#[test]
fn history_goes_after_a_day_but_for_the_newest_row_whose_number_is_not_given_again() {
    let folder = <TempDir as Kept>::new();
    let mut engine = folder.open();
    engine.commit(&[&[routed(1, 1), routed(2, 2), routed(3, 3)]]).expect("committed");
    let sql = "UPDATE events SET state = 1, settled_at = 1";
    engine.connection().execute_batch(sql).expect("delivered");
    sweep(&mut engine, at(25 * 3600), Vec::new());
    assert_eq!(
        (one(&engine, "SELECT count(*) FROM events"), one(&engine, "SELECT max(seq) FROM events")),
        (1, 3)
    );
    assert_eq!(last_id(engine.connection()).expect("an id"), 3);
}
