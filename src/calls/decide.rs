//! The decision for a batch: each event in order of arrival, then the orders.

use std::sync::Arc;

use super::decider::Decider;
use super::decision::{Decision, delivery};
use super::effects;
use super::ground::Ground;
use super::known::Known;
use super::orders::{self, Outcome};
use super::records::{Change, Fate, NewEvent, Order, Post, Ready, Receipt, numbers};
use super::release;
use crate::wire::DomainChange;

/// What was decided of a batch.
#[derive(Debug, Default)]
pub struct Decided {
    pub changes: Vec<Change>,
    /// One for each post, in order.
    pub posts: Vec<DecidedPost>,
    /// One for each order, in order.
    pub outcomes: Vec<Outcome>,
}

/// What was decided of one event.
#[derive(Debug)]
pub struct DecidedPost {
    pub receipt: Receipt,
    /// Deliveries to make, in order.
    pub ready: Vec<Ready>,
    /// The session it belongs to.
    pub session: Option<Arc<str>>,
}

/// Decides a batch. All that [`super::Keys`] names must be known; what is not counts as absent.
pub fn decide(posts: &[Arc<Post>], orders: &[Order], known: &mut Known, ground: Ground<'_>) -> Decided {
    let mut decider = Decider { known, ground, changes: Vec::with_capacity(posts.len() + orders.len()) };
    let posts = posts.iter().map(|event| post(&mut decider, event)).collect();
    let outcomes = orders.iter().map(|order| orders::carry_out(&mut decider, order)).collect();
    decider.write_surplus();
    let changes = decider.changes;
    known.batches += 1;
    known.end_batch();
    Decided { changes, posts, outcomes }
}

/// The receipt of an event that cannot be decided before the store is back.
pub fn undecided(post: &Arc<Post>) -> Receipt {
    Receipt { durable: false, ..Decision::new(post, post.sid.clone()).receipt(Fate::Undecided) }
}

fn post(decider: &mut Decider<'_>, post: &Arc<Post>) -> DecidedPost {
    let mut decision = Decision::new(post, decider.known.session_of(post));
    let call = decision.session.as_deref().and_then(|session| decider.known.call(session));
    decision.route(&decider.ground, call);
    // A duplicate changes nothing.
    if decider.known.is_duplicate(&post.key) {
        let receipt = decision.receipt(Fate::Duplicate);
        return DecidedPost { receipt, ready: Vec::new(), session: decision.session };
    }
    let mut effects = effects::of(&decider.ground, &decision, call);
    let (released, domain_changed) = match decision.session.clone() {
        Some(session) => {
            decider.apply(&session, post, &mut effects);
            let released = if effects.releases() {
                release::release(decider, &session, post, &effects)
            } else {
                Vec::new()
            };
            (released, effects.places().then(|| number_called(decider, &decision)).flatten())
        }
        None => (Vec::new(), None),
    };
    let mut ready: Vec<Ready> = released.iter().map(|released| released.ready.clone()).collect();
    let fate = add(decider, &mut decision);
    if let Fate::Routed(delivery) = &fate {
        ready.push(Ready::fresh(delivery));
    }
    let receipt = decision.receipt(fate);
    let receipt = Receipt { released, domain_changed, shared_with: effects.shared_with, ..receipt };
    DecidedPost { receipt, ready, session: decision.session }
}

/// Remembers with which domain a number was called.
fn number_called(decider: &mut Decider<'_>, decision: &Decision<'_>) -> Option<DomainChange> {
    let number = numbers::dialled(decision.post)?;
    let session = decision.session.as_ref();
    let known = &mut decider.known.numbers;
    let called = numbers::called(known, number, decision.post, &decision.route, session)?;
    let change = called.change();
    decider.push(Change::NumberCalled(Box::new(called)));
    change
}

/// Adds the event with what was decided of it.
fn add(decider: &mut Decider<'_>, decision: &mut Decision<'_>) -> Fate {
    decision.finish();
    let post = decision.post;
    let id = decider.known.next_id();
    let (fate, stored) = match &decision.route.outcome {
        Err(reason) => (Fate::Unrouted(*reason), Err(*reason)),
        Ok((hook, rule)) => {
            let destination = decider.destination(decision, hook, *rule, post.received_at);
            decider.known.sequences.count(destination.chain, destination.sequence, id, post.received_at);
            let delivery = delivery(&decider.ground, decision, id, hook, &destination);
            (Fate::Routed(Arc::new(delivery)), Ok(destination))
        }
    };
    let (session, domain) = (decision.session.clone(), decision.route.domain.clone());
    let (post, tenant) = (Arc::clone(post), decision.tenant.take());
    let event = NewEvent { id, post, session, domain, tenant, fate: stored };
    decider.push(Change::EventAdded(Box::new(event)));
    fate
}
