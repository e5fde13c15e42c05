//! The numbers of deliveries: per call and hook, from 1, without gaps.

use serde_json::json;

use super::world::{World, caller, door_of, guest, hook, post, room, table};

#[test]
fn each_call_counts_for_itself_at_each_of_its_hooks() {
    let mut world = World::with(&["a.example", "b.example"]);
    let ready = world.hear_all(&[
        caller("EV_1", "c", "PA_1", "a.example"),
        caller("EV_2", "c", "PA_2", "b.example"),
        caller("EV_3", "d", "PA_3", "a.example"),
        guest("EV_4", "c", "PA_1"),
        guest("EV_5", "c", "PA_2"),
        room("EV_6", "room_finished", "c"),
        guest("EV_7", "d", "PA_3"),
    ]);
    let expected = [
        "EV_1 a.example 1",
        "EV_2 b.example 1",
        "EV_3 a.example 1",
        "EV_4 a.example 2",
        "EV_5 b.example 2",
        "EV_6 a.example 3",
        "EV_7 a.example 2",
    ];
    assert_eq!(ready, expected);
}

#[test]
fn what_is_not_delivered_takes_no_number() {
    let entry = hook("f.example") + ", events: {include: [participant_joined, room_finished]}";
    let mut world = World::of(table(&[&entry]));
    let ready = world.hear_all(&[
        caller("EV_1", "c", "PA_1", "f.example"),
        guest("EV_2", "c", "PA_1"),
        caller("EV_3", "c", "PA_2", "x.example"),
        caller("EV_1", "c", "PA_1", "f.example"),
        room("EV_4", "room_finished", "c"),
    ]);
    assert_eq!(ready, ["EV_1 f.example 1", "EV_4 f.example 2"]);
}

#[test]
fn an_event_of_no_room_is_a_call_of_its_own() {
    let mut world = World::with(&["a.example"]);
    world.door = door_of("a.example", false);
    let ready = ["EV_1", "EV_2"].map(|id| world.hear(&json!({ "event": "ingress_ended", "id": id })).ready);
    assert_eq!(ready.concat(), ["EV_1 a.example 1", "EV_2 a.example 1"]);
}

#[test]
fn events_of_one_batch_see_one_another() {
    let mut world = World::with(&["a.example"]);
    let events = [
        room("EV_1", "room_started", "c"),
        caller("EV_2", "c", "PA_1", "a.example"),
        caller("EV_2", "c", "PA_1", "a.example"),
        guest("EV_3", "c", "PA_1"),
    ];
    let posts = events.map(|event| post(&event.to_string(), world.now, world.door.clone()));
    let decided = world.decide(&posts, &[]);
    let changes: Vec<_> = decided.changes.iter().map(|change| world.told(change)).collect();
    let expected = [
        "begun",
        "added held",
        "bound a.example by PA_1",
        "sip",
        "freed 1 call a.example 1",
        "added domain a.example 2",
        "added participant a.example 3",
    ];
    assert_eq!(changes, expected);
    let ready: Vec<_> = decided.posts.iter().map(|post| post.ready.len()).collect();
    assert_eq!(ready, [0, 2, 0, 1]);
}
