//! Who is sick in which scenario, and what is offered.

use super::router::has_flag;
use super::tenants::{Illness, Tenants};
use crate::Plan;

/// Tenants, and what is offered to them.
pub struct Scenario {
    pub illnesses: Vec<Option<Illness>>,
    /// Which tenant gets which event, again and again.
    pub turns: Vec<usize>,
    /// Events a second, over all tenants.
    pub rate: u64,
    /// When the illness begins, as a part of the run; only events posted afterwards count.
    pub onset: f64,
    pub call: fn(usize) -> usize,
    /// Whether an event counts: one that the illness is not to touch.
    pub counts: fn(&Tenants, &Scenario, usize) -> bool,
    pub with_names: bool,
}

/// One event a call: as many attempts at once as a lane may have.
fn own_call(event: usize) -> usize {
    event
}

/// The poisoned event; those of its call follow at this distance.
const POISONED: usize = 50;
const DISTANCE: usize = 50;

/// The poisoned event's call has ten events, all others one.
fn poisoned_call(event: usize) -> usize {
    let is_of_it = event.is_multiple_of(DISTANCE) && (POISONED..POISONED + 10 * DISTANCE).contains(&event);
    if is_of_it { POISONED } else { event }
}

impl Scenario {
    /// The scenario of this name, for this router.
    pub fn named(name: &str, plan: &Plan) -> Self {
        match name {
            "mixed" => Self::mixed(has_flag(&plan.program, "--nameserver")),
            "hanging" => Self::even(&[(600, Illness::Hangs)], 630),
            "grown" => Self::grown(),
            _ => Self::poison(),
        }
    }

    /// 30 healthy tenants beside these; each gets events at the same rate.
    fn even(sick: &[(usize, Illness)], rate: u64) -> Self {
        let sick = sick.iter().flat_map(|(count, illness)| vec![Some(*illness); *count]);
        let illnesses: Vec<_> = sick.chain([None; 30]).collect();
        let turns = (0..illnesses.len()).collect();
        let counts = |tenants: &Tenants, scenario: &Self, event| tenants.is_healthy(scenario.tenant(event));
        Self { illnesses, turns, rate, onset: 0.0, call: own_call, counts, with_names: false }
    }

    fn mixed(with_names: bool) -> Self {
        use Illness::{Alternates, Drips, Fails, Hangs, Nameless, Refuses, Slow};
        let mut kinds = vec![Hangs, Refuses, Fails, Drips, Slow, Alternates];
        if with_names {
            kinds.push(Nameless);
        } else {
            println!("mixed: this router has no --nameserver: nobody has a dead nameserver");
        }
        let sick: Vec<_> = kinds.into_iter().map(|illness| (10, illness)).collect();
        Self { with_names, ..Self::even(&sick, 500) }
    }

    /// The lanes that will hang get eight events where a healthy one gets one: their windows grow.
    fn grown() -> Self {
        let even = Self::even(&[(16, Illness::Hangs)], 790);
        let healthy = |part: usize| (16..even.illnesses.len()).filter(move |tenant| tenant % 8 == part);
        let turns = (0..8).flat_map(|part| (0..16).chain(healthy(part))).collect();
        Self { turns, onset: 0.4, ..even }
    }

    fn poison() -> Self {
        let counts = |_: &Tenants, scenario: &Self, event| (scenario.call)(event) != POISONED;
        let illnesses = vec![Some(Illness::FailsOn(POISONED))];
        Self {
            illnesses,
            turns: vec![0],
            rate: 50,
            onset: 0.0,
            call: poisoned_call,
            counts,
            with_names: false,
        }
    }

    /// Which tenant gets an event.
    pub fn tenant(&self, event: usize) -> usize {
        self.turns[event % self.turns.len()]
    }
}
