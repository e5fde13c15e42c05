//! The model of the rules against what decides: batches of any size, written later or twice, read back through
//! what is not written; starts in between.

#[path = "../../../tests/spec/model/rules.rs"]
mod rules;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRunner};

use self::rules::{DOMAINS, Hook, Model, Step, body, step};
use super::backlog::{Asked, Backlog};
use super::inbox::Append;
use crate::calls::tests::world::{START, hook, post};
use crate::calls::{Change, Ground, Keys, Order, Post, Ready, Sweep};
use crate::delivery::Fresh;
use crate::hooks::{Around, Entry, HookTable, parse};
use crate::ids::HookId;
use crate::network::Network;
use crate::outbox::engine::Engine;
use crate::outbox::engine::memory::{Disk, Memory};
use crate::registry::HookChange;
use crate::route::Door;
use crate::time::UnixMillis;

/// What the writer does after a step.
#[derive(Clone, Debug)]
enum Pace {
    /// More events gather.
    Gather,
    /// The first events are decided.
    Decide { first: usize },
    /// They are decided, and those of the last event's session are published before they are written.
    Publish,
    /// All that waits is decided, and the first batches are written.
    Write { first: usize },
    /// The same, but the commit seems to have failed: it is repeated later.
    WriteUnheard,
    /// Last numbers are written.
    Sweep,
    /// The store cannot be read: what can be decided without it is.
    Unreadable,
}

fn pace() -> impl Strategy<Value = Pace> {
    prop_oneof![
        4 => Just(Pace::Gather),
        3 => (1..4_usize).prop_map(|first| Pace::Decide { first }),
        1 => Just(Pace::Publish),
        2 => (1..4_usize).prop_map(|first| Pace::Write { first }),
        1 => Just(Pace::WriteUnheard),
        1 => Just(Pace::Sweep),
        1 => Just(Pace::Unreadable),
    ]
}

/// The events of a call at a hook, each with its number.
type Delivered = BTreeMap<(HookId, String), Vec<(String, i64)>>;

/// What is the same in every interleaving.
struct Stage {
    entries: Vec<Entry>,
    /// Events by their number and step: to build and read each once takes half of the time.
    posts: HashMap<(usize, String), Arc<Post>>,
}

impl Stage {
    fn new() -> Self {
        let hooks = DOMAINS.map(|domain| format!("  - {{{}}}\n", hook(domain))).concat();
        let around = Around::new(Network::default(), |_| Err("none".into()));
        Self { entries: parse(&format!("hooks:\n{hooks}"), &around).expect("a table"), posts: HashMap::new() }
    }

    /// The event that a step posts, if it posts one.
    fn post(&mut self, number: usize, id: &str, step: &Step) -> Option<Arc<Post>> {
        let key = (number, format!("{step:?}"));
        if let Some(post) = self.posts.get(&key) {
            return Some(Arc::clone(post));
        }
        let at = UnixMillis(START.0 + 1000 * i64::try_from(number).expect("few"));
        let post = post(&body(id, step)?, at, Door::Platform);
        self.posts.insert(key, Arc::clone(&post));
        Some(post)
    }
}

/// What decides, with an engine in memory beneath it.
struct Core {
    disk: Arc<Disk>,
    engine: Memory,
    backlog: Backlog,
    table: HookTable,
    fresh: Fresh,
    /// Hooks that are or were.
    hooks: Vec<Hook>,
    delivered: Delivered,
}

fn id(hook: Hook) -> HookId {
    HookId(i64::try_from(hook.0 + DOMAINS.len() * hook.1).expect("few"))
}

impl Core {
    fn new() -> Self {
        let disk = Arc::<Disk>::default();
        let engine = Memory(Arc::clone(&disk));
        let (backlog, fresh) = (Backlog::new(engine.known()), Fresh::default());
        let (table, hooks, delivered) = (HookTable::default(), Vec::new(), Delivered::new());
        Self { disk, engine, backlog, table, fresh, hooks, delivered }
    }

    /// The table has these hooks from here on.
    fn swap(&mut self, stage: &Stage, model: &Model) {
        self.decide(usize::MAX, Vec::new());
        let entry = |hook: &Hook| (stage.entries[hook.0].clone(), id(*hook), Vec::new());
        self.hooks.extend(model.hooks.values());
        self.hooks.sort_unstable();
        self.hooks.dedup();
        let (live, gone): (Vec<_>, Vec<_>) =
            self.hooks.iter().partition(|hook| model.hooks.get(&hook.0) == Some(*hook));
        let retired = gone.iter().map(|hook| (entry(hook), true)).collect();
        self.table = HookTable::build(live.iter().map(entry).collect(), retired);
        let removed = gone.iter().map(|hook| HookChange::Remove { id: id(*hook), at: START });
        self.order(Order::Edit(removed.collect()));
    }

    fn arrive(&mut self, post: &Arc<Post>) {
        self.backlog.undecided.push_back(Append { post: Arc::clone(post), reply: None });
    }

    fn order(&mut self, order: Order) {
        self.decide(usize::MAX, vec![(order, None)]);
    }

    /// Decides the first events, and these orders.
    fn decide(&mut self, first: usize, orders: Vec<Asked>) {
        let ground = Ground { table: &self.table, to_fallback: false, fresh: &self.fresh };
        loop {
            let keys = self.backlog.missing(&ground, orders.iter().map(|(order, _)| order), first);
            if keys.is_empty() {
                break;
            }
            self.backlog.known.learn(self.engine.load(&keys).expect("loaded"));
        }
        self.backlog.decide_first(&ground, orders, first);
    }

    /// Writes the first batches; `is_heard`: whether the writer is told.
    fn write(&mut self, first: usize, is_heard: bool) {
        let batches = self.backlog.to_write();
        let batches: Vec<&[Change]> = batches.iter().take(first).map(|changes| &changes[..]).collect();
        self.engine.commit(&batches).expect("committed");
        let count = batches.len();
        if is_heard && count > 0 {
            let written = self.backlog.written(count);
            written
                .into_iter()
                .flat_map(|batch| batch.entries)
                .for_each(|entry| self.hand_over(entry.decided.ready));
        }
    }

    fn write_all(&mut self) {
        self.decide(usize::MAX, Vec::new());
        while !self.backlog.is_empty() {
            self.write(usize::MAX, true);
        }
    }

    fn hand_over(&mut self, ready: Vec<Ready>) {
        for delivery in ready.into_iter().filter_map(|ready| ready.fresh) {
            let call = delivery.call.as_deref().unwrap_or_default().to_owned();
            let order = self.delivered.entry((delivery.hook.id, call)).or_default();
            order.push((delivery.event_id.to_string(), delivery.sequence));
        }
    }

    fn go_on(&mut self, pace: &Pace, last: Option<&Arc<Post>>) {
        match pace {
            Pace::Gather => {}
            Pace::Decide { first } => self.decide(*first, Vec::new()),
            Pace::Publish => {
                self.decide(usize::MAX, Vec::new());
                let entries = last.map(|post| self.backlog.take_entries(Some(post)));
                entries.into_iter().flatten().for_each(|entry| self.hand_over(entry.decided.ready));
            }
            Pace::Write { first } => {
                self.decide(usize::MAX, Vec::new());
                self.write(*first, true);
            }
            Pace::WriteUnheard => self.write(usize::MAX, false),
            Pace::Unreadable => {
                let ground = Ground { table: &self.table, to_fallback: false, fresh: &self.fresh };
                // After a start only the store knows duplicates: without it, one may be delivered again.
                let Keys { events, .. } = self.backlog.missing(&ground, [], usize::MAX);
                let keys = Keys { events, ..Keys::default() };
                self.backlog.known.learn(self.engine.load(&keys).expect("loaded"));
                self.backlog.decide_what_can_be(&ground);
            }
            Pace::Sweep => {
                let progress = (0, self.backlog.known.last_id().0);
                self.order(Order::Sweep(Arc::new(Sweep { progress, ..Sweep::default() })));
            }
        }
    }

    /// All is written, and known anew from what is stored.
    fn restart(&mut self) {
        self.write_all();
        self.engine = Memory(Arc::clone(&self.disk));
        self.backlog = Backlog::new(self.engine.known());
    }

    fn end_hold(&mut self) {
        self.write_all();
        self.order(Order::EndHold(self.engine.held()));
    }
}

fn follows_the_model(stage: &mut Stage, steps: &[(Step, Pace)]) -> Result<(), TestCaseError> {
    let (mut model, mut core, mut posted) = (Model::default(), Core::new(), Vec::new());
    model.toggle(0);
    model.toggle(1);
    core.swap(stage, &model);
    for (number, (step, pace)) in steps.iter().enumerate() {
        let id = format!("EV_{number}");
        if let Some(post) = stage.post(number, &id, step) {
            core.arrive(&post);
            posted.push(post);
        }
        model.happens(id, step);
        match step {
            Step::Room { .. } | Step::Caller { .. } | Step::Track { .. } => {}
            Step::Again { which } if !posted.is_empty() => core.arrive(which.get::<Arc<Post>>(&posted)),
            Step::Again { .. } => {}
            Step::Toggle { .. } => core.swap(stage, &model),
            Step::Restart => core.restart(),
            Step::PastTheHold => core.end_hold(),
        }
        core.go_on(pace, posted.last());
    }
    core.write_all();
    agrees(&core, &model)
}

fn agrees(core: &Core, model: &Model) -> Result<(), TestCaseError> {
    let numbered = |ids: &Vec<String>| ids.iter().cloned().zip(1..).collect::<Vec<_>>();
    let due = model.delivered.iter();
    let due: Delivered =
        due.map(|((hook, call), ids)| ((id(*hook), format!("RM_c{call}")), numbered(ids))).collect();
    prop_assert_eq!(&core.delivered, &due);
    prop_assert_eq!(core.engine.reasons(), model.reasons());
    Ok(())
}

/// Half of the interleavings: two processors share them.
fn half_of_them() {
    let config = Config {
        cases: 5_000,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        ..Config::default()
    };
    let stage = RefCell::new(Stage::new());
    let steps = prop::collection::vec((step(), pace()), 10..32);
    let ran = TestRunner::new(config).run(&steps, |steps| follows_the_model(&mut stage.borrow_mut(), &steps));
    if let Err(failed) = ran {
        panic!("{failed}");
    }
}

#[test]
fn whatever_is_decided_when_and_written_when_every_event_ends_where_the_model_says() {
    std::thread::scope(|scope| {
        scope.spawn(half_of_them);
        half_of_them();
    });
}
