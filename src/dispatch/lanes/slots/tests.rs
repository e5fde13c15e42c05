//! Who gets a place, case by case; below, what holds whatever happens.

use proptest::prelude::*;

use super::*;

const BOUNDS: SlotBounds = SlotBounds { quick: 16, new: 12, reserve: 2, slow: 8 };

fn at(ms: u64) -> Moment {
    Moment::default() + Duration::from_millis(ms)
}

/// An attempt of a tenant starts, if it may.
fn take(slots: &mut Slots, id: i64, number: usize, pace: LanePace, now: Moment) -> bool {
    let kind = slots.place(TenantNumber(number), pace);
    if let Some(kind) = kind {
        slots.take(DeliveryId(id), (TenantNumber(number), HookId(number as i64)), (pace, kind), now);
    }
    kind.is_some()
}

/// Starts as many attempts of a tenant as it may have; how many.
fn fill(slots: &mut Slots, number: usize, pace: LanePace, now: Moment) -> usize {
    (0..).take_while(|count| take(slots, (1000 * number + count) as i64, number, pace, now)).count()
}

fn pass(slots: &mut Slots, now: Moment) -> usize {
    std::iter::from_fn(|| slots.pass(now)).count()
}

#[test]
fn the_bounds_follow_from_how_many_may_be_in_flight() {
    let bounds = |attempts| {
        let SlotBounds { quick, new, reserve, slow } = SlotBounds::of(attempts);
        (quick, new, reserve, slow)
    };
    assert_eq!([bounds(768), bounds(192), bounds(1)], [(512, 384, 64, 256), (128, 96, 16, 64), (1, 1, 0, 1)]);
}

#[test]
fn a_tenant_holds_at_most_half_of_what_is_free_besides() {
    let mut slots = Slots::new(BOUNDS);
    let held: Vec<_> = (0..8).map(|number| fill(&mut slots, number, LanePace::Proven, at(0))).collect();
    assert_eq!(held, [5, 3, 2, 1, 1, 1, 1, 1]);
    assert_eq!(fill(&mut Slots::new(BOUNDS), 1, LanePace::Suspect, at(0)), 3);
}

#[test]
fn lanes_of_which_nothing_is_known_leave_the_reserve_to_those_that_are_quick() {
    let mut slots = Slots::new(BOUNDS);
    let held: usize = (0..99).map(|number| fill(&mut slots, number, LanePace::New, at(0))).sum();
    let free = |pace| slots.free(SlotKind::Quick, pace, 0);
    assert_eq!((held, free(LanePace::New), free(LanePace::Proven)), (20, 0, 4));
    assert!(slots.place(TenantNumber(100), LanePace::Proven).is_some());
}

#[test]
fn tenants_that_hold_some_leave_the_reserve_to_those_that_hold_none() {
    let mut slots = Slots::new(BOUNDS);
    for number in 0..14 {
        assert!(take(&mut slots, number as i64, number, LanePace::Proven, at(0)));
    }
    assert!(!take(&mut slots, 100, 0, LanePace::Proven, at(0)));
    assert!(take(&mut slots, 100, 100, LanePace::Proven, at(0)));
}

#[test]
fn after_a_second_an_attempt_leaves_its_quick_place() {
    let mut slots = Slots::new(BOUNDS);
    for number in 0..9 {
        fill(&mut slots, number, LanePace::Proven, at(0));
    }
    let free = |slots: &Slots, kind| slots.free(kind, LanePace::Proven, 0);
    assert_eq!((free(&slots, SlotKind::Quick), slots.next_slow()), (0, Some(at(1000))));
    assert_eq!((pass(&mut slots, at(999)), pass(&mut slots, at(1000))), (0, 16));
    assert_eq!(
        (free(&slots, SlotKind::Quick), free(&slots, SlotKind::Slow), slots.next_slow()),
        (16, 0, None)
    );
}

#[test]
fn too_many_slow_ones_end_beginning_with_whoever_has_most() {
    let mut slots = Slots::new(BOUNDS);
    for (number, ms) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5)] {
        fill(&mut slots, number, LanePace::Proven, at(ms));
    }
    pass(&mut slots, at(2000));
    // Of 5, 3, 2, 1, 1 and 1 attempts 8 may stay.
    let ended = slots.excess();
    assert_eq!(ended.len(), 5);
    let left =
        |number: i64| slots.held.iter().filter(|(id, held)| id.0 / 1000 == number && !held.is_ending).count();
    assert_eq!([1, 2, 3, 4, 5, 6].map(left), [1, 2, 2, 1, 1, 1]);
    ended.iter().for_each(|(id, _)| assert!(slots.release(*id)));
    assert!(slots.excess().is_empty());
    assert_eq!(slots.free(SlotKind::Slow, LanePace::Suspect, 0), 0);
}

#[test]
fn of_tenants_that_hold_as_much_the_oldest_attempt_ends_and_that_of_a_lane_known_to_be_quick_last() {
    let mut slots = Slots::new(BOUNDS);
    let starts = [(LanePace::Proven, 0), (LanePace::New, 1), (LanePace::Proven, 2), (LanePace::New, 3)];
    let more = (0..8).map(|ms| (LanePace::New, 10 + ms));
    for (number, (pace, ms)) in starts.into_iter().chain(more).enumerate() {
        assert!(take(&mut slots, number as i64, number, pace, at(ms)));
    }
    pass(&mut slots, at(2000));
    let ended: Vec<_> = slots.excess().into_iter().map(|(id, _)| id.0).collect();
    assert_eq!(ended, [1, 3, 4, 5]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start { tenant: usize, pace: LanePace },
    End { which: prop::sample::Index },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let pace = prop_oneof![Just(LanePace::Proven), Just(LanePace::New), Just(LanePace::Suspect)];
    prop_oneof![
        6 => (0..5_usize, pace).prop_map(|(tenant, pace)| Step::Start { tenant, pace }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::End { which }),
        1 => (0..1500_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

proptest! {
    /// Whatever starts and ends: quick places are held for a second at most, both kinds keep their bounds, and at the
    /// end nothing is left.
    #[test]
    fn no_bound_is_passed_and_nothing_is_kept(steps in prop::collection::vec(step(), 1..200)) {
        let (mut slots, mut now, mut next, mut running) = (Slots::new(BOUNDS), 0, 0, Vec::new());
        for step in steps {
            match step {
                Step::Start { tenant: number, pace } => {
                    next += 1;
                    if take(&mut slots, next, number, pace, at(now)) {
                        running.push((DeliveryId(next), now));
                    }
                }
                Step::End { which } if !running.is_empty() => {
                    let (id, since) = running.swap_remove(which.index(running.len()));
                    prop_assert_eq!(slots.release(id), now >= since + 1000);
                }
                Step::End { .. } => {}
                Step::Pass { ms } => {
                    now += ms;
                    pass(&mut slots, at(now));
                    for (id, _) in slots.excess() {
                        running.retain(|(other, _)| *other != id);
                        prop_assert!(slots.release(id));
                    }
                }
            }
            let quick = running.iter().filter(|(_, since)| now < since + 1000).count();
            prop_assert!(slots.all.quick <= BOUNDS.quick && slots.all.quick <= quick);
            prop_assert!(slots.new <= BOUNDS.new.min(slots.all.quick));
            prop_assert!(slots.all.slow <= BOUNDS.slow && slots.all.quick + slots.all.slow == running.len());
        }
        for (id, _) in running {
            slots.release(id);
        }
        prop_assert_eq!((slots.all, slots.new, slots.held.len()), (Share::default(), 0, 0));
        prop_assert!(slots.tenants.iter().all(|share| *share == Share::default()));
        prop_assert_eq!((slots.next_slow(), slots.young.len()), (None, 0));
    }
}
