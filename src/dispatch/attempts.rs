//! The attempts in flight: each is a task of its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};

use super::forwarder::Forwarder;
use super::lane::Start;
use crate::delivery::{Attempt, Delivery};
use crate::ids::{DeliveryId, EventId, HookId};
use crate::outbox::{Keeping, Outbox, PendingDelivery, StoreFault};
use crate::time::Clock;

/// A body that cannot be loaded within this time is tried again later.
const LOAD_WITHIN: Duration = Duration::from_secs(5);

/// A call is bound for at most this long without events.
const BINDING: Duration = Duration::from_secs(24 * 3600);

/// A delivery that was started, with its attempt or the reason why there was none.
pub struct Tried {
    pub hook: HookId,
    pub start: Start,
    /// The attempt, and what becomes of the body; none if the delivery is no longer pending.
    pub attempt: Result<Option<(Arc<Delivery>, Attempt, Keeping)>, Untried>,
}

/// Why there was no attempt: the router's own fault.
#[derive(Debug, thiserror::Error)]
pub enum Untried {
    #[error(transparent)]
    Unreadable(#[from] StoreFault),
    #[error("its hook is not in the table")]
    WithoutHook,
    #[error("its body or its row in the store was altered, or another master secret sealed its kept body")]
    Damaged(Option<EventId>),
    #[error(transparent)]
    Broke(#[from] JoinError),
}

/// All that are in flight, and what it takes to make one.
pub struct Attempts {
    outbox: Arc<Outbox>,
    forwarder: Arc<Forwarder>,
    clock: Clock,
    tasks: JoinSet<Tried>,
    /// The delivery of each task: a task that panics returns nothing.
    trying: HashMap<Id, Trying, RandomState>,
}

struct Trying {
    hook: HookId,
    start: Start,
    /// Sending on this channel ends the attempt; `None` after that.
    cut: Option<oneshot::Sender<()>>,
}

impl Attempts {
    pub fn new(outbox: Arc<Outbox>, forwarder: Arc<Forwarder>, clock: Clock) -> Self {
        Self { outbox, forwarder, clock, tasks: JoinSet::new(), trying: HashMap::default() }
    }

    /// How many are in flight, or have ended and were not taken by [`Self::next`].
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Tries a delivery once. `fresh`: the whole of it, if it is still in memory.
    pub fn start(&mut self, hook: HookId, start: Start, fresh: Option<Arc<Delivery>>) {
        let (outbox, forwarder) = (Arc::clone(&self.outbox), Arc::clone(&self.forwarder));
        let (cut, is_cut) = oneshot::channel();
        let attempt = try_once(outbox, forwarder, self.clock.clone(), (hook, start), fresh, is_cut);
        let task = self.tasks.spawn(attempt);
        self.trying.insert(task.id(), Trying { hook, start, cut: Some(cut) });
    }

    /// Ends the attempts of these deliveries at once.
    pub fn cut_off(&mut self, deliveries: &[DeliveryId]) {
        let ending: HashSet<_, RandomState> = deliveries.iter().collect();
        let tried = self.trying.values_mut().filter(|trying| ending.contains(&trying.start.id));
        for cut in tried.filter_map(|trying| trying.cut.take()) {
            // It may have ended just now.
            let _ = cut.send(());
        }
    }

    /// Waits for the next that ends; none if none is in flight. Safe to cancel.
    pub async fn next(&mut self) -> Option<Tried> {
        let ended = self.tasks.join_next_with_id().await?;
        self.ended(ended)
    }

    /// The next that has ended already.
    pub fn try_next(&mut self) -> Option<Tried> {
        let ended = self.tasks.try_join_next_with_id()?;
        self.ended(ended)
    }

    fn ended(&mut self, ended: Result<(Id, Tried), JoinError>) -> Option<Tried> {
        match ended {
            Ok((task, tried)) => {
                self.trying.remove(&task);
                Some(tried)
            }
            Err(broke) => {
                let Trying { hook, start, cut: _ } = self.trying.remove(&broke.id())?;
                Some(Tried { hook, start, attempt: Err(broke.into()) })
            }
        }
    }
}

async fn try_once(
    outbox: Arc<Outbox>,
    forwarder: Arc<Forwarder>,
    clock: Clock,
    (hook, start): (HookId, Start),
    fresh: Option<Arc<Delivery>>,
    is_cut: oneshot::Receiver<()>,
) -> Tried {
    let loaded = match fresh {
        Some(delivery) => Ok(PendingDelivery::Whole(delivery)),
        None => match clock.timeout(LOAD_WITHIN, outbox.load(start.id)).await {
            Ok(loaded) => loaded,
            Err(_) => Err(StoreFault::Slow),
        },
    };
    let attempt = match loaded {
        Ok(PendingDelivery::Whole(delivery)) => {
            let number = delivery.attempts.max(start.failures).saturating_add(1);
            // What has failed, or waited for a paused hook, goes to the URL its hook has now.
            let paused = outbox.paused_ms(hook, clock.unix()) > delivery.paused_before_ms;
            // A call keeps its destination for as long as it may be live, and no longer.
            let lapsed = clock.unix().since(delivery.received_at) > BINDING;
            let bound =
                delivery.bound.as_ref().filter(|_| number == 1 && !start.is_moved && !paused && !lapsed);
            let attempt = forwarder.attempt(&delivery, number, bound, is_cut).await;
            // Sealed here, on a task of its own: the dispatcher and the writer have no time for it.
            let keeping = if attempt.is_accepted() { outbox.keep(&delivery) } else { Keeping::Nothing };
            Ok(Some((delivery, attempt, keeping)))
        }
        Ok(PendingDelivery::Gone) => Ok(None),
        Ok(PendingDelivery::WithoutHook) => Err(Untried::WithoutHook),
        Ok(PendingDelivery::Damaged(event_id)) => Err(Untried::Damaged(event_id)),
        Err(fault) => Err(fault.into()),
    };
    Tried { hook, start, attempt }
}
