//! With which domain and tenant each number was last called. A number that suddenly comes with another domain
//! is how most misrouting begins: an edge or a carrier was changed.

use std::sync::Arc;

use serde::Serialize;

use super::post::Post;
use crate::hooks::Number;
use crate::route::{self, Route};
use crate::time::UnixMillis;

/// How late `seen_at` may be in the store.
const SEEN_WITHIN_MS: i64 = 24 * 3_600_000;

/// The dialled user part may be any text: what is longer than this is no number.
const BYTES: usize = 64;

/// A called number came with another domain, or went to another tenant.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DomainChange {
    pub number: String,
    pub domain: String,
    pub tenant: Option<String>,
    pub before_domain: String,
    pub before_tenant: Option<String>,
    /// The call it changed with.
    pub call: Option<String>,
    /// RFC 3339.
    pub at: String,
}

/// How a number was last called.
#[derive(Clone, PartialEq, Debug)]
pub struct LastCalled {
    pub domain: String,
    pub tenant: Option<String>,
    pub seen_at: UnixMillis,
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

/// What a call of `number` changes, if anything. `last`: how it was called before.
pub fn called(
    number: Number,
    last: Option<&LastCalled>,
    post: &Post,
    route: &Route,
    session: Option<&Arc<str>>,
) -> Option<NumberCalled> {
    let domain = route.domain.as_ref()?.as_str().to_owned();
    let tenant = route.outcome.as_ref().ok().map(|(hook, _)| hook.tenant.as_str().to_owned());
    let now = LastCalled { domain, tenant, seen_at: post.received_at };
    let Some(last) = last else { return Some(NumberCalled { number, now, before: None }) };
    let elsewhere = last.tenant.is_some() && now.tenant.is_some() && last.tenant != now.tenant;
    if last.domain != now.domain || elsewhere {
        let before = Some((last.clone(), session.cloned()));
        return Some(NumberCalled { number, now, before });
    }
    let is_news = last.tenant != now.tenant || now.seen_at.0 - last.seen_at.0 > SEEN_WITHIN_MS;
    is_news.then_some(NumberCalled { number, now, before: None })
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
