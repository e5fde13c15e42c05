//! Usage as CSV (RFC 4180), read page by page while it is sent.
//!
//! No field needs quotes: days and numbers have none, and a tenant's name is `[a-z0-9._-]`. For the same reason no name
//! is a formula that calls anything, where a spreadsheet reads it.

use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use crate::access::Scope;
use crate::api::state::{Api, LOOK_WITHIN};
use crate::http::Problem;
use crate::outbox::UsageFilter;
use crate::time::UnixDay;
use crate::wire::{UsageLine, UsageList};

/// Lines that are read at once.
const PAGE: usize = 5000;

const HEADING: &str = "day,tenant,events,deliveries,attempts,bytes\r\n";

/// A page of lines.
///
/// # Errors
/// A problem when the store does not answer.
pub async fn page(api: &Api, scope: &Scope, filter: &UsageFilter) -> Result<UsageList, Problem> {
    api.ask(LOOK_WITHIN, api.views.of(scope).usage(filter.clone(), PAGE)).await
}

type Reading = Pin<Box<dyn Future<Output = Result<UsageList, Problem>> + Send>>;

/// The lines as a body, with the heading. If the store fails on the way, the body breaks off, so that its reader sees
/// that lines are missing.
pub struct Rows {
    api: Arc<Api>,
    scope: Scope,
    filter: UsageFilter,
    heading: &'static str,
    /// The next page; none: that was the last one.
    reading: Option<Reading>,
}

/// The store did not answer in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the store does not answer")]
pub struct BrokenOff;

impl Rows {
    /// All lines that pass the filter; `first` is its first page.
    pub fn from(api: Arc<Api>, scope: Scope, filter: UsageFilter, first: UsageList) -> Self {
        let reading: Reading = Box::pin(std::future::ready(Ok(first)));
        Self { api, scope, filter, heading: HEADING, reading: Some(reading) }
    }

    fn read_behind(&mut self, last: &UsageLine) {
        self.filter.after = Some((UnixDay::of_date(last.day), last.tenant.clone()));
        let (api, scope, filter) = (Arc::clone(&self.api), self.scope.clone(), self.filter.clone());
        self.reading = Some(Box::pin(async move { page(&api, &scope, &filter).await }));
    }
}

impl Body for Rows {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let page = ready!(reading.as_mut().poll(context));
        self.reading = None;
        let Ok(page) = page else { return Poll::Ready(Some(Err(BrokenOff))) };
        if let Some(last) = page.usage.last().filter(|_| page.next.is_some()) {
            self.read_behind(last);
        }
        let text = std::mem::take(&mut self.heading).to_owned() + &lines(&page.usage);
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

fn lines(usage: &[UsageLine]) -> String {
    let mut text = String::new();
    for UsageLine { day, tenant, events, deliveries, attempts, bytes } in usage {
        // Writing into a String cannot fail.
        let _ = write!(text, "{day},{tenant},{events},{deliveries},{attempts},{bytes}\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_fields_of_the_heading_and_ends_as_the_standard_says() {
        let line = UsageLine {
            day: "2026-11-21".parse().expect("a date"),
            tenant: "a.b-c_1".to_owned(),
            events: 3,
            deliveries: 2,
            attempts: 5,
            bytes: 4000,
        };
        assert_eq!(
            HEADING.to_owned() + &lines(&[line]),
            "day,tenant,events,deliveries,attempts,bytes\r\n2026-11-21,a.b-c_1,3,2,5,4000\r\n"
        );
    }
}
