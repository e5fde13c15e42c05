//! Test events: sent at once, past the lanes, and what came back is told.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::{Delivery, Fresh};
use crate::domain::Domain;
use crate::hooks::{Hook, HostPattern};
use crate::ids::{BodyHash, Chain, DeliveryId, EventId};
use crate::route::Rule;
use crate::samples::{self, SampleCall, SampleEvent};
use crate::signature;
use crate::time::Clock;

use super::forwarder::{Forwarder, TestResult};

/// A whole test takes at most this long; events that are left then are not sent.
const TEST_WITHIN: Duration = Duration::from_secs(15);

/// Sends test events to a hook's URL.
#[derive(Clone)]
pub struct Tester {
    pub forwarder: Arc<Forwarder>,
    pub clock: Clock,
}

/// A test event, and what came of it.
#[derive(Debug)]
pub struct TestedEvent {
    pub event: SampleEvent,
    /// None: it was not sent, because the receiver did not answer the one before.
    pub result: Option<TestResult>,
}

impl Tester {
    /// Sends one test event, or a whole sample call in order, one event after the other.
    pub async fn test(&self, hook: &Arc<Hook>, call: Option<SampleCall>) -> Vec<TestedEvent> {
        let host = host_of(&hook.host);
        let (mark, now) = (mark(), self.clock.unix());
        let events = match call {
            Some(call) => call.events(&host, &mark, now),
            None => samples::arrival(&host, &mark, now).into_iter().collect(),
        };
        let until = self.clock.now() + TEST_WITHIN;
        let (mut tested, mut answers) = (Vec::with_capacity(events.len()), true);
        for (number, event) in (1..).zip(events) {
            let left = until.since(self.clock.now());
            if !answers || left.is_zero() {
                tested.push(TestedEvent { event, result: None });
                continue;
            }
            let delivery = delivery(hook, &event, &host, number, &self.clock);
            let result = self.forwarder.test(&delivery, left).await;
            answers = result.outcome.is_ok();
            tested.push(TestedEvent { event, result: Some(result) });
        }
        tested
    }
}

/// A host that the hook is found by.
fn host_of(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(domain) => domain.as_str().to_owned(),
        HostPattern::Below(parent) => format!("test.{parent}"),
        HostPattern::Any => "test.example".to_owned(),
    }
}

/// What ends every id of one test.
fn mark() -> String {
    let random = signature::random_secret();
    let random = random.chars().filter(char::is_ascii_alphanumeric).take(10);
    "test".chars().chain(random).collect()
}

fn delivery(hook: &Arc<Hook>, event: &SampleEvent, host: &str, sequence: i64, clock: &Clock) -> Delivery {
    let body = bytes::Bytes::from(event.body.clone());
    let call = event.call.as_deref();
    Delivery {
        // It is in no store and in no lane.
        id: DeliveryId(0),
        event_id: EventId::new(Some(&event.id), &BodyHash::of(&body)),
        event: event.name.clone().into(),
        issuer: None,
        hook: Arc::clone(hook),
        rule: Rule::Domain,
        domain: Some(Domain::stored(host)),
        chain: Chain::new(hook.id, call.unwrap_or(&event.id)),
        call: call.map(Into::into),
        bound: None,
        sequence,
        received_at: clock.unix(),
        came: None,
        paused_before_ms: 0,
        freed_at: None,
        replayed_at: None,
        attempts: 0,
        is_kept: false,
        _counted: Some(Fresh::default().count(body.len())),
        body,
    }
}
