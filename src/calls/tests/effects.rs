//! What each rule and each reason does to the call of its event.

use std::collections::BTreeSet;

use serde_json::json;

use super::world::{Told, World, caller, caller_with, door_of, fate, guest, hook, room, table};
use crate::calls::{Loaded, Order, Session};
use crate::ids::HookId;
use crate::registry::HookChange;
use crate::route::{Reason, Rule};

/// What happens; what it writes.
type Row = (&'static str, fn(&mut World) -> Told, &'static [&'static str]);

const ROWS: &[Row] = &[
    ("a room begins", |world| world.hear(&room("EV_1", "room_started", "c")), &["begun", "added held"]),
    (
        "a caller begins the room",
        |world| world.hear(&caller("EV_1", "c", "PA_1", "a.example")),
        &["begun sip bound a.example by PA_1", "added domain a.example 1"],
    ),
    (
        "a caller binds a room that waits",
        |world| {
            world.hear(&room("EV_1", "room_started", "c"));
            world.hear(&caller("EV_2", "c", "PA_1", "a.example"))
        },
        &["bound a.example by PA_1", "sip", "freed 1 call a.example 1", "added domain a.example 2"],
    ),
    (
        "the caller's next event with its attributes",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.hear(&caller("EV_2", "c", "PA_1", "b.example"))
        },
        &["added participant a.example 2"],
    ),
    (
        "a participant without attributes in a bound call",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.hear(&guest("EV_2", "c", "PA_2"))
        },
        &["added call a.example 2"],
    ),
    (
        "a caller of another tenant",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.hear(&caller("EV_2", "c", "PA_2", "b.example"))
        },
        &["placed PA_2 b.example", "shared", "added domain b.example 1"],
    ),
    (
        "a further one: the call is shared already",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.hear(&caller("EV_2", "c", "PA_2", "b.example"));
            world.hear(&caller("EV_3", "c", "PA_3", "b.example"))
        },
        &["placed PA_3 b.example", "added domain b.example 2"],
    ),
    (
        "a dialled number",
        |world| {
            let number = json!({ "sip.h.x-to-ip": "x.example", "sip.trunkPhoneNumber": "+1 555 0100" });
            world.hear(&caller_with("EV_1", "c", "PA_1", &number))
        },
        &["begun sip bound n.example by PA_1", "number x.example", "added number n.example 1"],
    ),
    (
        "an outbound participant's trunk",
        |world| {
            let mut event = guest("EV_1", "c", "PA_1");
            event["participant"]["kind"] = json!("SIP");
            event["participant"]["attributes"] = json!({ "sip.trunkID": "ST_1" });
            world.hear(&event)
        },
        &["begun sip bound t.example by PA_1", "added trunk t.example 1"],
    ),
    (
        "a tenant's own URL: neither another's domain nor another's call counts",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "b.example"));
            world.door = door_of("a.example", false);
            world.hear(&caller("EV_2", "c", "PA_2", "b.example"))
        },
        &["placed PA_2 a.example", "shared", "added url a.example 1"],
    ),
    (
        "a caller of a domain without a hook",
        |world| world.hear(&caller("EV_1", "c", "PA_1", "x.example")),
        &["begun sip", "placed PA_1 no_hook", "added no_hook"],
    ),
    (
        "a caller without a header",
        |world| world.hear(&caller_with("EV_1", "c", "PA_1", &json!({}))),
        &["begun sip", "placed PA_1 no_domain", "added no_domain"],
    ),
    (
        "a caller whose header holds no domain",
        |world| world.hear(&caller("EV_1", "c", "PA_1", "!")),
        &["begun sip", "placed PA_1 bad_domain", "added bad_domain"],
    ),
    (
        "what belongs to nobody belongs to nobody in a bound call, too",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.hear(&caller("EV_2", "c", "PA_2", "x.example"));
            world.hear(&guest("EV_3", "c", "PA_2"))
        },
        &["added no_hook"],
    ),
    (
        "an event its hook does not want binds its call all the same",
        |world| world.hear(&caller("EV_1", "c", "PA_1", "f.example")),
        &["begun sip bound f.example by PA_1", "added filtered"],
    ),
    (
        "a call whose hook was cut off",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.order(Order::Edit([HookChange::Cut { id: HookId(1) }].into()));
            world.hear(&guest("EV_2", "c", "PA_2"))
        },
        &["added hook_removed"],
    ),
    (
        "a call of which something stored is damaged belongs to nobody",
        |world| {
            lose(world);
            world.hear(&guest("EV_1", "c", "PA_1"))
        },
        &["added damaged"],
    ),
    (
        "a caller in such a call goes where it dialled, and does not bind the call",
        |world| {
            lose(world);
            world.hear(&caller("EV_1", "c", "PA_1", "b.example"))
        },
        &["sip", "placed PA_1 b.example", "added domain b.example 1"],
    ),
    (
        "the end of a session",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.hear(&room("EV_2", "room_finished", "c"))
        },
        &["finished", "added call a.example 2"],
    ),
    (
        "only the first end counts",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.hear(&room("EV_2", "room_finished", "c"));
            world.hear(&room("EV_3", "room_finished", "c"))
        },
        &["added call a.example 3"],
    ),
    (
        "an event an hour later",
        |world| {
            world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
            world.now.0 += 3_600_000;
            world.hear(&guest("EV_2", "c", "PA_2"))
        },
        &["seen", "added call a.example 2"],
    ),
    (
        "an event of no room",
        |world| world.hear(&json!({ "event": "ingress_ended", "id": "EV_1" })),
        &["added no_call"],
    ),
    ("a body that is no object", |world| world.hear(&json!(["EV_1"])), &["added unreadable"]),
];

/// Loads the call `c`, of which something stored is damaged.
fn lose(world: &mut World) {
    let mut session = Session { began_at: world.now, seen_at: world.now, ..Session::default() };
    session.call.lose();
    world.known.learn(Loaded { sessions: vec![("RM_c".into(), session)], ..Loaded::default() });
}

fn world() -> World {
    let entries = [
        hook("a.example"),
        hook("b.example"),
        hook("n.example") + ", numbers: ['+15550100']",
        hook("t.example") + ", trunks: [ST_1]",
        hook("f.example") + ", events: {include: [room_finished]}",
    ];
    World::of(table(&entries.iter().map(String::as_str).collect::<Vec<_>>()))
}

#[test]
fn each_rule_and_each_reason_does_to_its_call_what_it_should() {
    let mut seen = BTreeSet::new();
    for (what, happens, expected) in ROWS {
        let told = happens(&mut world());
        assert_eq!(told.changes, *expected, "{what}");
        seen.extend(fate(&told.receipt).split(' ').next().map(str::to_owned));
    }
    let rules = Rule::ALL.iter().map(ToString::to_string);
    let all: BTreeSet<_> = rules.chain(Reason::ALL.iter().map(ToString::to_string)).collect();
    assert_eq!(seen, all, "every rule and every reason has a row");
}

#[test]
fn an_event_that_comes_again_changes_nothing() {
    let mut world = world();
    let event = caller("EV_1", "c", "PA_1", "a.example");
    world.hear(&event);
    let told = world.hear(&event);
    assert_eq!((fate(&told.receipt).as_str(), told.changes.len(), told.ready.len()), ("duplicate", 0, 0));
    // The id decides, not the rest.
    let told = world.hear(&caller("EV_1", "d", "PA_2", "b.example"));
    assert_eq!((fate(&told.receipt).as_str(), told.changes.len()), ("duplicate", 0));
    assert!(world.known.call("RM_d").is_none());
}
