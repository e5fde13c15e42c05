//! Whatever happens to a lane, it does what its model does, and keeps what a lane promises.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError};

use super::super::*;
use super::model::{self, Model, position};
use crate::ids::DeliveryId;

const CHAINS: i64 = 4;

/// Deliveries that arrive in order have ids from here on; late ones any below.
const IN_ORDER: i64 = 100;

#[derive(Clone, Debug)]
enum Step {
    Add {
        chain: i64,
    },
    /// One with a lower id than others, or one that is known.
    AddLate {
        id: i64,
        chain: i64,
    },
    AddFailed {
        id: i64,
        chain: i64,
        due: u64,
    },
    Start,
    Settle {
        which: Index,
        conclusion: model::Conclusion,
    },
    Evict,
    Pause,
    Resume,
    Configure(model::Limits),
    Pass(u64),
}

fn conclusion() -> impl Strategy<Value = model::Conclusion> {
    let again = prop_oneof![3 => Just(None), 4 => (0..20_u64).prop_map(Some)];
    let window = prop_oneof![Just(Resize::Keep), Just(Resize::Double), Just(Resize::Halve)];
    let hold = prop_oneof![5 => Just(None), 1 => (0..15_u64).prop_map(Some)];
    let pause = prop::bool::weighted(0.05);
    let seen = prop_oneof![
        1 => Just(Seen::Nothing),
        2 => Just(Seen::Delivery),
        1 => Just(Seen::Answer),
        6 => Just(Seen::Fault),
        1 => any::<bool>().prop_map(|delivered| Seen::Elsewhere { delivered }),
    ];
    (again, seen, window, hold, pause).prop_map(|(again, seen, window, hold, pause)| model::Conclusion {
        again,
        seen,
        window,
        hold,
        pause,
    })
}

fn limits() -> impl Strategy<Value = model::Limits> {
    let interval = prop_oneof![3 => Just(None), 1 => (1..4_u64).prop_map(Some)];
    (0..40_u64, 1..6_usize, interval, 0..2_u64).prop_map(|(order_wait, window, interval, target)| {
        model::Limits { order_wait, window, interval, target }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let chain = || 0..CHAINS;
    let late = || 1..IN_ORDER;
    prop_oneof![
        6 => chain().prop_map(|chain| Step::Add { chain }),
        1 => (late(), chain()).prop_map(|(id, chain)| Step::AddLate { id, chain }),
        1 => (late(), chain(), 0..30_u64).prop_map(|(id, chain, due)| Step::AddFailed { id, chain, due }),
        9 => Just(Step::Start),
        8 => (any::<Index>(), conclusion())
            .prop_map(|(which, conclusion)| Step::Settle { which, conclusion }),
        1 => Just(Step::Evict),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => limits().prop_map(Step::Configure),
        6 => (0..12_u64).prop_map(Step::Pass),
    ]
}

/// A lane and its model, side by side.
struct Pair {
    lane: Lane,
    model: Model,
    last: i64,
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn of_lane(limits: model::Limits) -> LaneLimits {
    LaneLimits {
        order_wait: seconds(limits.order_wait),
        max_age: seconds(1 << 20),
        window: limits.window,
        interval: limits.interval.map(seconds),
        target: limits.target,
    }
}

impl Pair {
    fn new(limits: model::Limits) -> Self {
        let lane = Lane::new(of_lane(limits), Moment::default());
        Self { lane, model: Model::new(limits), last: IN_ORDER }
    }

    fn now(&self) -> Moment {
        Moment::default() + seconds(self.model.now)
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = self.now();
        match *step {
            Step::Add { chain } => {
                self.last += 1;
                self.add(self.last, chain);
            }
            Step::AddLate { id, chain } => self.add(id, chain),
            Step::AddFailed { id, chain, due } => self.add_failed(id, chain, due),
            Step::Start => drop(self.start()?),
            Step::Settle { which, conclusion } => {
                let in_flight = self.model.in_flight();
                if !in_flight.is_empty() {
                    let (id, chain) = *which.get(&in_flight);
                    self.settle(id, chain, conclusion)?;
                }
            }
            Step::Evict => {
                let evicted = self.lane.evict().map(|id| id.0);
                prop_assert_eq!(evicted, self.model.evict());
            }
            Step::Pause => {
                prop_assert_eq!(self.lane.pause(now), !self.model.is_paused());
                self.model.pause();
            }
            Step::Resume => {
                prop_assert_eq!(self.lane.resume(now), self.model.is_paused());
                self.model.resume();
            }
            Step::Configure(limits) => {
                self.lane.configure(of_lane(limits), now);
                self.model.configure(limits);
            }
            Step::Pass(time) => self.pass(time)?,
        }
        self.agree()
    }

    /// A known one keeps its chain, as in the store.
    fn add(&mut self, id: i64, chain: i64) {
        let chain = if self.model.knows(id) { self.model.chain(id) } else { chain };
        let load = self.lane.load(10, Duration::ZERO, self.now());
        self.lane.add(position(id), Chain(chain), load);
        self.model.add(id, chain);
    }

    /// A start finds each of them once.
    fn add_failed(&mut self, id: i64, chain: i64, due: u64) {
        if !self.model.knows(id) {
            let now = self.now();
            let load = self.lane.load(10, Duration::ZERO, now);
            self.lane.add_failed(position(id), Chain(chain), load, now + seconds(due), now);
            self.model.add_failed(id, chain, due);
        }
    }

    fn start(&mut self) -> Result<Option<(i64, i64)>, TestCaseError> {
        let expected = self.model.next();
        let started = self.lane.start(self.now());
        prop_assert_eq!(started.map(|start| (start.id.0, start.chain.0, start.failures)), expected);
        let Some((id, chain, _)) = expected else { return Ok(None) };
        let in_flight = self.model.in_flight();
        prop_assert!(in_flight.iter().all(|other| other.1 != chain), "two of chain {} at once", chain);
        prop_assert_eq!(self.model.overtaken(id), Vec::<i64>::new(), "overtaken by {}", id);
        self.model.start(id);
        Ok(Some((id, chain)))
    }

    fn settle(&mut self, id: i64, chain: i64, conclusion: model::Conclusion) -> Result<(), TestCaseError> {
        let now = self.now();
        let model::Conclusion { again, seen, window, hold, pause } = conclusion;
        let of_lane = Conclusion {
            again: again.map(|again| now + seconds(again)),
            seen,
            window,
            hold: hold.map(|hold| now + seconds(hold)),
            pause,
            spread: 0,
        };
        let target = self.model.target(id);
        let start = Start {
            id: DeliveryId(id),
            sequence: id,
            chain: Chain(chain),
            failures: 0,
            is_moved: false,
            target,
        };
        prop_assert_eq!(self.lane.settle(start, of_lane, now).pauses, self.model.settle(id, conclusion));
        Ok(())
    }

    /// Calls `tick` only when the lane has asked for it.
    fn pass(&mut self, time: u64) -> Result<(), TestCaseError> {
        let (mut now, end) = (self.now(), self.now() + seconds(time));
        while let Some(wake) = self.lane.next_wake(now).filter(|wake| *wake <= end) {
            now = now.max(wake);
            self.lane.tick(now);
            let next = self.lane.next_wake(now);
            prop_assert!(next.is_none_or(|next| next > now), "asked again for {:?}", next);
        }
        self.model.pass(time);
        Ok(())
    }

    fn agree(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.lane.pending(), self.model.pending());
        prop_assert_eq!(self.lane.figures().bytes, 10 * self.model.pending() as u64);
        let oldest = self.lane.figures().oldest.map(|id| id.0);
        prop_assert_eq!(oldest.is_some(), self.model.pending() > 0);
        prop_assert!(oldest >= self.model.oldest() && oldest.is_none_or(|id| self.model.knows(id)));
        prop_assert!(self.model.in_flight().iter().all(|(id, _)| oldest <= Some(*id)));
        prop_assert_eq!(self.lane.paused, self.model.is_paused());
        prop_assert_eq!(self.lane.can_start(self.now()), self.model.next().is_some());
        prop_assert!(!self.lane.is_idle() || self.lane.pending() == 0 && !self.lane.paused);
        Ok(())
    }

    /// From here on every attempt succeeds.
    fn deliver_all(&mut self) -> Result<(), TestCaseError> {
        const DELIVERED: model::Conclusion = model::Conclusion {
            again: None,
            seen: Seen::Delivery,
            window: Resize::Double,
            hold: None,
            pause: false,
        };
        self.step(&Step::Resume)?;
        for (id, chain) in self.model.in_flight() {
            self.settle(id, chain, DELIVERED)?;
        }
        loop {
            while let Some((id, chain)) = self.start()? {
                self.settle(id, chain, DELIVERED)?;
            }
            let Some(wake) = self.lane.next_wake(self.now()) else { break };
            self.pass(wake.since(self.now()).as_secs())?;
            self.agree()?;
        }
        prop_assert_eq!((self.lane.pending(), self.lane.is_idle()), (0, true));
        // No index has kept anything.
        let (left, empty) = (format!("{:?}", self.lane.chains), format!("{:?}", Chains::default()));
        prop_assert_eq!(left, empty);
        Ok(())
    }
}

proptest! {
    #![proptest_config(Config { cases: 512, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_lane_does_what_its_model_does_and_delivers_everything_in_the_end(
        limits in limits(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut pair = Pair::new(limits);
        for step in &steps {
            pair.step(step)?;
        }
        pair.deliver_all()?;
    }
}
