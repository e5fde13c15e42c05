//! What was given up, or had nowhere to go, is tried again.

use tokio::sync::oneshot;

use super::letters::ReplayPlan;
use super::{Order, Outbox, Released, StoreFault, unrouted};

/// So much goes into one transaction.
const PART: usize = 500;

impl Outbox {
    /// Makes what was planned pending again, in order. How many.
    ///
    /// # Errors
    /// When the store is closed.
    pub async fn replay(&self, plan: ReplayPlan) -> Result<usize, StoreFault> {
        self.until_taken_over().await?;
        let mut replayed = 0;
        for part in plan.replays.chunks(PART) {
            let (done, count) = oneshot::channel();
            self.shared.inbox.order(Order::Replay(part.to_vec(), self.clock.unix(), done));
            replayed += count.await.map_err(|_| StoreFault::Closed)?;
        }
        Ok(replayed)
    }

    /// All that was pending at the start is in the dispatcher's hands.
    pub fn taken_over(&self) {
        self.taken_over.send_replace(true);
    }

    /// Sends the unrouted events of these calls through routing again, in order. Gives those that have a
    /// hook now.
    ///
    /// # Errors
    /// When the store is closed.
    pub async fn reroute(&self, plan: unrouted::Calls) -> Result<Vec<Released>, StoreFault> {
        self.until_taken_over().await?;
        let (mut released, mut calls) = (Vec::new(), plan.calls.into_iter().peekable());
        while calls.peek().is_some() {
            let (mut part, mut events) = (Vec::new(), 0);
            while let Some((call, count)) = calls.next_if(|(_, count)| events == 0 || events + count <= PART)
            {
                events += count.max(1);
                part.push(call);
            }
            let (done, freed) = oneshot::channel();
            self.shared.inbox.order(Order::Reroute(part, self.clock.unix(), done));
            released.extend(freed.await.map_err(|_| StoreFault::Closed)?);
        }
        Ok(released)
    }

    /// What was pending at the start is still being read: a row that joins it now would count twice.
    async fn until_taken_over(&self) -> Result<(), StoreFault> {
        let mut taken_over = self.taken_over.subscribe();
        taken_over.wait_for(|taken_over| *taken_over).await.map(drop).map_err(|_| StoreFault::Closed)
    }
}
