//! What was pending at the start comes to the dispatcher page by page, also if the store cannot be read for a while.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::ids::HookId;
use crate::outbox::{Complete, InheritedPage, Outbox, StoreFault};
use crate::time::{Clock, Moment};

/// A store that could not be read is asked again after this time, then after twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest of these waits.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// The pages of what was pending at the start.
pub struct TakeOver {
    outbox: Arc<Outbox>,
    clock: Clock,
    reading: Reading,
    /// The hooks that are not complete yet; none before it is known which ones these are.
    incomplete: Option<HashSet<HookId>>,
    /// The wait after the next fault.
    wait: Duration,
    /// Deliveries so far; some count twice after a fault.
    total: usize,
}

enum Reading {
    Pages(mpsc::Receiver<Result<InheritedPage, StoreFault>>),
    /// The store could not be read: again at this time.
    Again(Moment),
    Ended,
}

impl TakeOver {
    /// Nothing is read yet.
    pub fn new(outbox: Arc<Outbox>, clock: Clock) -> Self {
        let reading = Reading::Again(clock.now());
        Self { outbox, clock, reading, incomplete: None, wait: AGAIN, total: 0 }
    }

    /// Whether it is known which hooks are incomplete: the others may start.
    pub fn has_begun(&self) -> bool {
        self.incomplete.is_some()
    }

    /// The next page; none at the end. Of a hook that was complete nothing comes again. Cancel safe.
    pub async fn next(&mut self) -> Option<InheritedPage> {
        loop {
            match &mut self.reading {
                Reading::Ended => return None,
                Reading::Again(moment) => {
                    self.clock.sleep_until(*moment).await;
                    match self.outbox.inherited() {
                        Ok(pages) => self.reading = Reading::Pages(pages),
                        Err(error) => self.retry(&error),
                    }
                }
                Reading::Pages(pages) => match pages.recv().await {
                    Some(Ok(page)) => return Some(self.learn(page)),
                    Some(Err(error)) => self.retry(&error),
                    None if self.incomplete.as_ref().is_some_and(HashSet::is_empty) => self.end(),
                    // The thread that read them is gone.
                    None => self.retry(&StoreFault::Closed),
                },
            }
        }
    }

    fn retry(&mut self, error: &StoreFault) {
        let seconds = self.wait.as_secs();
        tracing::error!(%error, seconds, "pending deliveries cannot be read; trying again after so many seconds");
        self.reading = Reading::Again(self.clock.now() + self.wait);
        self.wait = (2 * self.wait).min(AGAIN_AT_MOST);
    }

    fn end(&mut self) {
        self.reading = Reading::Ended;
        self.outbox.taken_over();
        if self.total > 0 {
            tracing::info!(deliveries = self.total, "deliveries of before the start go on");
        }
    }

    fn learn(&mut self, mut page: InheritedPage) -> InheritedPage {
        admit(&mut self.incomplete, &mut page);
        self.total += page.deliveries.len();
        page
    }
}

/// Keeps of a page what may be taken over, where these hooks are incomplete, and notes which ones are from here on.
///
/// After a fault all is read again. What a complete hook has pending then may be in flight, or done and not stored yet.
fn admit(incomplete: &mut Option<HashSet<HookId>>, page: &mut InheritedPage) {
    let Some(incomplete) = incomplete else {
        if let Complete::AllBut(hooks) = &page.complete {
            *incomplete = Some(hooks.clone());
        }
        return;
    };
    page.deliveries.retain(|ready| incomplete.contains(&ready.hook));
    page.complete = Complete::Also(match std::mem::replace(&mut page.complete, Complete::None) {
        Complete::AllBut(hooks) => incomplete.extract_if(|hook| !hooks.contains(hook)).collect(),
        Complete::Also(hooks) => hooks.into_iter().filter(|hook| incomplete.remove(hook)).collect(),
        Complete::None => Vec::new(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Chain, DeliveryId};
    use crate::outbox::Ready;

    fn page(deliveries: &[(i64, i64)], complete: Complete) -> InheritedPage {
        let ready = |(hook, id): &(i64, i64)| Ready {
            id: DeliveryId(*id),
            hook: HookId(*hook),
            chain: Chain(*id),
            sequence: 1,
            bytes: 1,
            due: None,
            ages_from: None,
            fresh: None,
        };
        let deliveries = deliveries.iter().map(ready).collect();
        InheritedPage { deliveries, damaged: Vec::new(), complete }
    }

    fn all_but(hooks: &[i64]) -> Complete {
        Complete::AllBut(hooks.iter().copied().map(HookId).collect())
    }

    fn also(hooks: &[i64]) -> Complete {
        Complete::Also(hooks.iter().copied().map(HookId).collect())
    }

    #[test]
    fn what_is_read_again_after_a_fault_is_taken_over_of_incomplete_hooks_alone() {
        let mut incomplete = None;
        let mut admitted = |deliveries: &[(i64, i64)], complete| {
            let mut page = page(deliveries, complete);
            admit(&mut incomplete, &mut page);
            (page.deliveries.iter().map(|ready| ready.id.0).collect::<Vec<_>>(), page.complete)
        };
        // Read up to a fault: the hooks 2, 3 and 4 are incomplete, then 3 and 4.
        assert_eq!(admitted(&[(1, 10), (2, 11)], Complete::None), (vec![10, 11], Complete::None));
        assert_eq!(admitted(&[(1, 12)], all_but(&[2, 3, 4])), (vec![12], all_but(&[2, 3, 4])));
        assert_eq!(admitted(&[(2, 1), (3, 2)], also(&[2])), (vec![1, 2], also(&[2])));
        // Read again: the hook 4 has nothing parked any more, and the hook 1 has.
        assert_eq!(admitted(&[(1, 10), (3, 13)], Complete::None), (vec![13], also(&[])));
        assert_eq!(admitted(&[(4, 14)], all_but(&[1, 2, 3])), (vec![14], also(&[4])));
        assert_eq!(admitted(&[(1, 9), (2, 1), (3, 2)], also(&[1, 2, 3])), (vec![2], also(&[3])));
        assert_eq!(incomplete, Some(HashSet::new()));
    }
}
