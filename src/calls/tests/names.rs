//! Names that a tenant's own LiveKit gives stand in a space of their own.

use super::world::{World, caller, door_of, fate, room};
use crate::route::Door;

#[test]
fn a_tenant_s_own_livekit_shares_no_name_with_the_platform_s() {
    let mut world = World::with(&["a.example", "b.example"]);
    world.hear(&caller("EV_1", "c", "PA_1", "b.example"));
    world.door = door_of("a.example", true);
    // Neither the event's id, nor the call, nor its numbers are those of the platform's.
    let told = world.hear(&room("EV_1", "room_started", "c"));
    assert_eq!(told.changes, ["begun bound a.example by none", "added url a.example 1"]);
    world.door = Door::Platform;
    assert_eq!(
        world.hear(&room("EV_2", "room_finished", "c")).changes,
        ["finished", "added call b.example 2"]
    );
    world.door = door_of("a.example", true);
    assert_eq!(
        world.hear(&room("EV_2", "room_finished", "c")).changes,
        ["finished", "added url a.example 2"]
    );
    assert_eq!(fate(&world.hear(&room("EV_1", "room_started", "c")).receipt), "duplicate");
}

#[test]
fn no_name_of_the_platform_s_reaches_into_a_tenant_s_space() {
    let mut world = World::with(&["a.example", "b.example"]);
    world.door = door_of("a.example", true);
    world.hear(&caller("EV_1", "c", "PA_1", "x.example"));
    world.door = Door::Platform;
    let told = world.hear(&caller("EV_2", "c@a.example", "PA_1", "b.example"));
    assert_eq!(told.changes, ["begun sip bound b.example by PA_1", "added domain b.example 1"]);
    assert_eq!(told.receipt.call().as_deref(), Some("RM_c@a.example"));
}

#[test]
fn what_the_platform_s_livekit_posts_to_a_tenant_s_url_is_of_the_platform_s_space() {
    let mut world = World::with(&["a.example", "b.example"]);
    world.hear(&caller("EV_1", "c", "PA_1", "b.example"));
    world.door = door_of("a.example", false);
    assert_eq!(fate(&world.hear(&caller("EV_1", "c", "PA_1", "b.example")).receipt), "duplicate");
    // Another tenant's call is not seen from there, and stays bound as it was.
    assert_eq!(
        world.hear(&room("EV_2", "track_published", "c")).changes,
        ["shared", "added url a.example 1"]
    );
    world.door = Door::Platform;
    assert_eq!(world.hear(&room("EV_3", "track_published", "c")).changes, ["added call b.example 2"]);
}
