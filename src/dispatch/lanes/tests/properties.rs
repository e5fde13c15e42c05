//! Whatever happens to all lanes, their bounds hold, and nothing that could start is left waiting.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError};

use super::*;
use crate::dispatch::lane::Resize;

const HOOKS: i64 = 6;
const CHAINS: i64 = 3;
const TENANTS: [&str; 3] = ["a", "b", "c"];
const BOUNDS: SlotBounds = SlotBounds { quick: 6, new: 4, reserve: 1, slow: 3 };

/// Attempts that a tenant may have in flight.
const CONCURRENCY: usize = 5;

/// What ends an attempt.
#[derive(Clone, Copy, Debug)]
enum End {
    Delivered,
    Failed { seen: Seen, window: Resize, due: u64, hold: Option<u64> },
    Gone,
    GivenUp,
}

#[derive(Clone, Debug)]
enum Step {
    Event { hook: i64, chain: i64 },
    End { which: Index, end: End },
    Pass { ms: u64 },
    Configure { hook: i64, table: usize },
    Pause { hook: i64 },
    Resume { hook: i64 },
}

fn end() -> impl Strategy<Value = End> {
    let seen = prop_oneof![
        Just(Seen::Answer),
        Just(Seen::Fault),
        any::<bool>().prop_map(|delivered| Seen::Elsewhere { delivered })
    ];
    let window = prop_oneof![Just(Resize::Keep), Just(Resize::Halve)];
    let hold = prop_oneof![4 => Just(None), 1 => (0..5_000_u64).prop_map(Some)];
    let failed = (seen, window, 0..20_000_u64, hold).prop_map(|(seen, window, due, hold)| End::Failed {
        seen,
        window,
        due,
        hold,
    });
    prop_oneof![6 => Just(End::Delivered), 6 => failed, 1 => Just(End::Gone), 1 => Just(End::GivenUp)]
}

fn step() -> impl Strategy<Value = Step> {
    let hook = || 1..=HOOKS;
    prop_oneof![
        8 => (hook(), 0..CHAINS).prop_map(|(hook, chain)| Step::Event { hook, chain }),
        8 => (any::<Index>(), end()).prop_map(|(which, end)| Step::End { which, end }),
        4 => (0..3_000_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (hook(), 0..2_usize).prop_map(|(hook, table)| Step::Configure { hook, table }),
        1 => hook().prop_map(|hook| Step::Pause { hook }),
        2 => hook().prop_map(|hook| Step::Resume { hook }),
    ]
}

/// Hooks 1, 2, … of the tenants in turn, at these URLs; the last one has a rate.
fn table_at(url: &str) -> HookTable {
    let hook = |id: i64| {
        let tenant = TENANTS[id as usize % TENANTS.len()];
        let rate = if id == HOOKS { ", rate: 2" } else { "" };
        format!("  - {{host: h{id}.example, url: 'https://{url}', tenant: {tenant}{rate}}}\n")
    };
    let hooks: String = (1..=HOOKS).map(hook).collect();
    table_of(&format!("limits: {{concurrency: {CONCURRENCY}}}\nhooks:\n{hooks}"))
}

#[derive(Clone, Copy, Debug)]
struct Running {
    hook: HookId,
    start: Start,
    since: Moment,
    is_cut: bool,
}

/// All lanes, and what is in flight: driven as the dispatcher drives them.
struct Drive {
    lanes: Lanes,
    tables: [HookTable; 2],
    now: Moment,
    running: Vec<Running>,
    last: i64,
}

impl Drive {
    fn new() -> Self {
        let tables = ["one.example", "two.example"].map(table_at);
        Self { lanes: Lanes::new(BOUNDS), tables, now: at(10), running: Vec::new(), last: 0 }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Event { hook, chain } => {
                self.last += 1;
                let ready = Ready { chain: Chain(10 * hook + chain), ..ready(hook, self.last) };
                self.lanes.add(ready, &self.tables[0], self.now, UnixMillis(0));
            }
            Step::End { which, end } if !self.running.is_empty() => {
                let which = which.index(self.running.len());
                self.end(which, end);
            }
            Step::End { .. } => {}
            Step::Pass { ms } => return self.pass(ms),
            Step::Configure { hook, table } => {
                self.lanes.configure_one(HookId(hook), &self.tables[table], self.now);
            }
            Step::Pause { hook } => self.lanes.pause(HookId(hook), &self.tables[0], self.now),
            Step::Resume { hook } => drop(self.lanes.resume(HookId(hook), self.now)),
        }
        self.go_on()
    }

    fn end(&mut self, which: usize, end: End) {
        let Running { hook, start, is_cut, .. } = self.running.swap_remove(which);
        let later = |ms| self.now + Duration::from_millis(ms);
        let conclusion = match end {
            _ if is_cut => Conclusion::postponed(later(2_000)),
            End::Delivered => Conclusion::DELIVERED,
            End::Failed { seen, window, due, hold } => {
                Conclusion { window, hold: hold.map(later), ..Conclusion::failed(seen, later(due)) }
            }
            End::Gone => Conclusion { pause: true, ..Conclusion::failed(Seen::Answer, self.now) },
            End::GivenUp => Conclusion { seen: Seen::Fault, ..Conclusion::DONE },
        };
        self.lanes.settle(hook, start, conclusion, self.now);
    }

    /// Time passes; the lanes are woken when they have asked for it.
    fn pass(&mut self, ms: u64) -> Result<(), TestCaseError> {
        let end = self.now + Duration::from_millis(ms);
        while let Some(wake) = self.lanes.next_wake().filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.go_on()?;
        }
        self.now = end;
        self.agree()
    }

    /// What the dispatcher does after anything happened.
    fn go_on(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..100 {
            while let Some((hook, start, _)) = self.lanes.start(self.now) {
                self.running.push(Running { hook, start, since: self.now, is_cut: false });
            }
            if self.lanes.next_wake().is_none_or(|wake| wake > self.now) {
                return self.agree();
            }
            self.lanes.tick(self.now);
            for id in self.lanes.excess(self.now) {
                let cut = self.running.iter_mut().find(|one| one.start.id == id).expect("in flight");
                prop_assert!(!cut.is_cut && cut.since + Duration::from_secs(1) <= self.now);
                cut.is_cut = true;
            }
        }
        Err(TestCaseError::fail("the lanes ask to be woken without end"))
    }

    fn agree(&self) -> Result<(), TestCaseError> {
        let in_place: Vec<_> = self.running.iter().filter(|one| !one.is_cut).collect();
        let [(_, quick, _), (_, slow, _)] = self.lanes.places();
        prop_assert_eq!(quick + slow, in_place.len());
        prop_assert!(quick <= BOUNDS.quick && slow <= BOUNDS.slow, "{} quick, {} slow", quick, slow);
        let young = in_place.iter().filter(|one| one.since + Duration::from_secs(1) > self.now);
        prop_assert!(quick <= young.count());
        let chains: BTreeSet<_> = self.running.iter().map(|one| one.start.chain).collect();
        prop_assert_eq!(chains.len(), self.running.len(), "two of a call at once");
        self.tenants_agree(&in_place)?;
        self.lanes.seats.iter().try_for_each(|(hook, seat)| self.lane_agrees(*hook, seat))
    }

    fn tenants_agree(&self, in_place: &[&Running]) -> Result<(), TestCaseError> {
        let mut held: BTreeMap<TenantNumber, usize> = BTreeMap::new();
        for one in in_place {
            *held.entry(self.lanes.seats[&one.hook].place.tenant).or_default() += 1;
        }
        for seat in self.lanes.seats.values() {
            let tenant = seat.place.tenant;
            let held = held.get(&tenant).copied().unwrap_or(0);
            prop_assert_eq!(self.lanes.slots.share(tenant).all(), held);
            prop_assert!(held <= CONCURRENCY);
        }
        Ok(())
    }

    /// What a lane shows is what is so, and it waits for nothing but a place.
    fn lane_agrees(&self, hook: HookId, seat: &LaneSeat) -> Result<(), TestCaseError> {
        let running = self.running.iter().filter(|one| one.hook == hook);
        prop_assert_eq!(seat.lane.in_flight(), running.clone().count());
        let slow = running.filter(|one| one.since + Duration::from_secs(1) <= self.now).count();
        prop_assert_eq!(seat.slow, slow);
        let may_start = seat.lane.can_start(self.now);
        prop_assert_eq!(seat.turn.is_some(), may_start);
        let tenant = seat.place.tenant;
        let of_tenant = self.lanes.tenants.seat(tenant).expect("it has a lane");
        let is_held = of_tenant.failures.closed_until(self.now).is_some()
            || self.lanes.slots.share(tenant).all() >= of_tenant.most.concurrency;
        let has_place = self.lanes.slots.place(tenant, seat.pace()).is_some();
        prop_assert!(!may_start || is_held || !has_place, "{:?} could start", hook);
        Ok(())
    }

    /// From here on every attempt succeeds: in the end nothing waits, and nothing is held.
    fn deliver_all(&mut self) -> Result<(), TestCaseError> {
        for hook in 1..=HOOKS {
            self.step(&Step::Resume { hook })?;
        }
        for _ in 0..10_000 {
            while !self.running.is_empty() {
                self.end(0, End::Delivered);
                self.go_on()?;
            }
            let Some(wake) = self.lanes.next_wake() else { break };
            self.now = self.now.max(wake);
            self.go_on()?;
        }
        let waiting: usize = self.lanes.largest(9).waiting.iter().map(|one| one.pending).sum();
        prop_assert_eq!((waiting, self.lanes.next_wake()), (0, None));
        prop_assert!(self.lanes.seats.values().all(LaneSeat::is_idle));
        Ok(())
    }
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_happens_bounds_hold_and_what_could_start_does(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut drive = Drive::new();
        for step in &steps {
            drive.step(step)?;
        }
        drive.deliver_all()?;
    }
}
