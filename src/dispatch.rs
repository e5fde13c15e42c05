//! The work: takes deliveries from the outbox, tries them lane by lane, settles what came of it.
//!
//! One task owns all lanes; its handlers are synchronous. Attempts run as tasks of their own, so a
//! slow receiver holds nothing but its own lane's window.

mod backoff;
mod dial;
mod forwarder;
mod handle;
mod lane;
mod payload;
mod report;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::forwarder::Forwarder;
pub use self::handle::Handle;

use self::handle::Command;
use self::lane::{Lane, Limits, Settled};
use crate::delivery::{Answer, Attempt, DeadReason, Delivery, Verdict};
use crate::hooks::{Hook, HookTable, Retry};
use crate::ids::{Chain, DeliveryId, HookId};
use crate::outbox::{Next, Outbox, PausedBy, Ready, Settlement, StoreFault};
use crate::signature;
use crate::telemetry::Metrics;
use crate::time::{Clock, Moment, UnixMillis};

/// How deliveries are tried.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Attempts in flight, over all lanes.
    pub in_flight: usize,
    /// What is in flight at the end is waited for this long.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { in_flight: 512, drain: Duration::from_secs(10) }
    }
}

/// A store that could not be read is asked again after this time.
const RELOAD: Duration = Duration::from_secs(1);

/// A body that cannot be loaded within this time is tried again later.
const LOAD_WITHIN: Duration = Duration::from_secs(5);

/// An attempt that broke the router itself is not repeated sooner.
const AFTER_PANIC: Duration = Duration::from_secs(10);

/// Of a lane, at most this many bodies are kept in memory.
const FRESH_PER_LANE: usize = 256;

/// A call is bound for at most this long without events.
const BINDING: Duration = Duration::from_secs(24 * 3600);

/// Idle lanes beyond this number are forgotten.
const IDLE_LANES: usize = 10_000;

/// The dispatcher's task.
pub struct Dispatch {
    config: Config,
    outbox: Arc<Outbox>,
    forwarder: Arc<Forwarder>,
    clock: Clock,
    metrics: Arc<Metrics>,
    commands: mpsc::Receiver<Command>,
    lanes: HashMap<HookId, Slot, RandomState>,
    /// When lanes have something to do next.
    wakes: BTreeSet<(Moment, HookId)>,
    /// Lanes that may have something to start, in turn.
    turn: VecDeque<HookId>,
    attempts: JoinSet<Tried>,
    /// What each attempt's task is about, should it panic.
    trying: HashMap<tokio::task::Id, (HookId, DeliveryId, Chain), RandomState>,
}

/// A lane and what belongs to it outside the pure part.
struct Slot {
    lane: Lane,
    /// Bodies still in memory.
    fresh: HashMap<DeliveryId, Arc<Delivery>, RandomState>,
    wake: Option<Moment>,
    in_turn: bool,
}

/// What came of one turn of a delivery.
struct Tried {
    hook: HookId,
    id: DeliveryId,
    chain: Chain,
    came_to: CameTo,
}

enum CameTo {
    Attempt(Arc<Delivery>, Attempt),
    /// It is no longer pending.
    Gone,
    /// The store could not be read.
    Unreadable(StoreFault),
}

impl Dispatch {
    /// A dispatcher and how to speak to it.
    pub fn new(
        config: Config,
        outbox: Arc<Outbox>,
        forwarder: Forwarder,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> (Self, Handle) {
        let (sender, commands) = mpsc::channel(64);
        let dispatch = Self {
            config,
            outbox,
            forwarder: Arc::new(forwarder),
            clock,
            metrics,
            commands,
            lanes: HashMap::default(),
            wakes: BTreeSet::new(),
            turn: VecDeque::new(),
            attempts: JoinSet::new(),
            trying: HashMap::default(),
        };
        (dispatch, Handle::new(sender))
    }

    /// Works until `stop`, then finishes what is in flight.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.take_over() => {}
            () = stop.cancelled() => return,
        }
        while !stop.is_cancelled() {
            self.start_attempts();
            let wake = self.wakes.first().map(|(moment, _)| *moment);
            let alarm = async {
                match wake {
                    Some(moment) => self.clock.sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(tried) = self.attempts.join_next_with_id() => {
                    let now = self.clock.now();
                    self.settle(tried, now);
                    while let Some(tried) = self.attempts.try_join_next_with_id() {
                        self.settle(tried, now);
                    }
                }
                news = self.outbox.news() => self.learn(news),
                Some(command) = self.commands.recv() => self.obey(command),
                () = alarm => self.tick(),
                () = stop.cancelled() => {}
            }
        }
        let clock = self.clock.clone();
        let finished = clock.timeout(self.config.drain, async {
            while let Some(tried) = self.attempts.join_next_with_id().await {
                let now = self.clock.now();
                self.settle(tried, now);
            }
        });
        if finished.await.is_err() {
            // They stay pending in the store and are tried again after the next start.
            tracing::warn!(attempts = self.trying.len(), "stopped before these attempts ended");
        }
    }

    /// Takes over what was pending at the start, before anything newer, so that order holds.
    async fn take_over(&mut self) {
        let table = self.outbox.table();
        for hook in self.outbox.paused() {
            let now = self.clock.now();
            self.slot(hook, now).lane.pause(now);
            if let Some(hook) = table.by_id(hook)
                && !hook.settings.paused
            {
                let (tenant, host) = (hook.tenant.as_str(), hook.host.to_string());
                tracing::warn!(
                    tenant,
                    host,
                    "hook is paused since its receiver answered 410: `switchhook hooks resume {host}`"
                );
            }
        }
        let mut total = 0;
        while let Err(error) = self.take_over_pages(&mut total).await {
            tracing::error!(%error, "pending deliveries cannot be read; trying again");
            self.clock.sleep(RELOAD).await;
        }
        self.outbox.taken_over();
        if total > 0 {
            tracing::info!(deliveries = total, "taken over");
        }
    }

    async fn take_over_pages(&mut self, total: &mut usize) -> Result<(), StoreFault> {
        let mut pages = self.outbox.inherited()?;
        while let Some(page) = pages.recv().await {
            let (page, now) = (page?, self.clock.now());
            *total += page.len();
            page.into_iter().for_each(|ready| self.add(ready, now));
        }
        Ok(())
    }

    fn slot(&mut self, hook: HookId, now: Moment) -> &mut Slot {
        self.lanes.entry(hook).or_insert_with(|| Slot {
            lane: Lane::new(limits(&self.outbox.table(), hook), now),
            fresh: HashMap::default(),
            wake: None,
            in_turn: false,
        })
    }

    fn learn(&mut self, news: Vec<Ready>) {
        let now = self.clock.now();
        news.into_iter().for_each(|ready| self.add(ready, now));
    }

    fn add(&mut self, ready: Ready, now: Moment) {
        let Ready { id, hook, chain, due, fresh, sequence: _ } = ready;
        let wait = due.map(|due| self.left(due, hook));
        let slot = self.slot(hook, now);
        match wait {
            Some(wait) if !wait.is_zero() => slot.lane.add_failed(id, chain, now + wait, now),
            _ => slot.lane.add(id, chain),
        }
        // What waits for a paused hook goes to the URL it has then, so it is read back then.
        let soon = !slot.lane.is_paused() && slot.fresh.len() < FRESH_PER_LANE;
        if let Some(fresh) = fresh
            && soon
        {
            slot.fresh.insert(id, fresh);
        }
        self.touch(hook, now);
    }

    /// How long it is until `due`. That can be far off only if the clock was: never longer than a
    /// retry may be.
    fn left(&self, due: UnixMillis, hook: HookId) -> Duration {
        let retry = self.outbox.table().by_id(hook).map_or_else(Retry::default, |hook| hook.settings.retry);
        let longest = backoff::longest(&retry).max(Answer::RETRY_AFTER_MAX);
        due.since(self.clock.unix()).min(longest)
    }

    /// Puts a lane in its turn and sets its alarm, after it changed.
    fn touch(&mut self, hook: HookId, now: Moment) {
        let Some(slot) = self.lanes.get_mut(&hook) else { return };
        let wake = slot.lane.next_wake(now);
        if wake != slot.wake {
            if let Some(moment) = slot.wake {
                self.wakes.remove(&(moment, hook));
            }
            if let Some(moment) = wake {
                self.wakes.insert((moment, hook));
            }
            slot.wake = wake;
        }
        if !slot.in_turn && slot.lane.can_start(now) {
            slot.in_turn = true;
            self.turn.push_back(hook);
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        while let Some((_, hook)) = self.wakes.first().copied().filter(|(moment, _)| *moment <= now) {
            self.wakes.pop_first();
            if let Some(slot) = self.lanes.get_mut(&hook) {
                slot.wake = None;
                slot.lane.tick(now);
            }
            self.touch(hook, now);
        }
    }

    /// Starts what may start, one of each lane in turn.
    fn start_attempts(&mut self) {
        while self.attempts.len() < self.config.in_flight {
            let Some(hook) = self.turn.pop_front() else { return };
            // One time for the start and for the next turn: with two, a lane whose hold ends between
            // them would be asked for ever.
            let now = self.clock.now();
            let Some(slot) = self.lanes.get_mut(&hook) else { continue };
            slot.in_turn = false;
            if let Some(start) = slot.lane.start(now) {
                let fresh = slot.fresh.get(&start.id).cloned();
                let attempt = try_once(
                    Arc::clone(&self.outbox),
                    Arc::clone(&self.forwarder),
                    self.clock.clone(),
                    hook,
                    start,
                    fresh,
                );
                let task = self.attempts.spawn(attempt);
                self.trying.insert(task.id(), (hook, start.id, start.chain));
            }
            self.touch(hook, now);
        }
    }

    fn settle(&mut self, tried: Result<(tokio::task::Id, Tried), JoinError>, now: Moment) {
        match tried {
            Ok((task, Tried { hook, id, chain, came_to })) => {
                self.trying.remove(&task);
                let settled = match came_to {
                    CameTo::Attempt(delivery, attempt) => self.judge(&delivery, &attempt, now),
                    CameTo::Gone => {
                        tracing::warn!(
                            delivery = id.0,
                            "a delivery is no longer pending, or its hook is unknown"
                        );
                        Settled::Done
                    }
                    CameTo::Unreadable(error) => {
                        tracing::error!(%error, delivery = id.0, "a delivery cannot be read; trying again");
                        Settled::Postponed { due: now + RELOAD }
                    }
                };
                self.conclude(hook, id, chain, settled, now);
            }
            Err(panicked) => {
                let Some((hook, id, chain)) = self.trying.remove(&panicked.id()) else { return };
                tracing::error!(error = %panicked, delivery = id.0, "an attempt broke; trying again");
                self.conclude(hook, id, chain, Settled::Retry { due: now + AFTER_PANIC }, now);
            }
        }
    }

    fn conclude(&mut self, hook: HookId, id: DeliveryId, chain: Chain, settled: Settled, now: Moment) {
        let forget = self.lanes.len() > IDLE_LANES;
        let slot = self.slot(hook, now);
        slot.lane.settle(id, chain, settled, now);
        match settled {
            Settled::Done => {
                slot.fresh.remove(&id);
            }
            // A lane that fails waits long: its bodies need not.
            Settled::Retry { .. } | Settled::Postponed { .. } => {
                slot.fresh.clear();
            }
        }
        if forget && slot.lane.is_idle() && !slot.in_turn && slot.wake.is_none() {
            self.lanes.remove(&hook);
        }
        self.touch(hook, now);
    }

    /// What an attempt means: for the store, the lane, the log and the metrics.
    fn judge(&mut self, delivery: &Delivery, attempt: &Attempt, now: Moment) -> Settled {
        let verdict = attempt.verdict();
        let timed_out = attempt.outcome == Err(crate::delivery::Fault::Timeout);
        self.slot(delivery.hook.id, now).lane.adapt(verdict == Verdict::Delivered, timed_out);
        let (next, settled) = match verdict {
            Verdict::Delivered => (Next::Delivered, Settled::Done),
            Verdict::Gone => {
                self.pause(&delivery.hook, now);
                (Next::Retry { due: self.clock.unix() }, Settled::Retry { due: now })
            }
            Verdict::Retry { .. } if self.age(delivery) >= delivery.hook.settings.retry.max_age => {
                (Next::Dead(DeadReason::Expired), Settled::Done)
            }
            Verdict::Retry { not_before, whole_lane } => {
                let wait = backoff::delay(&delivery.hook.settings.retry, attempt.number, random());
                let wait = not_before.map_or(wait, |asked| wait.max(asked));
                if let (true, Some(asked)) = (whole_lane, not_before) {
                    self.slot(delivery.hook.id, now).lane.hold(now + asked, now);
                }
                let due = self.clock.unix().after(wait);
                (Next::Retry { due }, Settled::Retry { due: now + wait })
            }
        };
        report::attempt(&self.metrics, &self.clock, delivery, attempt, next);
        let attempt = attempt.clone();
        self.outbox.settle(Settlement { delivery: delivery.id, attempt, next });
        settled
    }

    /// How old a delivery is; time its hook was paused does not age it.
    fn age(&self, delivery: &Delivery) -> Duration {
        let now = self.clock.unix();
        let paused_ms = self.outbox.paused_ms(delivery.hook.id, now) - delivery.paused_before_ms;
        let paused = Duration::from_millis(u64::try_from(paused_ms).unwrap_or(0));
        now.since(delivery.freed_at.unwrap_or(delivery.received_at)).saturating_sub(paused)
    }

    fn pause(&mut self, hook: &Hook, now: Moment) {
        let slot = self.slot(hook.id, now);
        if !slot.lane.is_paused() {
            slot.lane.pause(now);
            slot.fresh.clear();
            self.outbox.pause(hook.id, self.clock.unix(), PausedBy::Gone);
            tracing::warn!(
                tenant = hook.tenant.as_str(),
                host = %hook.host,
                url = hook.loggable_url(),
                "hook paused: its receiver answered 410; change its URL, or `switchhook hooks resume {}`",
                hook.host
            );
        }
    }

    fn obey(&mut self, command: Command) {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        match command {
            Command::Resume(hook, reply) => {
                let lane = &mut self.slot(hook, now).lane;
                let was_paused = lane.is_paused();
                if was_paused {
                    lane.resume(now);
                    self.outbox.resume(hook, unix);
                    self.touch(hook, now);
                }
                // Whoever asked may have gone.
                let _ = reply.send(was_paused);
            }
            Command::Pause(hook) => {
                let slot = self.slot(hook, now);
                slot.lane.pause(now);
                slot.fresh.clear();
                self.outbox.pause(hook, unix, PausedBy::File);
            }
            Command::Configure => {
                let table = self.outbox.table();
                self.lanes.iter_mut().for_each(|(hook, slot)| slot.lane.configure(limits(&table, *hook)));
                let hooks: Vec<_> = self.lanes.keys().copied().collect();
                hooks.into_iter().for_each(|hook| self.touch(hook, now));
            }
            Command::Pending(reply) => {
                let pending = |(hook, slot): (&HookId, &Slot)| (*hook, slot.lane.pending());
                let _ = reply.send(self.lanes.iter().map(pending).collect());
            }
        }
    }
}

async fn try_once(
    outbox: Arc<Outbox>,
    forwarder: Arc<Forwarder>,
    clock: Clock,
    hook: HookId,
    start: lane::Start,
    fresh: Option<Arc<Delivery>>,
) -> Tried {
    let lane::Start { id, chain, failures } = start;
    let loaded = match fresh {
        Some(delivery) => Ok(Some(delivery)),
        None => match clock.timeout(LOAD_WITHIN, outbox.load(id)).await {
            Ok(loaded) => loaded,
            Err(_) => Err(StoreFault::Slow),
        },
    };
    let came_to = match loaded {
        Ok(Some(delivery)) => {
            let number = delivery.attempts.max(failures).saturating_add(1);
            // What has failed, or waited for a paused hook, goes to the URL its hook has now.
            let paused = outbox.paused_ms(hook, clock.unix()) > delivery.paused_before_ms;
            // A call keeps its destination for as long as it may be live, and no longer.
            let lapsed = clock.unix().since(delivery.received_at) > BINDING;
            let bound = delivery.bound.as_ref().filter(|_| number == 1 && !paused && !lapsed);
            let attempt = forwarder.attempt(&delivery, number, bound).await;
            CameTo::Attempt(delivery, attempt)
        }
        Ok(None) => CameTo::Gone,
        Err(error) => CameTo::Unreadable(error),
    };
    Tried { hook, id, chain, came_to }
}

/// What a hook sets of its lane.
fn limits(table: &HookTable, hook: HookId) -> Limits {
    let settings = table.by_id(hook).map(|hook| Arc::clone(&hook.settings)).unwrap_or_default();
    Limits {
        order_wait: settings.order_wait,
        window: settings.concurrency,
        interval: settings.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
    }
}

/// A random number in 0..1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    signature::fill_random(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
