//! A lane's rules one by one; below, whatever may happen to one.

mod model;
mod properties;

use self::model::position;
use super::*;
use crate::ids::DeliveryId;

const DAY: Duration = Duration::from_secs(86_400);

const LIMITS: LaneLimits =
    LaneLimits { order_wait: Duration::from_secs(30), max_age: DAY, window: 32, interval: None, target: 0 };

fn at(seconds: u64) -> Moment {
    Moment::default() + Duration::from_secs(seconds)
}

fn lane(ids: &[(i64, i64)]) -> Lane {
    let mut lane = Lane::new(LIMITS, at(0));
    for (id, chain) in ids {
        add(&mut lane, position(*id), *chain, 0);
    }
    lane
}

fn add(lane: &mut Lane, position: Position, chain: i64, now: u64) {
    let load = lane.load(10, Duration::ZERO, at(now));
    lane.add(position, Chain(chain), load);
}

fn start(lane: &mut Lane, now: Moment) -> Option<i64> {
    lane.start(now).map(|start| start.id.0)
}

fn settle(lane: &mut Lane, id: i64, chain: i64, now: u64, conclusion: Conclusion) {
    let start = Start {
        id: DeliveryId(id),
        sequence: id,
        chain: Chain(chain),
        failures: 0,
        is_moved: false,
        target: lane.limits.target,
    };
    lane.settle(start, conclusion, at(now));
}

fn fail(lane: &mut Lane, id: i64, chain: i64, now: u64, due: u64) {
    settle(lane, id, chain, now, Conclusion::failed(Seen::Answer, at(due)));
}

fn done(lane: &mut Lane, id: i64, chain: i64, now: u64) {
    settle(lane, id, chain, now, Conclusion::DONE);
}

#[test]
fn a_call_goes_one_at_a_time_and_calls_go_in_parallel() {
    let mut lane = lane(&[(1, 7), (2, 7), (3, 8)]);
    assert_eq!(start(&mut lane, at(0)), Some(1));
    assert_eq!(start(&mut lane, at(0)), Some(3));
    assert_eq!(start(&mut lane, at(0)), None);
    done(&mut lane, 1, 7, 0);
    assert_eq!(start(&mut lane, at(0)), Some(2));
    assert_eq!(lane.pending(), 2);
}

#[test]
fn the_window_grows_with_success_and_halves_on_timeout() {
    let mut lane = lane(&(1..100).map(|id| (id, id)).collect::<Vec<_>>());
    let started = |lane: &mut Lane| std::iter::from_fn(|| start(lane, at(0))).count();
    assert_eq!(started(&mut lane), 2);
    let delivered = Conclusion::DELIVERED;
    for id in 1..=5 {
        settle(&mut lane, id, id, 0, delivered);
        started(&mut lane);
    }
    let timed_out = Conclusion { window: Resize::Halve, ..Conclusion::failed(Seen::Answer, at(60)) };
    // 32 were in flight.
    settle(&mut lane, 6, 6, 0, timed_out);
    for id in 7..=21 {
        done(&mut lane, id, id, 0);
    }
    assert_eq!(started(&mut lane), 0);
    done(&mut lane, 22, 22, 0);
    assert_eq!(started(&mut lane), 1);
}

#[test]
fn a_failing_event_holds_its_call_for_order_wait_then_is_passed() {
    let mut lane = lane(&[(1, 7), (2, 7), (3, 7)]);
    start(&mut lane, at(0));
    fail(&mut lane, 1, 7, 0, 10);
    lane.tick(at(10));
    let again =
        Start { id: DeliveryId(1), sequence: 1, chain: Chain(7), failures: 1, is_moved: false, target: 0 };
    assert_eq!(lane.start(at(10)), Some(again));
    fail(&mut lane, 1, 7, 10, 40);
    lane.tick(at(29));
    assert_eq!(start(&mut lane, at(29)), None);
    assert_eq!(lane.next_wake(at(29)), Some(at(30)));
    lane.tick(at(30));
    assert_eq!(start(&mut lane, at(30)), Some(2));
    lane.tick(at(40));
    // Due again while 2 is in flight: still one at a time, and before 3.
    assert_eq!(start(&mut lane, at(40)), None);
    done(&mut lane, 2, 7, 40);
    assert_eq!(start(&mut lane, at(40)), Some(1));
    fail(&mut lane, 1, 7, 41, 100);
    assert_eq!(start(&mut lane, at(41)), Some(3));
    done(&mut lane, 3, 7, 41);
    assert_eq!(lane.pending(), 1);
}

#[test]
fn held_and_paused_time_does_not_let_others_pass() {
    let mut lane = lane(&[(1, 7), (2, 7)]);
    start(&mut lane, at(0));
    settle(&mut lane, 1, 7, 0, Conclusion { hold: Some(at(100)), ..Conclusion::failed(Seen::Answer, at(5)) });
    lane.tick(at(99));
    assert_eq!((start(&mut lane, at(99)), lane.next_wake(at(99))), (None, Some(at(100))));
    lane.tick(at(100));
    assert_eq!(start(&mut lane, at(100)), Some(1));
    fail(&mut lane, 1, 7, 100, 105);
    lane.pause(at(101));
    lane.tick(at(1000));
    assert_eq!(start(&mut lane, at(1000)), None);
    lane.resume(at(1000));
    assert_eq!(start(&mut lane, at(1000)), Some(1));
    fail(&mut lane, 1, 7, 1000, 2000);
    lane.tick(at(1028));
    assert_eq!(start(&mut lane, at(1028)), None);
    lane.tick(at(1029));
    assert_eq!(start(&mut lane, at(1029)), Some(2));
}

#[test]
fn time_between_the_end_of_a_hold_and_a_late_tick_counts_as_healthy() {
    let mut lane = lane(&[(1, 7), (2, 7)]);
    start(&mut lane, at(0));
    let held = Conclusion { hold: Some(at(100)), ..Conclusion::failed(Seen::Answer, at(1000)) };
    settle(&mut lane, 1, 7, 0, held);
    lane.tick(at(110));
    assert_eq!(lane.next_wake(at(110)), Some(at(130)));
}

#[test]
fn a_rate_spaces_the_starts_and_a_smaller_window_holds_at_once() {
    let mut lane = lane(&[(1, 1), (2, 2), (3, 3)]);
    lane.configure(LaneLimits { interval: Some(Duration::from_secs(2)), ..LIMITS }, at(0));
    assert_eq!((start(&mut lane, at(0)), start(&mut lane, at(1))), (Some(1), None));
    assert_eq!(lane.next_wake(at(1)), Some(at(2)));
    lane.tick(at(2));
    assert_eq!((start(&mut lane, at(2)), start(&mut lane, at(3))), (Some(2), None));
    lane.configure(LaneLimits { window: 1, ..LIMITS }, at(0));
    lane.tick(at(4));
    done(&mut lane, 1, 1, 4);
    assert_eq!(start(&mut lane, at(4)), None);
    done(&mut lane, 2, 2, 4);
    assert_eq!(start(&mut lane, at(4)), Some(3));
}

#[test]
fn what_failed_before_a_restart_still_holds_its_call() {
    let mut lane = Lane::new(LIMITS, at(0));
    let load = lane.load(10, Duration::ZERO, at(0));
    lane.add_failed(position(1), Chain(7), load, at(8), at(0));
    add(&mut lane, position(2), 7, 0);
    assert_eq!(start(&mut lane, at(0)), None);
    lane.tick(at(8));
    assert_eq!(start(&mut lane, at(8)), Some(1));
    done(&mut lane, 1, 7, 8);
    assert_eq!(start(&mut lane, at(8)), Some(2));
}

/// An event that waited for its participant's hook is older than what was delivered meanwhile, and comes later.
#[test]
fn the_order_of_a_call_is_that_of_its_numbers() {
    let mut lane = Lane::new(LIMITS, at(0));
    for (id, sequence) in [(8, 1), (9, 2), (5, 3), (6, 4), (20, 5)] {
        add(&mut lane, Position { sequence, id: DeliveryId(id) }, 7, 0);
    }
    for expected in [8, 9, 5, 6, 20] {
        let start = lane.start(at(0)).expect("the next");
        assert_eq!(start.id.0, expected);
        lane.settle(start, Conclusion::DONE, at(0));
    }
    assert!(lane.is_idle());
}

fn fault(lane: &mut Lane, id: i64, chain: i64, now: u64) {
    settle(lane, id, chain, now, Conclusion::failed(Seen::Fault, at(now + 600)));
}

/// A lane of this many calls with two events each, whose receiver has just failed five times.
fn broken(calls: i64) -> Lane {
    let ids: Vec<_> = (1..=2 * calls).map(|id| (id, (id - 1) % calls)).collect();
    let mut lane = lane(&ids);
    for id in 1..=5 {
        assert_eq!(start(&mut lane, at(0)), Some(id));
        fault(&mut lane, id, id - 1, 0);
    }
    lane
}

#[test]
fn while_the_breaker_is_open_one_call_after_the_other_is_probed_and_then_all_are_due_in_order() {
    let mut lane = broken(7);
    assert_eq!((start(&mut lane, at(0)), lane.next_wake(at(0))), (None, Some(at(1))));
    for (now, id) in [(1, 1), (3, 2), (7, 3), (15, 4), (31, 5), (61, 6), (91, 7), (121, 1)] {
        assert_eq!(start(&mut lane, at(now - 1)), None);
        assert_eq!((start(&mut lane, at(now)), start(&mut lane, at(now + 1))), (Some(id), None), "{now}");
        fault(&mut lane, id, id - 1, now);
    }
    assert_eq!(start(&mut lane, at(151)), Some(2));
    settle(&mut lane, 2, 1, 152, Conclusion::DELIVERED);
    let started: Vec<_> = std::iter::from_fn(|| start(&mut lane, at(152))).collect();
    assert_eq!(started, [1, 3, 4, 5]);
    assert!(!lane.figures().open);
}

#[test]
fn what_has_become_too_old_is_given_up_in_portions_once_a_probe_has_failed() {
    let mut lane = broken(600);
    let day = DAY.as_secs();
    let mut probe = |now: u64, seen| {
        lane.tick(at(now));
        let start = lane.start(at(now)).expect("a probe");
        let settled = lane.settle(start, Conclusion::failed(seen, at(now + 600)), at(now));
        (start.id.0, settled.expired.len(), settled.expired.first().map(|id| id.0), lane.pending())
    };
    assert_eq!(probe(day, Seen::Fault), (1, 0, None, 1200));
    assert_eq!(probe(day + 100, Seen::Nothing), (2, 0, None, 1200));
    // The second events of their calls come up behind the first.
    assert_eq!(probe(day + 900, Seen::Fault), (3, 256, Some(1), 944));
    assert_eq!(probe(day + 1000, Seen::Fault), (258, 256, Some(3), 688));
    add(&mut lane, position(5000), 5000, day + 1000);
    let mut last = 0;
    for now in 11..20 {
        lane.tick(at(day + 100 * now));
        let start = lane.start(at(day + 100 * now)).expect("a probe");
        last = lane
            .settle(start, Conclusion::failed(Seen::Fault, at(2 * day)), at(day + 100 * now))
            .expired
            .len();
    }
    assert_eq!((last, lane.pending(), lane.figures().oldest), (0, 1, Some(DeliveryId(5000))));
}

#[test]
fn what_was_old_when_the_router_started_is_given_up_as_what_grew_old_since() {
    let mut lane = broken(5);
    for (id, age) in [(100, DAY - Duration::from_secs(2)), (101, DAY), (102, 9 * DAY)] {
        let load = lane.load(10, age, at(0));
        lane.add(position(id), Chain(id), load);
    }
    lane.tick(at(1));
    let mut expired = |now| {
        let start = lane.start(at(now)).expect("a probe");
        lane.settle(start, Conclusion::failed(Seen::Fault, at(now + 1)), at(now)).expired
    };
    assert_eq!([expired(1), expired(9)], [vec![DeliveryId(101), DeliveryId(102)], vec![DeliveryId(100)]]);
}

#[test]
fn a_pause_keeps_what_waits_from_ageing() {
    let mut lane = broken(6);
    lane.pause(at(0));
    lane.resume(at(90_000));
    for now in 90_000..90_006 {
        lane.tick(at(now));
        let id = start(&mut lane, at(now)).expect("a start");
        fault(&mut lane, id, (id - 1) % 6, now);
    }
    assert!(lane.next_start(None, at(90_005)).is_some());
    assert_eq!(lane.pending(), 12);
}

#[test]
fn a_poisoned_event_neither_keeps_the_breaker_open_nor_opens_it_for_others() {
    let mut lane = lane(&[(1, 7), (2, 8), (3, 8)]);
    for now in 0..6 {
        lane.resume(at(now));
        lane.tick(at(now));
        assert_eq!(start(&mut lane, at(now)), Some(1));
        settle(&mut lane, 1, 7, now, Conclusion::failed(Seen::Fault, at(now + 1)));
    }
    assert!(lane.figures().open);
    assert_eq!(start(&mut lane, at(5)), Some(2));
    settle(&mut lane, 2, 8, 5, Conclusion::DELIVERED);
    assert!(!lane.figures().open);
    assert_eq!(start(&mut lane, at(5)), Some(3));
}

#[test]
fn while_the_breaker_is_open_later_events_do_not_pass() {
    let mut lane = broken(5);
    lane.tick(at(1000));
    assert_eq!(start(&mut lane, at(1000)), Some(1));
    // It takes nothing at present, but it lives.
    settle(&mut lane, 1, 0, 1000, Conclusion::failed(Seen::Answer, at(2000)));
    lane.tick(at(1029));
    let heads: Vec<_> = std::iter::from_fn(|| start(&mut lane, at(1029))).collect();
    assert_eq!(heads, [2, 3]);
    lane.tick(at(1030));
    done(&mut lane, 2, 1, 1030);
    assert_eq!(start(&mut lane, at(1030)), Some(4));
}

#[test]
fn at_another_url_everything_is_due_at_once() {
    let mut lane = broken(5);
    lane.configure(LaneLimits { order_wait: Duration::from_secs(5), ..LIMITS }, at(0));
    assert_eq!(start(&mut lane, at(0)), None);
    lane.configure(LaneLimits { target: 1, ..LIMITS }, at(0));
    let started =
        [lane.start(at(0)), lane.start(at(0))].map(|start| start.map(|start| (start.id.0, start.is_moved)));
    assert_eq!(started, [Some((1, true)), Some((2, true))]);
    // What comes later goes where its call is bound to go; if that fails, it says nothing of the new URL.
    add(&mut lane, position(99), 99, 0);
    (1..=2).for_each(|id| settle(&mut lane, id, id - 1, 0, Conclusion::DELIVERED));
    let last = std::iter::from_fn(|| lane.start(at(0))).last().map(|start| (start.id.0, start.is_moved));
    assert_eq!(last, Some((99, false)));
    for id in [3, 4, 5, 99] {
        settle(
            &mut lane,
            id,
            if id == 99 { 99 } else { id - 1 },
            0,
            Conclusion::failed(Seen::Elsewhere { delivered: false }, at(9)),
        );
    }
    assert!(!lane.figures().open);
}

#[test]
fn at_another_url_the_lane_begins_anew() {
    let ids: Vec<_> = (1..=500).map(|id| (id, id)).collect();
    let mut lane = lane(&ids);
    while let Some(id) = start(&mut lane, at(0)) {
        fail(&mut lane, id, id, 0, 9999);
    }
    let held = lane.next_start(None, at(0)).expect("held");
    lane.tick(held);
    let begun = lane.start(held).expect("one more may fail");
    let patience = Conclusion { hold: Some(at(1000)), ..Conclusion::failed(Seen::Fault, at(2000)) };
    lane.settle(begun, patience, held);
    assert_eq!((lane.next_start(None, at(1)), lane.next_wake(at(1))), (Some(at(1000)), Some(at(1000))));
    lane.configure(LaneLimits { target: 1, ..LIMITS }, at(1));
    assert_eq!((lane.next_start(None, at(1)), lane.window()), (None, 2));
    assert_eq!([start(&mut lane, at(1)), start(&mut lane, at(1))], [Some(1), Some(2)]);
}

#[test]
fn what_was_in_flight_when_the_url_changed_says_nothing_of_the_new_one() {
    let mut lane = lane(&[(1, 1), (2, 2), (3, 3)]);
    let [one, two] = [lane.start(at(0)), lane.start(at(0))].map(|start| start.expect("a start"));
    lane.configure(LaneLimits { target: 1, ..LIMITS }, at(0));
    let gone = Conclusion { pause: true, ..Conclusion::failed(Seen::Answer, at(0)) };
    assert!(!lane.settle(one, gone, at(1)).pauses);
    let patience = Conclusion { hold: Some(at(1000)), ..Conclusion::failed(Seen::Fault, at(2000)) };
    lane.settle(two, patience, at(1));
    lane.tick(at(1));
    assert_eq!([start(&mut lane, at(1)), start(&mut lane, at(1))], [Some(1), Some(2)]);
}

#[test]
fn what_is_shown_as_the_next_try_is_the_last_of_all_that_holds_it() {
    let mut lane = broken(5);
    assert_eq!(lane.next_start(None, at(0)), Some(at(1)));
    let begun = lane.start(at(1)).expect("a probe");
    let patience = Conclusion { hold: Some(at(100)), ..Conclusion::failed(Seen::Fault, at(2)) };
    lane.settle(begun, patience, at(1));
    assert_eq!((lane.next_start(None, at(1)), lane.next_start(None, at(100))), (Some(at(100)), None));
    lane.pause(at(2));
    assert_eq!(lane.next_start(None, at(2)), None);
}

#[test]
fn what_fails_at_once_does_not_fail_without_end() {
    let ids: Vec<_> = (1..=1000).map(|id| (id, id)).collect();
    let mut lane = lane(&ids);
    let mut refused = |now| {
        let mut count = 0;
        while let Some(id) = start(&mut lane, at(now)) {
            fail(&mut lane, id, id, now, 9999);
            count += 1;
        }
        (count, lane.next_wake(at(now)).map(|wake| wake.since(at(now)).as_millis()))
    };
    assert_eq!([refused(10), refused(11), refused(13)], [(100, Some(50)), (20, Some(50)), (40, Some(50))]);
}
