//! What a demonstration has shown.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::tenants::{Receivers, out_of_order};
use crate::cli::trial::recording::{Sent, percentiles};
use crate::wire::{EventState, EventStory};

/// What the demonstration shows, by what was answered, stored and received.
pub struct Summary {
    pub events: usize,
    pub acknowledged: usize,
    pub delivered: usize,
    pub unrouted: usize,
    pub lost: Vec<String>,
    pub retried: usize,
    pub unverified: usize,
    pub out_of_order: usize,
    pub p50: Duration,
    pub p99: Duration,
}

impl Summary {
    /// Compares what was answered with what is stored and what came.
    pub fn of(answers: &[Sent], stories: &HashMap<String, EventStory>, receivers: &Receivers) -> Self {
        let received = receivers.received();
        let accepted: HashSet<_> = received.iter().filter(|one| one.accepted).map(|one| &*one.id).collect();
        let acknowledged: Vec<_> = answers.iter().filter(|sent| matches!(sent.outcome, Ok(200))).collect();
        let in_state = |state: EventState| stories.values().filter(|story| story.state == state).count();
        let safe = |sent: &&&Sent| match stories.get(&sent.id).map(|story| story.state) {
            Some(EventState::Unrouted) => true,
            Some(state) => state == EventState::Delivered && accepted.contains(&*sent.id),
            None => false,
        };
        let lost = acknowledged.iter().filter(|sent| !safe(sent)).map(|sent| sent.id.clone()).collect();
        let mut times: Vec<_> = answers.iter().filter(|sent| sent.tries == 1).map(|sent| sent.took).collect();
        let (p50, p99) = percentiles(&mut times);
        Self {
            events: answers.len(),
            acknowledged: acknowledged.len(),
            delivered: in_state(EventState::Delivered),
            unrouted: in_state(EventState::Unrouted),
            lost,
            retried: stories.values().filter(|story| story.attempts.len() > 1).count(),
            unverified: received.iter().filter(|one| !one.verified).count(),
            out_of_order: out_of_order(&received),
            p50,
            p99,
        }
    }

    /// Whether nothing was lost, forged or out of order.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty()
            && self.unverified == 0
            && self.out_of_order == 0
            && self.delivered > 0
            && self.acknowledged == self.events
    }
}
