//! How lanes get their turns; below, whatever may happen to all of them.

mod properties;

use std::time::Duration;

use super::*;
use crate::dispatch::lane::{Seen, Shift};
use crate::hooks::{Around, parse_file};
use crate::ids::{BodyHash, Chain, EventId};
use crate::network::Network;
use crate::route::Rule;

fn at(seconds: u64) -> Moment {
    Moment::default() + Duration::from_secs(seconds)
}

/// A table of hooks 1, 2, … of these tenants.
fn table(tenants: &[&str]) -> HookTable {
    let hook = |(id, tenant): (usize, &&str)| {
        format!("  - {{host: h{id}.example, url: 'https://h{id}.example', tenant: {tenant}}}\n")
    };
    let text: String = tenants.iter().enumerate().map(hook).collect();
    table_of(&format!("limits: {{hooks: 1000}}\nhooks:\n{text}"))
}

/// The table of a hooks file; its hooks are 1, 2, …
fn table_of(text: &str) -> HookTable {
    let around = Around::new(Network::default(), |_| Err(String::new()));
    let (entries, terms) = parse_file(text, &around).expect("a table");
    let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
    HookTable::build(numbered.collect(), Vec::new()).within(terms.limits())
}

fn ready(hook: i64, id: i64) -> Ready {
    let (hook, id, chain) = (HookId(hook), DeliveryId(id), Chain(id));
    Ready { id, hook, chain, sequence: id.0, bytes: 10, due: None, ages_from: None, fresh: None }
}

/// The same with its body in memory.
fn with_body(hook: i64, id: i64, table: &HookTable) -> Ready {
    let body = bytes::Bytes::from(vec![b'x'; 4 << 10]);
    let delivery = Delivery {
        id: DeliveryId(id),
        event_id: EventId::new(None, &BodyHash::of(&body)),
        event: "room_started".into(),
        body,
        issuer: None,
        hook: Arc::clone(table.by_id(HookId(hook)).expect("a hook")),
        rule: Rule::Domain,
        domain: None,
        call: None,
        bound: None,
        chain: Chain(id),
        sequence: id,
        received_at: UnixMillis(0),
        came: None,
        paused_before_ms: 0,
        freed_at: None,
        replayed_at: None,
        attempts: 0,
        is_kept: false,
        _counted: None,
    };
    Ready { fresh: Some(Arc::new(delivery)), ..ready(hook, id) }
}

fn add(lanes: &mut Lanes, hook: i64, id: i64, due: Option<i64>) {
    let ready = Ready { due: due.map(UnixMillis), ..ready(hook, id) };
    lanes.add(ready, &HookTable::default(), at(0), UnixMillis(0));
}

fn start(lanes: &mut Lanes, now: Moment) -> Option<(i64, i64)> {
    lanes.start(now).map(|(hook, start, _)| (hook.0, start.id.0))
}

#[test]
fn a_lane_starts_nothing_before_what_was_pending_at_the_start_has_come_and_others_do() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    add(&mut lanes, 1, 9, None);
    add(&mut lanes, 2, 8, None);
    lanes.expect_older(&[HookId(1)].into(), at(0));
    assert_eq!([start(&mut lanes, at(0)), start(&mut lanes, at(0))], [Some((2, 8)), None]);
    add(&mut lanes, 1, 3, None);
    assert_eq!(start(&mut lanes, at(1)), None);
    lanes.older_came(HookId(1), at(1));
    let started = [start(&mut lanes, at(1)), start(&mut lanes, at(1))];
    assert_eq!(started, [Some((1, 3)), Some((1, 9))]);
}

#[test]
fn lanes_start_one_each_in_turn_and_a_full_one_costs_the_others_nothing() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    for (hook, id) in [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6)] {
        add(&mut lanes, hook, id, None);
    }
    let started: Vec<_> = std::iter::from_fn(|| start(&mut lanes, at(0))).collect();
    assert_eq!(started, [(1, 1), (2, 4), (3, 6), (1, 2), (2, 5)]);
    // Unknown hooks are nobody's.
    let waiting: Vec<_> = lanes.largest(9).waiting.iter().map(|all| (all.pending, all.oldest)).collect();
    assert_eq!(waiting, [(6, Some(DeliveryId(1)))]);
}

#[test]
fn the_alarm_is_set_for_the_lane_that_is_due_first() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    add(&mut lanes, 1, 1, Some(9_000));
    add(&mut lanes, 2, 2, Some(5_000));
    assert_eq!((start(&mut lanes, at(4)), lanes.next_wake()), (None, Some(at(5))));
    lanes.tick(at(5));
    assert_eq!((start(&mut lanes, at(5)), lanes.next_wake()), (Some((2, 2)), Some(at(6))));
    lanes.tick(at(9));
    assert_eq!((start(&mut lanes, at(9)), lanes.next_wake()), (Some((1, 1)), Some(at(10))));
}

#[test]
fn a_lane_is_paused_once_and_goes_on_where_it_was() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    [1, 2, 3].into_iter().for_each(|id| add(&mut lanes, 1, id, None));
    let hook = HookId(1);
    let gone = Conclusion { pause: true, ..Conclusion::failed(Seen::Answer, at(0)) };
    let starts: Vec<_> = std::iter::from_fn(|| lanes.start(at(0))).map(|(_, start, _)| start).collect();
    let pauses: Vec<_> =
        starts.into_iter().map(|start| lanes.settle(hook, start, gone, at(0)).pauses).collect();
    assert_eq!(pauses, [true, false]);
    lanes.tick(at(60));
    assert_eq!(start(&mut lanes, at(60)), None);
    assert_eq!([lanes.resume(hook, at(60)), lanes.resume(hook, at(60))], [true, false]);
    assert_eq!(start(&mut lanes, at(60)), Some((1, 1)));
}

fn deliver_all(lanes: &mut Lanes, now: Moment) {
    while let Some((hook, start, _)) = lanes.start(now) {
        lanes.settle(hook, start, Conclusion::DELIVERED, now);
    }
}

#[test]
fn of_too_many_lanes_those_that_are_idle_are_forgotten_and_those_in_use_stay_proven() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let few = 500;
    let many = LANES as i64 + 2 * few;
    (1..=many).for_each(|hook| add(&mut lanes, hook, hook, None));
    deliver_all(&mut lanes, at(0));
    for round in 1..=20 {
        for hook in 1..=few {
            add(&mut lanes, hook, round * many + hook, None);
            // Many others come and go.
            add(&mut lanes, round * many + hook, (round + 100) * many + hook, None);
        }
        deliver_all(&mut lanes, at(0));
        assert!((1..=few).all(|hook| lanes.seats[&HookId(hook)].pace() == LanePace::Proven));
    }
    assert!(lanes.seats.len() <= LANES + few as usize, "{}", lanes.seats.len());
    assert_eq!(lanes.round.len(), lanes.seats.len());
    let places: HashSet<_> = lanes.seats.values().map(|seat| format!("{:?}", seat.place)).collect();
    assert_eq!(places.len(), lanes.seats.len());
}

#[test]
fn lanes_that_lost_all_they_had_are_forgotten_too() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let most = LANES as i64;
    for hook in 1..=most + 2 {
        add(&mut lanes, hook, hook, None);
        let seat = lanes.seats.get_mut(&HookId(hook)).expect("a lane");
        seat.lane.evict().expect("a delivery");
        lanes.touch(HookId(hook), at(0));
    }
    for id in 0..most {
        add(&mut lanes, 1, 100 * most + id, None);
        deliver_all(&mut lanes, at(0));
    }
    assert_eq!((lanes.seats.len(), lanes.seats.contains_key(&HookId(1))), (LANES, true));
}

#[test]
fn a_tenant_that_holds_its_share_hides_nobody_however_many_lanes_it_has() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let mut tenants = vec!["greedy"; 300];
    tenants.push("neighbour");
    let table = table(&tenants);
    for hook in 1..=300 {
        lanes.add(ready(hook, hook), &table, at(0), UnixMillis(0));
    }
    let held = std::iter::from_fn(|| start(&mut lanes, at(0))).count();
    assert_eq!(held, 64);
    lanes.add(ready(301, 301), &table, at(0), UnixMillis(0));
    assert_eq!([start(&mut lanes, at(0)), start(&mut lanes, at(0))], [Some((301, 301)), None]);
}

#[test]
fn the_tenant_that_holds_least_goes_first() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let table = table(&["a", "a", "a", "b", "b", "c"]);
    for hook in 1..=6 {
        lanes.add(ready(hook, hook), &table, at(0), UnixMillis(0));
    }
    let started: Vec<_> = std::iter::from_fn(|| start(&mut lanes, at(0))).map(|(hook, _)| hook).collect();
    assert_eq!(started, [1, 4, 6, 2, 5, 3]);
}

#[test]
fn the_failures_of_a_tenant_are_bounded_however_many_hooks_it_has() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let table = table(&[vec!["failing"; 100], vec!["neighbour"]].concat());
    for id in 1..=2000 {
        lanes.add(ready(1 + id % 100, id), &table, at(10), UnixMillis(0));
    }
    let fail_all = |lanes: &mut Lanes, now| {
        lanes.tick(now);
        let started = std::iter::from_fn(|| {
            let (hook, start, _) = lanes.start(now)?;
            lanes.settle(hook, start, Conclusion::failed(Seen::Answer, at(9999)), now);
            Some(hook)
        });
        started.count()
    };
    assert_eq!(fail_all(&mut lanes, at(10)), 400);
    let wake = lanes.next_wake().expect("a time to go on");
    assert_eq!(wake.since(at(10)), Duration::from_micros(12_500));
    lanes.add(ready(101, 2001), &table, at(10), UnixMillis(0));
    assert_eq!(start(&mut lanes, at(10)), Some((101, 2001)));
    assert_eq!([fail_all(&mut lanes, wake), fail_all(&mut lanes, at(11))], [1, 79]);
}

/// The router's own cutting short must not hide what a receiver is like: in the end each is found to hang.
#[test]
fn of_hundreds_that_hang_each_is_cut_off_at_most_once_and_then_runs_into_its_timeout() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let mut flying: HashMap<DeliveryId, (HookId, Start, Moment)> = HashMap::new();
    let (mut cut, mut timed_out) = (HashMap::new(), HashSet::new());
    let names: Vec<_> = (0..700).map(|number| format!("t{number}")).collect();
    let table = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for hook in 1..=700 {
        lanes.add(ready(hook, hook), &table, at(0), UnixMillis(0));
    }
    for step in 0..600 {
        let now = at(0) + step * Duration::from_millis(100);
        lanes.tick(now);
        for id in lanes.excess(now) {
            let (hook, start, _) = flying.remove(&id).expect("in flight");
            *cut.entry(hook).or_insert(0) += 1;
            lanes.settle(hook, start, Conclusion::postponed(now + Duration::from_secs(2)), now);
        }
        let due: Vec<_> =
            flying.extract_if(|_, (.., since)| now >= *since + Duration::from_secs(10)).collect();
        for (_, (hook, start, _)) in due {
            timed_out.insert(hook);
            lanes.settle(hook, start, Conclusion::failed(Seen::Fault, now + Duration::from_secs(60)), now);
        }
        while let Some((hook, start, _)) = lanes.start(now) {
            flying.insert(start.id, (hook, start, now));
        }
    }
    assert_eq!((cut.values().max(), timed_out.len()), (Some(&1), 700));
}

#[test]
fn a_lane_that_was_slow_and_answers_is_as_a_new_one_and_so_is_one_with_another_url() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let pace = |lanes: &Lanes| lanes.seats[&HookId(1)].pace();
    [1, 2, 3].into_iter().for_each(|id| add(&mut lanes, 1, id, None));
    let mut attempt = |seconds, conclusion| {
        let (hook, begun, _) = lanes.start(at(seconds)).expect("a start");
        lanes.tick(at(seconds + 2));
        assert_eq!(pace(&lanes), LanePace::Suspect);
        lanes.settle(hook, begun, conclusion, at(seconds + 2));
        pace(&lanes)
    };
    assert_eq!(attempt(0, Conclusion::DELIVERED), LanePace::New);
    assert_eq!(attempt(10, Conclusion::failed(Seen::Fault, at(60))), LanePace::Suspect);
    lanes.configure(&table(&["a"]), at(20));
    assert_eq!(pace(&lanes), LanePace::New);
}

/// An attempt that becomes slow takes its lane's turn among the quick ones away, and its end gives it back.
#[test]
fn a_lane_waits_among_those_of_its_pace_whenever_that_changes() {
    let mut lanes = Lanes::new(SlotBounds { quick: 16, new: 12, reserve: 0, slow: 1 });
    (1..=4).for_each(|id| add(&mut lanes, 1, id, None));
    let (hook, begun, _) = lanes.start(at(0)).expect("a start");
    lanes.tick(at(1));
    // The one slow place is taken.
    assert_eq!(start(&mut lanes, at(1)), None);
    lanes.settle(hook, begun, Conclusion::DELIVERED, at(2));
    assert_eq!(start(&mut lanes, at(2)), Some((1, 2)));
}

#[test]
fn lanes_that_cannot_start_leave_memory_to_the_others() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    let names: Vec<_> = (0..400).map(|number| format!("t{number}")).collect();
    let table = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
    // More than there is room for, of receivers that never answer.
    for id in 0..30 * 300 {
        lanes.add(with_body(1 + id % 300, id, &table), &table, at(0), UnixMillis(0));
    }
    let kept = lanes.tenants.kept(lanes.seats[&HookId(1)].place.tenant);
    assert!((1..=1 << 20).contains(&kept.0) && kept.1 <= 12 << 20, "{kept:?}");
    lanes.add(with_body(400, 1_000_000, &table), &table, at(0), UnixMillis(0));
    let of_neighbour = |lanes: &Lanes| lanes.seats[&HookId(400)].bodies.bytes();
    assert_eq!(of_neighbour(&lanes), 4 << 10);
    // What is held keeps nothing, and what ends leaves nothing.
    lanes.pause(HookId(400), &table, at(0));
    lanes.add(with_body(400, 1_000_001, &table), &table, at(0), UnixMillis(0));
    assert_eq!(of_neighbour(&lanes), 0);
    for hook in 1..=300 {
        lanes.pause(HookId(hook), &table, at(0));
    }
    assert_eq!(lanes.tenants.kept(lanes.seats[&HookId(1)].place.tenant), (0, 0));
}

#[test]
fn the_log_is_told_of_a_breaker_once_a_minute_and_of_its_end_if_it_was_told_of_its_beginning() {
    let mut lanes = Lanes::new(SlotBounds::of(768));
    (1..=90).for_each(|id| add(&mut lanes, 1, id, None));
    let mut told = Vec::new();
    for (now, conclusion) in [
        (0, Conclusion::failed(Seen::Fault, at(999))),
        (5, Conclusion::DELIVERED),
        (6, Conclusion::failed(Seen::Fault, at(999))),
        (70, Conclusion::DELIVERED),
        (71, Conclusion::failed(Seen::Fault, at(999))),
        (72, Conclusion::DELIVERED),
        (73, Conclusion::failed(Seen::Fault, at(999))),
        // It is open still when a minute is over.
        (100, Conclusion::failed(Seen::Fault, at(999))),
        (140, Conclusion::failed(Seen::Fault, at(999))),
        (200, Conclusion::DELIVERED),
    ] {
        lanes.tick(at(now));
        for _ in 0..5 {
            let Some((hook, start, _)) = lanes.start(at(now)) else { break };
            told.extend(lanes.settle(hook, start, conclusion, at(now)).shift.map(|shift| (now, shift)));
        }
    }
    let (opened, closed) = (Shift::Probing, Shift::Recovered);
    assert_eq!(told, [(0, opened), (5, closed), (71, opened), (72, closed), (140, opened), (200, closed)]);
}
