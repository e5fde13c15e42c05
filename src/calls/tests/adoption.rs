//! A participant that belonged to nobody is placed: its own events follow it, and nothing else does.

use super::world::{World, caller, guest, hook, room, table};

/// A world in which `x.example` has a hook from now on.
fn with_x(world: &mut World) {
    let entries = ["a.example", "x.example"].map(hook);
    world.table = table(&entries.each_ref().map(String::as_str));
}

#[test]
fn in_a_call_bound_to_another_only_its_own_events_are_released_in_order() {
    let mut world = World::with(&["a.example"]);
    world.hear_all(&[
        caller("EV_1", "c", "PA_1", "a.example"),
        caller("EV_2", "c", "PA_2", "x.example"),
        caller("EV_3", "c", "PA_3", "x.example"),
        guest("EV_4", "c", "PA_2"),
        guest("EV_5", "c", "PA_4"),
    ]);
    with_x(&mut world);
    let told = world.hear(&caller("EV_6", "c", "PA_2", "x.example"));
    assert_eq!(
        told.changes,
        [
            "placed PA_2 x.example",
            "shared",
            "freed 2 participant x.example 1",
            "freed 4 participant x.example 2",
            "added domain x.example 3",
        ]
    );
    assert_eq!(told.ready, ["EV_2 x.example 1", "EV_4 x.example 2", "EV_6 x.example 3"]);
    let released = told.receipt.released.iter().map(|one| (one.event_id.as_str(), one.held_ms));
    assert_eq!(released.collect::<Vec<_>>(), [("EV_2", 4000), ("EV_4", 2000)]);
}

#[test]
fn in_an_unbound_call_the_rooms_events_are_released_with_its_own() {
    let mut world = World::with(&["a.example"]);
    world.hear_all(&[
        caller("EV_1", "c", "PA_1", "x.example"),
        guest("EV_2", "c", "PA_1"),
        room("EV_3", "track_published", "c"),
        caller("EV_4", "c", "PA_2", "y.example"),
        guest("EV_5", "c", "PA_2"),
    ]);
    with_x(&mut world);
    let told = world.hear(&caller("EV_6", "c", "PA_1", "x.example"));
    assert_eq!(
        told.changes,
        [
            "bound x.example by PA_1",
            "freed 1 participant x.example 1",
            "freed 2 participant x.example 2",
            "freed 3 call x.example 3",
            "added domain x.example 4",
        ]
    );
}

#[test]
fn an_event_without_attributes_places_nobody() {
    let mut world = World::with(&["a.example"]);
    world.hear(&caller("EV_1", "c", "PA_1", "x.example"));
    with_x(&mut world);
    assert_eq!(world.hear(&guest("EV_2", "c", "PA_1")).changes, ["added no_hook"]);
}

#[test]
fn another_call_s_events_of_the_same_participant_stay() {
    let mut world = World::with(&["a.example"]);
    world.hear_all(&[caller("EV_1", "c", "PA_1", "x.example"), caller("EV_2", "d", "PA_1", "x.example")]);
    with_x(&mut world);
    let told = world.hear(&caller("EV_3", "c", "PA_1", "x.example"));
    assert_eq!(told.ready, ["EV_1 x.example 1", "EV_3 x.example 2"]);
}
