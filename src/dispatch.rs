//! The work: takes deliveries from the outbox, tries them lane by lane, and carries out what follows.
//!
//! One task owns all lanes; its handlers are synchronous. Attempts run as tasks of their own, so a
//! slow receiver holds nothing but its own lane's window. What follows is decided in [`judge`] and
//! [`lane`], which are pure.

mod attempts;
mod backoff;
mod forwarder;
mod handle;
mod judge;
mod lane;
mod lanes;
mod report;
mod status;
mod surplus;
mod take_over;
mod tester;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::forwarder::{Forwarder, Reach, SOCKETS_OF_AN_ATTEMPT, Unreachable, first_request};
pub use self::handle::Handle;
pub use self::lanes::TenantFigures;
pub use self::status::{LaneStatus, LastAttempt};
pub use self::tester::{TestedEvent, Tester};

use self::attempts::{Attempts, Tried, Untried};
use self::handle::Instruction;
use self::judge::{Facts, Verdict};
use self::lane::{Conclusion, Start};
use self::lanes::{Lanes, SlotBounds};
use self::status::LastAttempts;
use self::take_over::TakeOver;
use crate::delivery::{Attempt, DeadReason, Delivery};
use crate::hooks::Hook;
use crate::ids::{DeliveryId, HookId};
use crate::outbox::{Complete, GivenUp, InheritedPage, Keeping, Outbox, PausedBy, Ready, Settlement};
use crate::signature;
use crate::telemetry::{Metrics, Seldom};
use crate::time::{Clock, Moment, UnixMillis};

/// How deliveries are tried.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Attempts in flight, over all lanes.
    pub attempts: usize,
    /// At the end, attempts in flight get this long to finish: less than an attempt may take, so that connections and the
    /// store have their part of the ten seconds of a stop.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { attempts: 768, drain: Duration::from_secs(5) }
    }
}

/// A store that could not be read is asked again after this time.
const RELOAD: Duration = Duration::from_secs(1);

/// A hook that is not in the table is looked for again after this time; all that waits for it waits meanwhile.
const WITHOUT_HOOK: Duration = Duration::from_secs(10);

/// The log says at most this often that deliveries are gone: an erasure removes many at once.
const GONE: Duration = Duration::from_secs(10);

/// The log says at most this often that deliveries cannot be read.
const UNREAD: Duration = Duration::from_secs(10);

/// An attempt that panicked is repeated after this time.
const AFTER_PANIC: Duration = Duration::from_secs(10);

/// The dispatcher's task.
pub struct Dispatch {
    config: Config,
    outbox: Arc<Outbox>,
    clock: Clock,
    metrics: Arc<Metrics>,
    commands: mpsc::Receiver<Instruction>,
    lanes: Lanes,
    answers: LastAttempts,
    attempts: Attempts,
    /// A hook of each tenant for which more waits than may, since a limit was lowered or at the start.
    overfull: Vec<HookId>,
    /// Says which bodies are not kept.
    unkept: report::Unkept,
    /// Hooks whose deliveries up to one are erased, and not all forgotten yet.
    erased: Vec<(HookId, DeliveryId)>,
    /// Deliveries that were erased before their turn came are logged this often.
    gone: Seldom,
    /// Deliveries that cannot be read at present are logged this often: each is tried again every second.
    unread: Seldom,
}

impl Dispatch {
    /// A dispatcher and how to speak to it.
    pub fn new(
        config: Config,
        outbox: Arc<Outbox>,
        forwarder: Arc<Forwarder>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> (Self, Handle) {
        let (sender, commands) = mpsc::channel(64);
        let attempts = Attempts::new(Arc::clone(&outbox), forwarder, clock.clone());
        let lanes = Lanes::new(SlotBounds::of(config.attempts));
        let answers = LastAttempts::default();
        let dispatch = Self {
            config,
            outbox,
            clock,
            metrics,
            commands,
            lanes,
            answers,
            attempts,
            overfull: Vec::new(),
            unkept: report::Unkept::default(),
            erased: Vec::new(),
            gone: Seldom::new(GONE),
            unread: Seldom::new(UNREAD),
        };
        (dispatch, Handle::new(sender))
    }

    /// Works until `stop`, then finishes what is in flight.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut older = TakeOver::new(Arc::clone(&self.outbox), self.clock.clone());
        let mut stopped = pin!(stop.cancelled());
        self.take_over_pauses();
        while !stop.is_cancelled() {
            if older.has_begun() {
                self.start_attempts();
            }
            let wake = self.lanes.next_wake();
            let alarm = async {
                match wake {
                    Some(moment) => self.clock.sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(tried) = self.attempts.next() => {
                    let now = self.clock.now();
                    self.settle(tried, now);
                    while let Some(tried) = self.attempts.try_next() {
                        self.settle(tried, now);
                    }
                }
                Some(page) = older.next() => {
                    self.take_over(page);
                    // Pages come faster than they are taken over; requests must not wait for all of them.
                    tokio::task::yield_now().await;
                }
                news = self.outbox.news(), if older.has_begun() => self.learn(news),
                Some(command) = self.commands.recv() => self.obey(command),
                () = alarm => self.tick(),
                () = tokio::task::yield_now(), if self.has_surplus() => self.trim(),
                () = &mut stopped => {}
            }
        }
        self.drain().await;
    }

    /// Finishes what is in flight, within a bound.
    async fn drain(mut self) {
        let clock = self.clock.clone();
        let finished = clock.timeout(self.config.drain, async {
            while let Some(tried) = self.attempts.next().await {
                let now = self.clock.now();
                self.settle(tried, now);
            }
        });
        if finished.await.is_err() {
            // They stay pending in the store and are tried again after the next start.
            tracing::warn!(attempts = self.attempts.len(), "stopped before these attempts ended");
        }
    }

    fn take_over_pauses(&mut self) {
        let table = self.outbox.table();
        for hook in self.outbox.paused() {
            self.lanes.pause(hook, &table, self.clock.now());
            let by = self.outbox.pause_of(hook).by;
            if let Some(hook) = table.by_id(hook)
                && by.is_none_or(|by| by == PausedBy::Gone)
            {
                let (tenant, host) = (hook.tenant.as_str(), hook.host.to_string());
                tracing::warn!(
                    tenant,
                    host,
                    "hook is paused since its receiver answered 410: `switchhook hooks resume {host}`"
                );
            }
        }
    }

    /// Takes over what was pending at the start. A hook's lane starts nothing before all of it is there, so that order
    /// holds.
    fn take_over(&mut self, page: InheritedPage) {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let table = self.outbox.table();
        for ready in page.deliveries {
            let paused = self.outbox.paused_ms(ready.hook, unix);
            let age = ready.ages_from.map(|from| unix.since(UnixMillis(from.0.saturating_add(paused))));
            self.lanes.add_aged(ready, age.unwrap_or_default(), &table, now, unix);
        }
        match page.complete {
            Complete::None => {}
            Complete::AllBut(hooks) => {
                self.lanes.expect_older(&hooks, now);
                // Pages that are read after a fault contain new deliveries, too. Both are added before anything starts:
                // a delivery that had ended already would be sent again.
                let news = self.outbox.waiting_news();
                self.learn(news);
            }
            Complete::Also(hooks) => hooks.into_iter().for_each(|hook| self.lanes.older_came(hook, now)),
        }
        self.overfull = self.lanes.overfull();
    }

    fn learn(&mut self, ready: Vec<Ready>) {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let table = self.outbox.table();
        for ready in ready {
            let hook = ready.hook;
            self.lanes.add(ready, &table, now, unix);
            self.evict(hook, now, &table);
        }
    }

    /// Makes deliveries that were too old when a probe of their hook failed dead letters.
    fn expire(&self, hook: &Hook, deliveries: &[DeliveryId]) {
        let (reason, at) = (DeadReason::Expired, self.clock.unix());
        for delivery in deliveries.iter().copied() {
            self.outbox.give_up(GivenUp { delivery, reason, at });
            self.metrics.dead(reason.as_str());
        }
        if !deliveries.is_empty() {
            tracing::error!(
                tenant = hook.tenant.as_str(),
                host = %hook.host,
                deliveries = deliveries.len(),
                "dead letters: a probe failed, and these had become older than max_age (expired)"
            );
        }
    }

    /// Starts what may start.
    fn start_attempts(&mut self) {
        // One time for all lanes: if each had its own, a lane whose hold ends in between would stay in turn for
        // ever.
        let now = self.clock.now();
        while let Some((hook, start, fresh)) = self.lanes.start(now) {
            self.attempts.start(hook, start, fresh);
        }
    }

    /// Lets time pass for the lanes, and ends slow attempts that there are no places for.
    fn tick(&mut self) {
        let now = self.clock.now();
        self.lanes.tick(now);
        let excess = self.lanes.excess(now);
        if !excess.is_empty() {
            self.attempts.cut_off(&excess);
        }
    }

    fn settle(&mut self, tried: Tried, now: Moment) {
        let Tried { hook, start, attempt } = tried;
        let delivery = start.id.0;
        let conclusion = match attempt {
            Ok(Some((delivery, attempt, keeping))) => {
                return self.carry_out(start, &delivery, (attempt, keeping), now);
            }
            Ok(None) => {
                if let Some(times) = self.gone.admit(now) {
                    tracing::warn!(delivery, times, "deliveries are no longer pending");
                }
                Conclusion::DONE
            }
            // The log has named the hook at the start: what is stored of it cannot be read. It may be written again.
            Err(Untried::WithoutHook) => {
                let due = now + WITHOUT_HOOK;
                Conclusion { hold: Some(due), ..Conclusion::postponed(due) }
            }
            Err(Untried::Damaged(event_id)) => {
                let (reason, at) = (DeadReason::Damaged, self.clock.unix());
                self.outbox.give_up(GivenUp { delivery: start.id, reason, at });
                let table = self.outbox.table();
                report::untried(&self.metrics, reason, (start.id, event_id), table.by_id(hook));
                Conclusion::DONE
            }
            Err(Untried::Unreadable(error)) => {
                if let Some(suppressed) = self.unread.suppressed(now) {
                    tracing::error!(%error, delivery, suppressed, "a delivery cannot be read; trying again");
                }
                Conclusion::postponed(now + RELOAD)
            }
            Err(Untried::Broke(error)) => {
                tracing::error!(%error, delivery, "an attempt broke; trying again");
                Conclusion::postponed(now + AFTER_PANIC)
            }
        };
        self.lanes.settle(hook, start, conclusion, now);
    }

    /// Does what follows from an attempt: for its lane and hook, the log, the metrics and the store.
    fn carry_out(
        &mut self,
        start: Start,
        delivery: &Delivery,
        (attempt, keeping): (Attempt, Keeping),
        now: Moment,
    ) {
        let (hook, unix) = (&delivery.hook, self.clock.unix());
        let facts = Facts::of(delivery, &attempt.url, self.outbox.paused_ms(hook.id, unix));
        let Verdict { next, lane } = Verdict::on(&attempt, &facts, now, unix, random);
        let settled = self.lanes.settle(hook.id, start, lane, now);
        if settled.pauses {
            self.outbox.pause(hook.id, unix, PausedBy::Gone);
            tracing::warn!(
                tenant = hook.tenant.as_str(),
                host = %hook.host,
                url = &*attempt.url,
                "hook paused: its receiver answered 410; change its URL, or `switchhook hooks resume {}`",
                hook.host
            );
        }
        self.expire(hook, &settled.expired);
        let again = self.lanes.next_try(hook.id, lane.again.unwrap_or(now), now).map(|next| next.since(now));
        if let Some(shift) = settled.shift {
            let failing_since = self.answers.of(hook.id).and_then(|last| last.failing_since);
            report::breaker(shift, hook, &attempt, failing_since.unwrap_or(attempt.at), again);
        }
        self.answers.note(hook.id, &attempt);
        report::attempt(&self.metrics, &self.clock, delivery, &attempt, next, again);
        let kept = self.unkept.report(keeping, hook, &self.metrics, now);
        self.outbox.settle(Settlement { delivery: delivery.id, attempt, next, kept });
    }

    fn obey(&mut self, command: Instruction) {
        let now = self.clock.now();
        match command {
            Instruction::Resume(hook) => {
                let _ = self.lanes.resume(hook, now);
            }
            Instruction::Pause(hook) => self.lanes.pause(hook, &self.outbox.table(), now),
            Instruction::ConfigureOne(hook) => self.lanes.configure_one(hook, &self.outbox.table(), now),
            Instruction::Configure => {
                self.lanes.configure(&self.outbox.table(), now);
                self.overfull = self.lanes.overfull();
            }
            Instruction::Forget(hooks, up_to) => {
                self.erased.extend(hooks.into_iter().map(|hook| (hook, up_to)));
            }
            Instruction::Largest(most, reply) => {
                for (kind, count, limit) in self.lanes.places() {
                    self.metrics.in_flight(kind, count, limit);
                }
                let _ = reply.send(self.lanes.largest(most));
            }
            Instruction::Status(hooks, reply) => {
                let status = |hook: &HookId| LaneStatus {
                    last: self.answers.of(*hook),
                    ..self.lanes.status(*hook, now)
                };
                let _ = reply.send(hooks.iter().map(status).collect());
            }
        }
    }
}

/// A random number in 0..1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    signature::fill_random(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
