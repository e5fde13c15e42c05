//! Who gets a place, case by case; below, what holds whatever happens.

use proptest::prelude::*;

use super::*;

const BOUNDS: SlotBounds = SlotBounds { quick: 16, new: 12, reserve: 2, slow: 8 };

fn at(ms: u64) -> Moment {
    Moment::default() + Duration::from_millis(ms)
}

fn tenant(number: usize) -> Tenant {
    Tenant::new(&format!("t{number}")).expect("a name")
}

/// Starts as many attempts of a tenant as it may have; how many.
fn fill(slots: &mut Slots, number: usize, pace: LanePace, now: Moment) -> usize {
    let tenant = tenant(number);
    let mut count = 0;
    while let Some(kind) = slots.place(&Some(tenant.clone()), pace, true, 64) {
        let id = DeliveryId((1000 * number + count) as i64);
        slots.take(id, HookId(number as i64), Some(&tenant), (pace, kind), now);
        count += 1;
    }
    count
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
    assert_eq!(held, [5, 4, 2, 2, 1, 1, 1, 0]);
    assert_eq!(fill(&mut Slots::new(BOUNDS), 1, LanePace::Slow, at(0)), 3);
}

#[test]
fn lanes_of_which_nothing_is_known_leave_the_reserve_to_those_that_are_quick() {
    let mut slots = Slots::new(BOUNDS);
    let held: usize = (0..99).map(|number| fill(&mut slots, number, LanePace::New, at(0))).sum();
    assert_eq!(
        (
            held,
            slots.free(SlotKind::Quick, LanePace::New, true),
            slots.free(SlotKind::Quick, LanePace::Proven, true)
        ),
        (20, 0, 4)
    );
    assert!(slots.place(&Some(tenant(100)), LanePace::Proven, false, 64).is_some());
}

#[test]
fn lanes_that_have_some_in_flight_leave_the_reserve_to_those_that_have_none() {
    let mut slots = Slots::new(BOUNDS);
    let mut held = 0;
    while let Some(number) =
        (0..99).find(|number| slots.place(&Some(tenant(*number)), LanePace::Proven, false, 64).is_some())
    {
        held += 1;
        slots.take(
            DeliveryId(held),
            HookId(0),
            Some(&tenant(number)),
            (LanePace::Proven, SlotKind::Quick),
            at(0),
        );
    }
    assert_eq!((held, slots.free(SlotKind::Quick, LanePace::New, true)), (14, 2));
    assert!(slots.place(&Some(tenant(100)), LanePace::New, true, 64).is_some());
}

#[test]
fn a_tenant_has_no_more_than_its_limit_permits() {
    let mut slots = Slots::new(BOUNDS);
    slots.take(DeliveryId(1), HookId(1), Some(&tenant(1)), (LanePace::Proven, SlotKind::Quick), at(0));
    slots.take(DeliveryId(2), HookId(1), Some(&tenant(1)), (LanePace::Slow, SlotKind::Slow), at(0));
    assert!(
        slots.place(&Some(tenant(1)), LanePace::Proven, true, 2).is_none()
            && slots.place(&Some(tenant(2)), LanePace::Proven, true, 2).is_some()
    );
    slots.release(DeliveryId(2));
    assert!(slots.place(&Some(tenant(1)), LanePace::Proven, true, 2).is_some());
}

#[test]
fn after_a_second_an_attempt_leaves_its_quick_place() {
    let mut slots = Slots::new(BOUNDS);
    for number in 0..9 {
        fill(&mut slots, number, LanePace::Proven, at(0));
    }
    assert_eq!((slots.free(SlotKind::Quick, LanePace::Proven, true), slots.next_slow()), (0, Some(at(1000))));
    assert_eq!((pass(&mut slots, at(999)), pass(&mut slots, at(1000))), (0, 16));
    assert_eq!(
        (
            slots.free(SlotKind::Quick, LanePace::Proven, true),
            slots.free(SlotKind::Slow, LanePace::Slow, true),
            slots.next_slow()
        ),
        (16, 0, None)
    );
}

#[test]
fn too_many_slow_ones_end_beginning_with_the_youngest_of_whoever_has_most() {
    let mut slots = Slots::new(BOUNDS);
    for (number, ms) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5)] {
        fill(&mut slots, number, LanePace::Proven, at(ms));
    }
    pass(&mut slots, at(2000));
    // Of 5, 4, 2, 2, 1 and 1 attempts 8 may stay.
    let ended: Vec<_> = std::iter::from_fn(|| slots.excess()).map(|id| id.0).collect();
    assert_eq!(ended.len(), 7);
    let left =
        |number: i64| slots.held.iter().filter(|(id, held)| id.0 / 1000 == number && !held.is_ending).count();
    assert_eq!([1, 2, 3, 4, 5, 6].map(left), [2, 2, 1, 1, 1, 1]);
    ended.iter().for_each(|id| assert!(slots.release(DeliveryId(*id))));
    assert_eq!((slots.excess(), slots.free(SlotKind::Slow, LanePace::Slow, true)), (None, 0));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start { tenant: usize, pace: LanePace },
    End { which: prop::sample::Index },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let pace = prop_oneof![Just(LanePace::Proven), Just(LanePace::New), Just(LanePace::Slow)];
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
                    let tenant = tenant(number);
                    if let Some(kind) = slots.place(&Some(tenant.clone()), pace, next % 2 == 0, 10) {
                        next += 1;
                        slots.take(DeliveryId(next), HookId(number as i64), Some(&tenant), (pace, kind), at(now));
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
                    while let Some(id) = slots.excess() {
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
        prop_assert_eq!((slots.all, slots.new, slots.tenants.len(), slots.held.len()), (Share::default(), 0, 0, 0));
        prop_assert_eq!((slots.next_slow(), slots.young.len()), (None, 0));
    }
}
