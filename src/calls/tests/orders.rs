//! Pauses, edits, sweeps; and the domains that numbers are called with.

use serde_json::json;

use super::world::{START, Told, World, caller, caller_with, door_of, guest};
use crate::calls::{AuditRecord, Change, Order, Sweep};
use crate::hooks::Format;
use crate::ids::{DeliveryId, HookId};
use crate::registry::{HookChange, PausedBy};
use crate::time::UnixMillis;

const A: HookId = HookId(1);

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(START.0 + 1000 * seconds)
}

#[test]
fn what_comes_for_a_paused_hook_goes_where_that_leads_when_it_is_resumed() {
    let mut world = World::with(&["a.example", "b.example"]);
    world.order(Order::Pause { hook: A, at: at(0), by: PausedBy::Gone });
    let told = world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
    assert_eq!(told.changes, ["begun sip bound a.example by PA_1", "added domain a.example 1 unbound"]);
    let told = world.hear(&caller("EV_2", "d", "PA_2", "b.example"));
    assert_eq!(told.changes[1], "added domain b.example 1");
    world.order(Order::Resume { hook: A, at: at(5) });
    assert_eq!(world.hear(&guest("EV_3", "c", "PA_1")).changes, ["added participant a.example 2"]);
}

#[test]
fn an_event_knows_how_long_its_hook_had_been_paused_when_it_came() {
    let mut world = World::with(&["a.example"]);
    world.order(Order::Pause { hook: A, at: at(0), by: PausedBy::File });
    world.order(Order::Resume { hook: A, at: at(5) });
    world.now = at(9);
    world.order(Order::Pause { hook: A, at: world.now, by: PausedBy::File });
    let told = world.hear(&caller("EV_1", "c", "PA_1", "a.example"));
    let crate::calls::Fate::Routed(delivery) = told.receipt.fate else { panic!("it has a hook") };
    assert_eq!(delivery.paused_before_ms, 6000);
}

#[test]
fn a_moved_call_goes_to_the_new_url_and_any_other_keeps_its_own() {
    let mut world = World::with(&["a.example", "b.example"]);
    world.hear_all(&[caller("EV_1", "c", "PA_1", "a.example"), caller("EV_2", "d", "PA_2", "b.example")]);
    let (url, format) = ("https://new.example/".to_owned(), Format::CloudEvents);
    let (_, changes) = world.order(Order::Edit([HookChange::Move { id: A, url, format }].into()));
    assert_eq!(changes, ["hook"]);
    let bound =
        ["RM_c", "RM_d"].map(|session| world.known.call(session).and_then(|call| call.binding.clone()));
    let urls = bound.map(|bound| bound.map(|bound| (bound.url.to_string(), bound.format)));
    assert_eq!(
        urls,
        [
            Some(("https://new.example/".into(), Format::CloudEvents)),
            Some(("https://b.example/".into(), Format::Raw)),
        ]
    );
}

#[test]
fn a_sweep_writes_the_last_numbers_that_are_not_written_yet() {
    let mut world = World::with(&["a.example"]);
    world.hear_all(&[caller("EV_1", "c", "PA_1", "a.example"), guest("EV_2", "c", "PA_1")]);
    let sweep = |world: &mut World| {
        let sweep = Sweep { progress: (0, world.known.last_id().0), ..Sweep::default() };
        world.decide(&[], &[Order::Sweep(sweep.into())]).changes
    };
    let Some(Change::Swept { numbers, complete, .. }) = sweep(&mut world).pop() else { panic!("a sweep") };
    assert_eq!((numbers.len(), numbers[0].sequence, complete), (1, 2, 2));
    let Some(Change::Swept { numbers, .. }) = sweep(&mut world).pop() else { panic!("a sweep") };
    assert!(numbers.is_empty());
}

#[test]
fn the_wait_of_overdue_events_is_ended_and_their_call_still_frees_them() {
    let mut world = World::with(&["a.example"]);
    world.hear(&guest("EV_1", "c", "PA_9"));
    assert_eq!(world.order(Order::EndHold(vec![DeliveryId(1)])).1, ["hold ended 1"]);
    let ready = world.hear(&caller("EV_2", "c", "PA_1", "a.example")).ready;
    assert_eq!(ready, ["EV_1 a.example 1", "EV_2 a.example 2"]);
}

/// A call of one number with this domain.
fn called(world: &mut World, id: &str, host: &str) -> Told {
    let attributes = json!({ "sip.h.x-to-ip": host, "sip.trunkPhoneNumber": "+15550100" });
    world.hear(&caller_with(id, id, &format!("PA_{id}"), &attributes))
}

/// What is written of it.
fn number(told: &Told) -> Option<&str> {
    told.changes.iter().map(String::as_str).find(|change| change.starts_with("number"))
}

#[test]
fn a_number_that_comes_with_another_domain_is_told() {
    let mut world = World::with(&["a.example", "b.example"]);
    let told = called(&mut world, "EV_1", "a.example");
    assert_eq!((number(&told), told.receipt.domain_changed.as_ref()), (Some("number a.example"), None));
    let told = called(&mut world, "EV_2", "a.example");
    assert_eq!((number(&told), told.receipt.domain_changed.as_ref()), (None, None));
    let told = called(&mut world, "EV_3", "b.example");
    assert_eq!(number(&told), Some("number b.example before a.example"));
    let change = told.receipt.domain_changed.expect("a change");
    assert_eq!(
        (&*change.before_domain, &*change.domain, &*change.number),
        ("a.example", "b.example", "15550100")
    );
    assert_eq!(
        (change.before_tenant.as_deref(), change.call.as_deref()),
        (Some("a.example"), Some("RM_EV_3"))
    );
    // That it is still called is written once a day.
    world.now.0 += 24 * 3_600_000 + 1;
    assert_eq!(number(&called(&mut world, "EV_4", "b.example")), Some("number b.example"));
}

/// Extensions such as 200 are many tenants'; a number may lead to two domains on purpose.
#[test]
fn a_number_that_goes_to_and_fro_is_told_once_for_each_place() {
    let hosts: Vec<String> = (0..20).map(|n| format!("h{n}.example")).collect();
    let mut world = World::with(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
    let is_told = |world: &mut World, n: usize, host: usize| {
        called(world, &format!("EV_{n}"), &hosts[host]).receipt.domain_changed.is_some()
    };
    let told: Vec<_> = (0..6).map(|n| is_told(&mut world, n, n % 2)).collect();
    assert_eq!(told, [false, true, false, false, false, false]);
    // A third place is news, a ninth no longer: it is an extension by then.
    assert!(is_told(&mut world, 10, 2));
    let told = (3..20).filter(|host| is_told(&mut world, 20 + host, *host)).count();
    assert_eq!(told, 6);
    assert!(!is_told(&mut world, 50, 3));
    // A day later it is another matter.
    world.now.0 += 24 * 3_600_000 + 1;
    assert!(is_told(&mut world, 51, 4));
}

#[test]
fn numbers_that_a_tenant_s_own_livekit_calls_are_its_own_affair() {
    let mut world = World::with(&["a.example", "b.example"]);
    called(&mut world, "EV_1", "b.example");
    world.door = door_of("a.example", true);
    let told = called(&mut world, "EV_2", "a.example");
    assert_eq!((number(&told), told.receipt.domain_changed.as_ref()), (None, None));
}

#[test]
fn orders_that_belong_together_are_decided_together_with_their_record() {
    let mut world = World::with(&["a.example"]);
    let record = AuditRecord {
        at: at(0),
        actor: "operator".to_owned(),
        token: None,
        from: None,
        tenant: None,
        action: "hook.pause".to_owned(),
        target: "a.example".to_owned(),
        before: None,
        after: None,
        outcome: "done".to_owned(),
    };
    let pause = Order::Pause { hook: A, at: at(0), by: PausedBy::Gone };
    let together = Order::Together([pause, Order::Audit(record.into())].into());
    assert!(together.is_pause() && !together.is_long() && together.is_request());
    let long = Order::Together([together.clone(), Order::Edit([].into())].into());
    assert!(long.is_long());
    assert_eq!(world.order(together).1, ["paused a.example", "audited 1 hook.pause"]);
    assert_eq!(world.order(long).1, ["paused a.example", "audited 2 hook.pause"]);
    assert!(world.known.pauses.is_paused(A));
}
