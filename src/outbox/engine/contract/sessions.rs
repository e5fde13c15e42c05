//! Sessions: what they are bound to, who is placed in them, their rooms.

use super::Kept;
use super::bench::{Bench, at, begun, binding, owned, session};
use super::events::swept;
use crate::calls::{Change, Keys, Session, Sweep};
use crate::domain::Domain;
use crate::hooks::Format;
use crate::ids::HookId;
use crate::registry::HookChange;
use crate::route::{Binding, Call, Placement, Reason};

/// A session of the room `c`, begun at second 1.
fn begun_at_1(call: Call) -> Session {
    Session { call, room: Some("c".into()), began_at: at(1), seen_at: at(1), ..Session::default() }
}

fn bound(hook: i64, by: Option<&str>) -> Change {
    let (bound, participant) = (owned(hook), by.map(Into::into));
    Change::CallBound { session: session("c"), bound, participant }
}

fn placed(participant: &str, placement: Placement) -> Change {
    let (participant, tenant, space) = (participant.into(), None, None);
    Change::ParticipantPlaced { session: session("c"), participant, placement, tenant, space }
}

fn nowhere() -> Placement {
    Placement::Nowhere(Reason::NoHook, Some(Domain::from_host("x.example").expect("a host")))
}

pub fn a_session_is_as_its_changes_say<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let mut expected = begun_at_1(Call::default());
    bench.commit(vec![begun("c", 1)]);
    bench.has("RM_c", Some(&expected));

    bench.commit(vec![placed("PA_1", nowhere()), placed("PA_2", nowhere())]);
    expected.call.place("PA_1", nowhere());
    expected.call.place("PA_2", nowhere());
    bench.has("RM_c", Some(&expected));

    // Who binds the call was nobody's before.
    bench.commit(vec![Change::CallHasSip { session: session("c") }, bound(7, Some("PA_1"))]);
    expected.call.sip = true;
    expected.call.bind(binding(7), Some("PA_1"));
    bench.has("RM_c", Some(&expected));

    let shared = Change::CallShared { session: session("c") };
    bench.commit(vec![placed("PA_2", Placement::At(binding(8))), shared]);
    expected.call.place("PA_2", Placement::At(binding(8)));
    expected.call.shared = true;
    bench.has("RM_c", Some(&expected));

    bench.commit(vec![Change::CallSeen { session: session("c"), at: at(4000) }]);
    expected.seen_at = at(4000);
    bench.has("RM_c", Some(&expected));

    // Only the first end of a session counts.
    let finished = |seconds| Change::CallFinished { session: session("c"), at: at(seconds) };
    let seen = Change::CallSeen { session: session("c"), at: at(4500) };
    bench.commit(vec![seen, finished(5000), finished(5001)]);
    (expected.finished_at, expected.seen_at) = (Some(at(5000)), at(5000));
    bench.has("RM_c", Some(&expected));
}

pub fn a_session_begins_once<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let (room, at_1, bound) = (None, at(1), Some((owned(3), Some("PA_1".into()))));
    bench.commit(vec![
        Change::CallBegun { session: session("c"), room, sip: true, at: at_1, space: None, bound },
        begun("c", 2),
    ]);
    let mut call = Call::new(true, false);
    call.bind(binding(3), Some("PA_1"));
    bench.has("RM_c", Some(&Session { room: None, ..begun_at_1(call) }));
    bench.has("RM_d", None);
}

pub fn an_edit_of_a_hook_moves_its_calls_or_cuts_them_off<K: Kept>() {
    let mut bench = Bench::<K>::new();
    bench.commit(vec![
        begun("c", 1),
        bound(1, None),
        placed("PA_2", Placement::At(binding(2))),
        placed("PA_3", Placement::At(binding(3))),
    ]);
    let url = "https://new.example/".to_owned();
    let moved = HookChange::Move { id: HookId(1), url: url.clone(), format: Format::CloudEvents };
    bench.commit(vec![Change::Hook(moved), Change::Hook(HookChange::Cut { id: HookId(2) })]);
    let mut call = Call::default();
    call.bind(Binding { hook: HookId(1), url: url.into(), format: Format::CloudEvents }, None);
    call.place("PA_2", Placement::At(Binding { hook: HookId::NOBODY, ..binding(2) }));
    call.place("PA_3", Placement::At(binding(3)));
    bench.has("RM_c", Some(&begun_at_1(call)));
}

pub fn the_two_latest_sessions_of_a_name_are_found<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let of = |call: &str, room: &str, seconds| {
        let (room, bound) = (Some(room.into()), None);
        Change::CallBegun { session: session(call), room, sip: false, at: at(seconds), space: None, bound }
    };
    bench.commit(vec![of("1", "r", 1), of("3", "r", 3), of("2", "r", 2), of("4", "s", 4)]);
    let finished = Change::CallFinished { session: session("3"), at: at(9) };
    bench.commit(vec![finished]);
    let keys = Keys { rooms: vec!["r".into(), "s".into(), "t".into()], ..Keys::default() };
    bench.answers(&keys, |loaded| {
        let rooms = &loaded.answers.rooms;
        let found = ["r", "s", "t"].map(|room| rooms[room].iter().map(|key| &**key).collect::<Vec<_>>());
        assert_eq!(found, [vec!["RM_3", "RM_2"], vec!["RM_4"], vec![]]);
    });
}

pub fn a_session_that_was_swept_is_absent<K: Kept>() {
    let mut bench = Bench::<K>::new();
    bench.commit(vec![begun("c", 1), placed("PA_1", nowhere()), begun("d", 1)]);
    let sweep = |seen: i64| {
        swept(Sweep { sessions: vec!["RM_c".into()], ended_before: (0, seen), ..Sweep::default() })
    };
    // Seen since the sweep was planned: it stays.
    bench.commit(vec![sweep(0)]);
    let kept = bench.load(&Keys { sessions: vec!["RM_c".into()], ..Keys::default() });
    assert_eq!(kept.sessions.len(), 1);
    bench.commit(vec![sweep(i64::MAX)]);
    bench.has("RM_c", None);
    bench.has("RM_d", Some(&Session { room: Some("d".into()), ..begun_at_1(Call::default()) }));
    // It leaves nothing behind that a later one of the same key would find, and who comes late in it has no place.
    bench.commit(vec![placed("PA_2", nowhere())]);
    bench.commit(vec![begun("c", 1)]);
    bench.has("RM_c", Some(&begun_at_1(Call::default())));
}
