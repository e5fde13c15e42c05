//! With which domain and tenant each number was last called. A number that suddenly comes with another domain
//! is how most misrouting begins: an edge or a carrier was changed.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::post::Post;
use crate::hooks::Number;
use crate::route::{self, Route};
use crate::time::UnixMillis;
use crate::wire::DomainChange;

/// How late `seen_at` may be in the store.
const SEEN_WITHIN_MS: i64 = 24 * 3_600_000;

/// A number that returns to where it was within this time has not changed: tenants share it, as they do extensions.
const LATELY_MS: i64 = 24 * 3_600_000;

/// So many other places of a number are remembered. One that has as many is an extension of many tenants, and
/// nothing of it is told.
const OTHERS: usize = 8;

/// The dialled user part may be any text: what is longer than this is no number.
const BYTES: usize = 64;

/// How a number was last called.
#[derive(Clone, PartialEq, Debug)]
pub struct LastCalled {
    pub domain: String,
    pub tenant: Option<String>,
    pub seen_at: UnixMillis,
}

impl LastCalled {
    /// Whether it is the same domain and, where both have one, the same tenant.
    fn is_where(&self, other: &Self) -> bool {
        let elsewhere = self.tenant.is_some() && other.tenant.is_some() && self.tenant != other.tenant;
        self.domain == other.domain && !elsewhere
    }
}

/// How a number was called of late.
#[derive(Clone, PartialEq, Debug)]
pub struct CalledLately {
    /// The time is that of the last one that was stored.
    last: LastCalled,
    /// Other domains and tenants it came with, at most [`OTHERS`], each with the time it was last current.
    others: Vec<LastCalled>,
}

impl From<LastCalled> for CalledLately {
    fn from(last: LastCalled) -> Self {
        Self { last, others: Vec::new() }
    }
}

impl CalledLately {
    /// It is called elsewhere from `now` on. What it was before, unless it was there of late.
    fn moves(&mut self, now: &LastCalled) -> Option<LastCalled> {
        self.others.retain(|other| now.seen_at.0 - other.seen_at.0 <= LATELY_MS);
        let returns = self.others.iter().any(|other| other.is_where(now)) || self.others.len() >= OTHERS;
        self.others.retain(|other| !other.is_where(now));
        if self.others.len() >= OTHERS {
            self.others.remove(0);
        }
        let before = std::mem::replace(&mut self.last, now.clone());
        self.others.push(LastCalled { seen_at: now.seen_at, ..before.clone() });
        (!returns).then_some(before)
    }
}

/// A called number, as the store has to remember it.
#[derive(Clone, PartialEq, Debug)]
pub struct NumberCalled {
    pub number: Number,
    pub now: LastCalled,
    /// How it was called before, if that differs; with the session that differs.
    pub before: Option<(LastCalled, Option<Arc<str>>)>,
}

/// The number a caller's event dials; of the platform's LiveKit only.
pub fn dialled(post: &Post) -> Option<Number> {
    let number = post.event.caller.as_ref()?.number.as_deref()?;
    let counts = post.space().is_none() && number.len() <= BYTES;
    counts.then(|| Number::new(number)).flatten()
}

/// What a call of `number` changes, if anything is to be stored. `known`: how numbers were called.
pub fn called(
    known: &mut HashMap<Number, CalledLately, RandomState>,
    number: Number,
    post: &Post,
    route: &Route,
    session: Option<&Arc<str>>,
) -> Option<NumberCalled> {
    let domain = route.domain.as_ref()?.as_str().to_owned();
    let tenant = route.outcome.as_ref().ok().map(|(hook, _)| hook.tenant.as_str().to_owned());
    let now = LastCalled { domain, tenant, seen_at: post.received_at };
    let Some(lately) = known.get_mut(&number) else {
        known.insert(number.clone(), now.clone().into());
        return Some(NumberCalled { number, now, before: None });
    };
    if !lately.last.is_where(&now) {
        let before = lately.moves(&now)?;
        return Some(NumberCalled { number, now, before: Some((before, session.cloned())) });
    }
    let last = &mut lately.last;
    let is_news = last.tenant != now.tenant || now.seen_at.0 - last.seen_at.0 > SEEN_WITHIN_MS;
    is_news.then(|| {
        *last = now.clone();
        NumberCalled { number, now, before: None }
    })
}

impl NumberCalled {
    /// The change, for people.
    pub fn change(&self) -> Option<DomainChange> {
        let (before, session) = self.before.as_ref()?;
        Some(DomainChange {
            number: self.number.as_str().to_owned(),
            domain: self.now.domain.clone(),
            tenant: self.now.tenant.clone(),
            before_domain: before.domain.clone(),
            before_tenant: before.tenant.clone(),
            call: session.as_deref().map(|session| route::name(session).to_owned()),
            at: self.now.seen_at.to_string(),
        })
    }
}
