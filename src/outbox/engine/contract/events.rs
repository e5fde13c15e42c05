//! Events, numbers, letters and sweeps.

use std::sync::Arc;

use serde_json::json;

use super::Kept;
use super::bench::{
    Bench, added, at, attempt, begun, chain, destination, freed, of_room, of_session, session,
};
use crate::calls::tests::world::{caller, caller_with, door_of, egress, guest, post, room};
use crate::calls::{
    Change, DigestPart, GivenUp, KeptBody, Keys, LastCalled, LastNumber, NewEvent, Next, NumberCalled,
    Replay, SealedRoom, Settlement, Shelf, Sweep,
};
use crate::delivery::DeadReason;
use crate::hooks::{Number, Tenant};
use crate::ids::{DeliveryId, HookId};
use crate::outbox::engine::Engine;
use crate::route::{Door, Reason};

pub fn an_empty_store_answers_that_there_is_nothing<K: Kept>() {
    let number = Number::new("4711").expect("a number");
    let keys = Keys {
        events: vec!["EV_1".into()],
        sessions: vec![session("c")],
        rooms: vec!["c".into()],
        waiting: vec![of_session("c"), of_room("c")],
        chains: vec![chain(1, "c")],
        numbers: vec![number.clone()],
        letters: vec![DeliveryId(1)],
    };
    Bench::<K>::new().answers(&keys, |loaded| {
        let answers = loaded.answers;
        assert!(answers.asked.contains("EV_1") && answers.stored.is_empty());
        assert!(loaded.sessions.is_empty() && answers.absent.contains(&session("c")));
        assert!(answers.rooms["c"].is_empty());
        assert!(answers.waiting[&of_session("c")].is_empty() && answers.waiting[&of_room("c")].is_empty());
        assert_eq!(loaded.chains.iter().map(|last| last.sequence).collect::<Vec<_>>(), [0]);
        assert!(loaded.numbers.is_empty() && answers.numbers.contains(&number));
        assert_eq!(answers.letters[&DeliveryId(1)], None);
    });
}

pub fn a_stored_event_is_found_by_its_key<K: Kept>() {
    let mut bench = Bench::<K>::new();
    bench.commit(vec![added(1, &room("EV_1", "room_started", "c"), Err(Reason::Held))]);
    let keys = Keys { events: vec!["EV_1".into(), "EV_2".into()], ..Keys::default() };
    bench.answers(&keys, |loaded| {
        let answers = loaded.answers;
        assert_eq!(answers.stored.into_iter().collect::<Vec<_>>(), ["EV_1".into()]);
        assert_eq!(answers.asked.len(), 2);
    });
}

pub fn a_commit_that_fails_stores_nothing_of_it<K: Kept>() {
    let kept = K::new();
    let changes = [begun("c", 1), added(1, &room("EV_1", "room_started", "c"), Err(Reason::Held))];
    let mut engine = kept.open();
    kept.while_it_refuses(|| assert!(engine.commit(&[&changes]).is_err()));
    drop(engine);
    let mut bench = Bench::of(kept);
    bench.has("RM_c", None);
    bench.waits(&of_session("c"), &[]);
    bench.commit(changes.into());
    bench.waits(&of_session("c"), &[(1, Reason::Held)]);
}

pub fn an_event_whose_key_is_stored_is_ignored<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let event = room("EV_1", "room_started", "c");
    bench.commit(vec![added(1, &event, Err(Reason::Held)), added(2, &event, Err(Reason::NoHook))]);
    bench.waits(&of_session("c"), &[(1, Reason::Held)]);
    bench.commit(vec![added(3, &event, Ok(destination(1, "c", 1)))]);
    bench.waits(&of_session("c"), &[(1, Reason::Held)]);
}

pub fn events_without_a_hook_are_found_by_session_and_by_name_in_order<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let event = |id: i64, call| room(&format!("EV_{id}"), "room_started", call);
    bench.commit(vec![
        added(4, &egress("EV_4", "c"), Err(Reason::Held)),
        added(1, &event(1, "c"), Err(Reason::Held)),
        added(2, &event(2, "c"), Ok(destination(1, "c", 1))),
        added(3, &event(3, "c"), Err(Reason::NoHook)),
        added(5, &event(5, "d"), Err(Reason::Held)),
        added(6, &event(6, "c"), Err(Reason::HookRemoved)),
        added(7, &egress("EV_7", "c"), Err(Reason::NoHook)),
    ]);
    bench.waits(&of_session("c"), &[(1, Reason::Held), (3, Reason::NoHook)]);
    bench.waits(&of_session("d"), &[(5, Reason::Held)]);
    bench.waits(&of_room("c"), &[(4, Reason::Held)]);
    let keys = Keys { waiting: vec![of_session("c")], ..Keys::default() };
    bench.answers(&keys, |loaded| {
        let post = &loaded.answers.waiting[&of_session("c")][1].post;
        let body = event(3, "c").to_string();
        assert_eq!((&*post.key, &*post.issuer, post.received_at), ("EV_3", "API", at(3)));
        assert_eq!((&post.body[..], post.sid.as_deref()), (body.as_bytes(), Some("RM_c")));
    });
}

pub fn what_routing_read_of_an_event_is_given_back<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let attributes = json!({
        "sip.h.x-to-ip": "x.example", "sip.h.to": "<sip:1@to.example>", "sip.trunkPhoneNumber": "+1",
        "sip.trunkID": "ST_1",
    });
    let mut outbound = guest("EV_3", "c", "PA_3");
    outbound["participant"]["kind"] = json!("SIP");
    outbound["participant"]["attributes"] = json!({ "sip.trunkID": "ST_2" });
    let events = [
        (room("EV_1", "room_started", "c"), Door::Platform),
        (caller_with("EV_2", "c", "PA_2", &attributes), Door::Platform),
        (outbound, Door::Platform),
        (guest("EV_4", "c", "PA_4"), door_of("acme", false)),
        (guest("EV_5", "c", "PA_5"), door_of("acme", true)),
    ];
    let posts: Vec<_> =
        (1..).zip(events).map(|(id, (event, door))| (id, post(&event.to_string(), at(id), door))).collect();
    let added = posts.iter().map(|(id, post)| {
        let (session, domain, fate) = (Some(session("c")), None, Err(Reason::NoHook));
        let (id, post, tenant) = (DeliveryId(*id), Arc::clone(post), post.door.tenant().cloned());
        Change::EventAdded(Box::new(NewEvent { id, post, session, domain, tenant, fate }))
    });
    bench.commit(added.collect());
    let keys = Keys { waiting: vec![of_session("c")], ..Keys::default() };
    bench.answers(&keys, |loaded| {
        let waiting = &loaded.answers.waiting[&of_session("c")];
        assert_eq!(waiting.len(), posts.len());
        for (found, (_, post)) in waiting.iter().zip(&posts) {
            let (found, read) = (&found.post, &post.event);
            let event = &found.event;
            assert_eq!((&event.caller, &event.outbound_trunk), (&read.caller, &read.outbound_trunk));
            assert_eq!((&event.participant, &event.identity), (&read.participant, &read.identity));
            assert_eq!((&event.name, &event.room_name), (&read.name, &read.room_name));
            assert_eq!((&found.door, &found.key, &found.body), (&post.door, &post.key, &post.body));
        }
    });
}

pub fn what_has_no_body_any_more_waits_no_more<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let event = |id: &str, call| room(id, "room_started", call);
    bench.commit(vec![
        begun("web", 1),
        added(1, &event("EV_1", "web"), Err(Reason::Held)),
        added(2, &event("EV_2", "web"), Err(Reason::Filtered)),
        added(3, &event("EV_3", "web"), Err(Reason::Held)),
        Change::HoldEnded(vec![DeliveryId(1), DeliveryId(2)]),
    ]);
    bench.waits(&of_session("web"), &[(1, Reason::NoCall), (3, Reason::Held)]);
    // The bodies of rooms without SIP are the first that go.
    let stripped = vec![DeliveryId(1), DeliveryId(3)];
    bench.commit(vec![swept(Sweep { stripped, ..Sweep::default() })]);
    bench.waits(&of_session("web"), &[(3, Reason::Held)]);
    // Once a caller was seen they stay.
    bench.commit(vec![
        Change::HoldEnded(vec![DeliveryId(3)]),
        Change::CallHasSip { session: session("web") },
        swept(Sweep { stripped: vec![DeliveryId(3)], ..Sweep::default() }),
    ]);
    bench.waits(&of_session("web"), &[(3, Reason::NoCall)]);
}

pub fn what_is_freed_waits_no_more_and_what_stays_does_for_its_new_reason<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let held = (1..=4).map(|id| added(id, &room(&format!("EV_{id}"), "track", "c"), Err(Reason::Held)));
    bench.commit(held.chain([added(5, &egress("EV_5", "c"), Err(Reason::Held))]).collect());
    let stays = |id, place, reason| {
        let (id, session) = (DeliveryId(id), session("c"));
        Change::EventStays { id, place, session, reason, tenant: None }
    };
    bench.commit(vec![
        freed(2, "c", destination(1, "c", 1), 9),
        stays(3, of_session("c"), Reason::NoHook),
        stays(4, of_session("c"), Reason::Filtered),
        stays(5, of_room("c"), Reason::NoDomain),
    ]);
    let expected = [(1, Reason::Held), (3, Reason::NoHook), (5, Reason::NoDomain)];
    bench.waits(&of_session("c"), &expected);
    bench.waits(&of_room("c"), &[]);
    // What is on its way is freed no more.
    bench.commit(vec![stays(2, of_session("c"), Reason::NoHook), Change::HoldEnded(vec![DeliveryId(2)])]);
    bench.waits(&of_session("c"), &expected);
}

fn attempted(id: i64, status: u16, next: Next) -> Change {
    let (delivery, attempt) = (DeliveryId(id), attempt(1, at(20), status));
    Change::Attempted(Settlement { delivery, attempt, next, kept: None })
}

pub fn only_what_was_given_up_is_a_dead_letter<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let event = |id: i64| room(&format!("EV_{id}"), "room_started", "c");
    bench.commit((1..=4).map(|id| added(id, &event(id), Ok(destination(1, "c", id)))).collect());
    bench.commit(vec![
        attempted(1, 200, Next::Delivered),
        attempted(2, 500, Next::Retry { due: at(30) }),
        attempted(3, 500, Next::Dead(DeadReason::Expired)),
        Change::GivenUp(GivenUp { delivery: DeliveryId(4), reason: DeadReason::LaneFull, at: at(20) }),
        // One that is delivered stays so.
        Change::GivenUp(GivenUp { delivery: DeliveryId(1), reason: DeadReason::LaneFull, at: at(20) }),
    ]);
    let keys = Keys { letters: (1..=5).map(DeliveryId).collect(), ..Keys::default() };
    let dead = |bench: &mut Bench<K>, expected: &[i64]| {
        bench.answers(&keys, |loaded| {
            let letters = (1..=5).filter(|id| loaded.answers.letters[&DeliveryId(*id)].is_some());
            assert_eq!(letters.collect::<Vec<_>>(), expected);
        });
    };
    dead(&mut bench, &[3, 4]);
    let revived = |id| revived(id, Shelf::Dead);
    bench.commit(vec![revived(3), revived(1)]);
    dead(&mut bench, &[4]);
    bench.commit(vec![attempted(3, 500, Next::Dead(DeadReason::Expired))]);
    dead(&mut bench, &[3, 4]);
}

/// An event of the call `c` is sent again.
fn revived(id: i64, from: Shelf) -> Change {
    let (hook, chain, sequence, paused_before) = (HookId(1), chain(1, "c"), id, 0);
    let replay = Replay { id: DeliveryId(id), from, hook, chain, sequence, bytes: 0, paused_before };
    Change::LetterRevived { replay, at: at(40) }
}

/// The same as [`attempted`], with a body that stays.
fn delivered_and_kept(id: i64) -> Change {
    let Change::Attempted(settlement) = attempted(id, 200, Next::Delivered) else {
        unreachable!("it is one")
    };
    let tenant = Tenant::new("acme").expect("a name");
    let (at, until, sealed, _counted) =
        (at(20), at(90), vec![1, 2, 3], SealedRoom::default().count(&tenant, 3));
    let body = KeptBody { hook: HookId(1), tenant, at, until, sealed, _counted };
    Change::Attempted(Settlement { kept: Some(Arc::new(body)), ..settlement })
}

pub fn only_a_delivered_event_whose_body_is_kept_is_sent_again<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let event = |id: i64| room(&format!("EV_{id}"), "room_started", "c");
    bench.commit((1..=3).map(|id| added(id, &event(id), Ok(destination(1, "c", id)))).collect());
    bench.commit(vec![delivered_and_kept(1), attempted(2, 200, Next::Delivered), delivered_and_kept(3)]);
    let keys = Keys { letters: (1..=3).map(DeliveryId).collect(), ..Keys::default() };
    let replayable = |bench: &mut Bench<K>, expected: [Option<Shelf>; 3]| {
        bench.answers(&keys, |loaded| {
            assert_eq!([1, 2, 3].map(|id| loaded.answers.letters[&DeliveryId(id)]), expected);
        });
    };
    let delivered = Some(Shelf::Delivered);
    replayable(&mut bench, [delivered, None, delivered]);
    // What has become something else since it was asked for stays that.
    bench.commit(vec![revived(1, Shelf::Delivered), revived(2, Shelf::Delivered), revived(3, Shelf::Dead)]);
    replayable(&mut bench, [None, None, delivered]);
    // The body of one that is being sent again stays, also if it is given up.
    let gone = |ids: &[i64]| {
        swept(Sweep { kept: ids.iter().copied().map(DeliveryId).collect(), ..Sweep::default() })
    };
    bench.commit(vec![gone(&[1]), attempted(1, 500, Next::Dead(DeadReason::Expired)), gone(&[1, 3])]);
    replayable(&mut bench, [Some(Shelf::Dead), None, None]);
    bench.commit(vec![revived(1, Shelf::Dead), attempted(1, 200, Next::Delivered)]);
    replayable(&mut bench, [delivered, None, None]);
    bench.commit(vec![gone(&[1])]);
    replayable(&mut bench, [None, None, None]);
}

pub fn how_a_number_was_last_called_is_remembered<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let number = |text: &str| Number::new(text).expect("a number");
    let last = |domain: &str, tenant: &str, seconds| LastCalled {
        domain: domain.into(),
        tenant: Some(tenant.into()),
        seen_at: at(seconds),
    };
    let called = |text: &str, now: LastCalled, before: Option<LastCalled>| {
        let before = before.map(|before| (before, Some(session("c"))));
        Change::NumberCalled(Box::new(NumberCalled { number: number(text), now, before }))
    };
    bench.commit(vec![
        called("1", last("a.example", "a", 1), None),
        called("2", last("a.example", "a", 2), None),
        called("1", last("b.example", "b", 3), Some(last("a.example", "a", 1))),
        called("2", last("a.example", "c", 4), None),
    ]);
    let keys = Keys { numbers: vec![number("1"), number("2"), number("3")], ..Keys::default() };
    bench.answers(&keys, |loaded| {
        let expected = [(number("1"), last("b.example", "b", 3)), (number("2"), last("a.example", "c", 4))];
        assert_eq!(loaded.numbers, expected);
        assert_eq!(loaded.answers.numbers.len(), 3);
    });
    bench.commit(vec![swept(Sweep { numbers: vec!["1".into()], ..Sweep::default() })]);
    bench.answers(&keys, |loaded| assert_eq!(loaded.numbers, [(number("2"), last("a.example", "c", 4))]));
}

/// A round of the sweeper that writes no numbers.
pub fn swept(sweep: Sweep) -> Change {
    Change::Swept { sweep: Arc::new(sweep), numbers: Vec::<LastNumber>::new(), complete: 0 }
}

pub fn a_sweep_removes_what_it_names_unless_that_has_changed<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let event = |id: i64| room(&format!("EV_{id}"), "room_started", "c");
    bench.commit((1..=4).map(|id| added(id, &event(id), Err(Reason::NoHook))).collect());
    // The second was freed since the round was planned; the newest one's id must not be given again.
    let events = (1..=4).filter(|id| *id != 3).map(|id| (DeliveryId(id), Shelf::Unrouted)).collect();
    bench.commit(vec![freed(2, "c", destination(1, "c", 1), 9), swept(Sweep { events, ..Sweep::default() })]);
    bench.waits(&of_session("c"), &[(3, Reason::NoHook), (4, Reason::NoHook)]);
    let keys = Keys { events: (1..=4).map(|id| format!("EV_{id}").into()).collect(), ..Keys::default() };
    bench.answers(&keys, |loaded| {
        let stored = (1..=4).filter(|id| loaded.answers.stored.contains(&*format!("EV_{id}")));
        assert_eq!(stored.collect::<Vec<_>>(), [2, 3, 4]);
    });
}

pub fn an_event_whose_row_is_gone_is_neither_freed_nor_revived_and_stops_no_commit<K: Kept>() {
    let mut bench = Bench::<K>::new();
    // What routing read of a caller's event is kept for longer than the event.
    let caller = caller("EV_1", "c", "PA_1", "nobody.example");
    let digested = Change::Digested(DigestPart { after: 0, up_to: 2 });
    let second = room("EV_2", "room_started", "d");
    bench.commit(vec![
        added(1, &caller, Err(Reason::NoHook)),
        added(2, &second, Err(Reason::Held)),
        digested,
    ]);
    // A replay was decided before the sweep was stored.
    bench.commit(vec![
        swept(Sweep { events: vec![(DeliveryId(1), Shelf::Unrouted)], ..Sweep::default() }),
        freed(1, "c", destination(1, "c", 1), 9),
        revived(1, Shelf::Dead),
        Change::HoldEnded(vec![DeliveryId(1)]),
    ]);
    bench.waits(&of_session("c"), &[]);
    bench.waits(&of_session("d"), &[(2, Reason::Held)]);
}
