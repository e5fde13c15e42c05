//! What waits goes once its call is bound, or when an operator replays it.

use serde_json::{Value, json};

use super::world::{START, World, caller, egress, guest, hook, room, table};
use crate::calls::{Ground, Order, would_free};

/// An event of a session with any name.
fn of(id: &str, event: &str, sid: &str, name: &str) -> Value {
    json!({ "event": event, "id": id, "room": { "sid": sid, "name": name } })
}

#[test]
fn what_waits_is_released_in_order_of_arrival_whatever_it_is_known_by() {
    let mut world = World::with(&["a.example"]);
    world.hear_all(&[
        // Its session has not begun yet.
        egress("EV_1", "c"),
        room("EV_2", "room_started", "c"),
        guest("EV_3", "c", "PA_9"),
        egress("EV_4", "c"),
        room("EV_5", "room_started", "d"),
    ]);
    let told = world.hear(&caller("EV_6", "c", "PA_1", "a.example"));
    assert_eq!(
        told.ready,
        ["EV_1", "EV_2", "EV_3", "EV_4", "EV_6"]
            .iter()
            .zip(1..)
            .map(|(id, number)| format!("{id} a.example {number}"))
            .collect::<Vec<_>>()
    );
    assert_eq!(world.hear(&egress("EV_7", "c")).changes, ["added call a.example 6"]);
}

#[test]
fn what_knows_only_the_name_waits_a_minute_for_its_session_and_no_longer() {
    for (seconds, expected) in [(59, 3), (60, 2)] {
        let mut world = World::with(&["a.example"]);
        world.hear(&egress("EV_1", "c"));
        world.now.0 += 1000 * seconds;
        world.hear(&room("EV_2", "room_started", "c"));
        let ready = world.hear(&caller("EV_3", "c", "PA_1", "a.example")).ready;
        assert_eq!(ready.len(), expected, "{seconds} s: {ready:?}");
    }
}

#[test]
fn what_knows_only_a_name_that_was_another_session_s_is_nobody_s() {
    let mut world = World::with(&["a.example", "b.example"]);
    let caller_of = |world: &mut World, id: &str, sid: &str, host: &str| {
        let mut event = caller(id, "c", &format!("PA_{id}"), host);
        event["room"]["sid"] = json!(sid);
        world.hear(&event)
    };
    caller_of(&mut world, "EV_1", "RM_1", "a.example");
    assert_eq!(world.hear(&egress("EV_2", "c")).changes, ["added call a.example 2"]);
    world.hear(&of("EV_3", "room_finished", "RM_1", "c"));
    // It may be a late one of the first session.
    assert_eq!(world.hear(&egress("EV_4", "c")).changes, ["added held"]);
    world.hear(&of("EV_5", "room_started", "RM_2", "c"));
    let told = caller_of(&mut world, "EV_6", "RM_2", "b.example");
    assert_eq!(told.ready, ["EV_5 b.example 1", "EV_6 b.example 2"]);
    // While the second one lives, the name is its own.
    assert_eq!(world.hear(&egress("EV_7", "c")).changes, ["added call b.example 3"]);
}

#[test]
fn what_the_hook_does_not_want_stays_for_that_reason() {
    let entry = hook("f.example") + ", events: {include: [participant_joined]}";
    let mut world = World::of(table(&[&entry]));
    world.hear_all(&[room("EV_1", "room_started", "c"), room("EV_2", "participant_joined", "c")]);
    let told = world.hear(&caller("EV_3", "c", "PA_1", "f.example"));
    let expected = [
        "bound f.example by PA_1",
        "sip",
        "stays 1 filtered",
        "freed 2 call f.example 1",
        "added domain f.example 2",
    ];
    assert_eq!(told.changes, expected);
    // It is asked no more.
    let replay = Order::Reroute { sessions: vec!["RM_c".into()], at: START };
    assert!(world.order(replay).1.is_empty());
}

#[test]
fn a_replay_routes_a_session_s_events_anew_and_they_follow_their_hook() {
    let mut world = World::with(&["a.example"]);
    world.hear_all(&[
        room("EV_1", "room_started", "c"),
        caller("EV_2", "c", "PA_1", "x.example"),
        guest("EV_3", "c", "PA_1"),
        caller("EV_4", "d", "PA_2", "x.example"),
    ]);
    let replay = || Order::Reroute { sessions: vec!["RM_c".into()], at: START };
    let (outcome, changes) = world.order(replay());
    assert_eq!((outcome.released.len(), changes.len()), (0, 0), "there is no hook yet");
    let entries = ["a.example", "x.example"].map(hook);
    world.table = table(&entries.each_ref().map(String::as_str));
    let ground = Ground { table: &world.table, to_fallback: false, fresh: &world.fresh };
    assert_eq!(would_free(&world.known, ground, &"RM_c".into()), (3, 3));
    let (outcome, changes) = world.order(replay());
    assert_eq!(
        changes,
        [
            "freed 1 call x.example 1 unbound",
            "bound x.example by PA_1",
            "freed 2 domain x.example 2 unbound",
            "freed 3 participant x.example 3 unbound",
        ]
    );
    assert_eq!(outcome.released.len(), 3);
    assert_eq!(world.order(replay()).1.len(), 0, "nothing is replayed twice");
    assert_eq!(world.hear(&guest("EV_5", "c", "PA_1")).changes, ["added participant x.example 4"]);
}
