//! A lane's rules one by one; below, whatever may happen to one.

mod model;
mod properties;

use self::model::position;
use super::*;
use crate::ids::DeliveryId;

const LIMITS: LaneLimits = LaneLimits { order_wait: Duration::from_secs(30), window: 32, interval: None };

fn at(seconds: u64) -> Moment {
    Moment::default() + Duration::from_secs(seconds)
}

fn lane(ids: &[(i64, i64)]) -> Lane {
    let mut lane = Lane::new(LIMITS, at(0));
    for (id, chain) in ids {
        lane.add(position(*id), Chain(*chain));
    }
    lane
}

fn start(lane: &mut Lane, now: Moment) -> Option<i64> {
    lane.start(now).map(|start| start.id.0)
}

fn settle(lane: &mut Lane, id: i64, chain: i64, now: u64, conclusion: Conclusion) {
    let start = Start { id: DeliveryId(id), sequence: id, chain: Chain(chain), failures: 0 };
    lane.settle(start, conclusion, at(now));
}

fn fail(lane: &mut Lane, id: i64, chain: i64, now: u64, due: u64) {
    settle(lane, id, chain, now, Conclusion::failed(at(due)));
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
    let delivered = Conclusion { window: Resize::Double, ..Conclusion::DONE };
    for id in 1..=5 {
        settle(&mut lane, id, id, 0, delivered);
        started(&mut lane);
    }
    let timed_out = Conclusion { window: Resize::Halve, ..Conclusion::failed(at(60)) };
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
    let again = Start { id: DeliveryId(1), sequence: 1, chain: Chain(7), failures: 1 };
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
    settle(&mut lane, 1, 7, 0, Conclusion { hold: Some(at(100)), ..Conclusion::failed(at(5)) });
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
    let held = Conclusion { hold: Some(at(100)), ..Conclusion::failed(at(1000)) };
    settle(&mut lane, 1, 7, 0, held);
    lane.tick(at(110));
    assert_eq!(lane.next_wake(at(110)), Some(at(130)));
}

#[test]
fn a_rate_spaces_the_starts_and_a_smaller_window_holds_at_once() {
    let mut lane = lane(&[(1, 1), (2, 2), (3, 3)]);
    lane.configure(LaneLimits { interval: Some(Duration::from_secs(2)), ..LIMITS });
    assert_eq!((start(&mut lane, at(0)), start(&mut lane, at(1))), (Some(1), None));
    assert_eq!(lane.next_wake(at(1)), Some(at(2)));
    lane.tick(at(2));
    assert_eq!((start(&mut lane, at(2)), start(&mut lane, at(3))), (Some(2), None));
    lane.configure(LaneLimits { window: 1, ..LIMITS });
    lane.tick(at(4));
    done(&mut lane, 1, 1, 4);
    assert_eq!(start(&mut lane, at(4)), None);
    done(&mut lane, 2, 2, 4);
    assert_eq!(start(&mut lane, at(4)), Some(3));
}

#[test]
fn what_failed_before_a_restart_still_holds_its_call() {
    let mut lane = Lane::new(LIMITS, at(0));
    lane.add_failed(position(1), Chain(7), at(8), at(0));
    lane.add(position(2), Chain(7));
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
        lane.add(Position { sequence, id: DeliveryId(id) }, Chain(7));
    }
    for expected in [8, 9, 5, 6, 20] {
        let start = lane.start(at(0)).expect("the next");
        assert_eq!(start.id.0, expected);
        lane.settle(start, Conclusion::DONE, at(0));
    }
    assert!(lane.is_idle());
}
