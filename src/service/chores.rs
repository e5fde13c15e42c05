//! What is done every now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::dispatch::{Handle, TenantFigures};
use crate::outbox::Outbox;
use crate::telemetry::{Metrics, Seldom, WaitingFigures, begin_of, slot_of};
use crate::time::Clock;

/// A chore that fails again and again is logged this often.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// What is past its time is removed this often.
const SWEEP_EVERY: Duration = Duration::from_secs(20);

/// Between two rounds while much is to be removed; or twice as long as a round took, if that is more: at most a third of
/// a core is used for it.
const SWEEP_AGAIN: Duration = Duration::from_millis(25);

/// Removes what is past its time.
pub async fn sweep(outbox: Arc<Outbox>, clock: Clock, stop: CancellationToken) {
    let mut pause = SWEEP_EVERY;
    while stop.run_until_cancelled(clock.sleep(pause)).await.is_some() {
        let began = clock.now();
        pause = match stop.run_until_cancelled(outbox.sweep()).await {
            None => return,
            Some(Ok(true)) => SWEEP_AGAIN.max(2 * clock.now().since(began)),
            Some(Ok(false)) => SWEEP_EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "nothing old was removed this time");
                SWEEP_EVERY
            }
        };
    }
}

/// Young events are digested this often.
const DIGEST_EVERY: Duration = Duration::from_secs(2);

/// Stores what is derived from many events at once. While much is left, at most half of the time goes to it: it waits for
/// the disk more than it computes.
pub async fn digest(outbox: Arc<Outbox>, clock: Clock, stop: CancellationToken) {
    let mut pause = DIGEST_EVERY;
    while stop.run_until_cancelled(clock.sleep(pause)).await.is_some() {
        let began = clock.now();
        pause = match stop.run_until_cancelled(outbox.digest()).await {
            None => return,
            Some(Ok(true)) => SWEEP_AGAIN.max(clock.now().since(began)),
            Some(Ok(false)) => DIGEST_EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "events are not indexed and counted this time");
                SWEEP_EVERY
            }
        };
    }
}

/// What is unrouted is counted again after so long at least, or after twenty times as long as counting took: somebody
/// has asked.
const COUNT_AGAIN: Duration = Duration::from_secs(10);

/// The same while nobody asks, or after a hundred times as long.
const COUNT_ANYWAY: Duration = Duration::from_secs(600);

/// The same after a replay.
const COUNT_CHANGED: Duration = Duration::from_secs(1);

/// Counts what is unrouted, so that its list is answered at once.
pub async fn count_unrouted(outbox: Arc<Outbox>, clock: Clock, stop: CancellationToken) {
    loop {
        let began = clock.now();
        match stop.run_until_cancelled(outbox.count_unrouted()).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "what is unrouted is not counted this time"),
        }
        let took = clock.now().since(began);
        let asked = async {
            clock.sleep(COUNT_AGAIN.max(20 * took)).await;
            outbox.unrouted_asked().await;
        };
        let changed = async {
            outbox.unrouted_changed().await;
            clock.sleep(COUNT_CHANGED.max(2 * took)).await;
        };
        tokio::select! {
            () = asked => {}
            () = changed => {}
            () = clock.sleep(COUNT_ANYWAY.max(100 * took)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Whether a tenant's data is to be erased is looked after this often.
const ERASE_EVERY: Duration = Duration::from_secs(1);

/// Erases what tenants' erasures ask for.
pub async fn erase(outbox: Arc<Outbox>, clock: Clock, stop: CancellationToken) {
    loop {
        let pause = match stop.run_until_cancelled(outbox.erase()).await {
            None => return,
            Some(Ok(true)) => continue,
            Some(Ok(false)) => ERASE_EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "nothing is erased this time");
                SWEEP_EVERY
            }
        };
        if stop.run_until_cancelled(clock.sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// The copying of history is tried again after so long.
const HISTORY_AGAIN: Duration = Duration::from_secs(1);

/// Copies the history of the database that an older release left.
pub async fn copy_history(outbox: Arc<Outbox>, clock: Clock, stop: CancellationToken) {
    let said = Seldom::new(SAY_AGAIN);
    loop {
        match stop.run_until_cancelled(outbox.copy_history()).await {
            None => return,
            Some(Ok(true)) => {}
            Some(Ok(false)) => break,
            Some(Err(error)) => {
                if let Some(suppressed) = said.suppressed(clock.now()) {
                    tracing::warn!(%error, suppressed, "history of the older release is not copied this time");
                }
                let pause = clock.sleep(HISTORY_AGAIN);
                stop.run_until_cancelled(pause).await;
            }
        }
    }
    stop.cancelled().await;
}

/// The database's files are looked after this often, also while no event comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Has the files of the database looked after.
pub async fn look_after_files(outbox: Arc<Outbox>, clock: Clock, stop: CancellationToken) {
    let again = async || {
        outbox.look_after_files().await;
        clock.sleep(LOOK_EVERY).await;
    };
    while stop.run_until_cancelled(again()).await.is_some() {}
}

/// Sooner than a request's patience with a store that is well.
const PULSE: Duration = Duration::from_millis(250);

/// Keeps a timer running that fires before those the requests set. A timer that would be the next to fire
/// interrupts the runtime's wait: a system call and a wake-up for every event.
pub async fn pulse(clock: Clock, stop: CancellationToken) {
    while stop.run_until_cancelled(clock.sleep(PULSE)).await.is_some() {}
}

/// Held events are looked after this often.
const HOLD_EVERY: Duration = Duration::from_secs(1);

/// Gives up events that were held for too long.
pub async fn expire_held(outbox: Arc<Outbox>, metrics: Arc<Metrics>, clock: Clock, stop: CancellationToken) {
    let said = Seldom::new(SAY_AGAIN);
    while stop.run_until_cancelled(clock.sleep(HOLD_EVERY)).await.is_some() {
        match stop.run_until_cancelled(outbox.expire_held()).await {
            // Rooms without SIP are normal: their events are counted, not logged one by one.
            Some(Ok(count)) => {
                metrics.given_up(count);
                metrics.hour.given_up(clock.unix(), count);
            }
            Some(Err(error)) => {
                if let Some(suppressed) = said.suppressed(clock.now()) {
                    tracing::warn!(%error, suppressed, "held events cannot be read");
                }
            }
            None => return,
        }
    }
}

/// Tenants of which it is asked how much waits.
const WAITING: usize = 500;

/// Notes at the end of each slot of the last hour what waits.
pub async fn note_waiting(dispatch: Handle, metrics: Arc<Metrics>, clock: Clock, stop: CancellationToken) {
    loop {
        let number = slot_of(clock.unix());
        let left = begin_of(number + 1).since(clock.unix());
        let waiting = async {
            clock.sleep(left).await;
            dispatch.largest(WAITING).await.waiting
        };
        let Some(waiting) = stop.run_until_cancelled(waiting).await else { return };
        let mut figures = WaitingFigures::default();
        for TenantFigures { tenant, pending, .. } in waiting {
            match tenant {
                Some(tenant) => figures.tenants.push((tenant, pending)),
                None => figures.others += pending,
            }
        }
        metrics.hour.ended(number, &figures);
    }
}
