//! Who may send test events, and how often.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header;

use crate::api::guard::{Allowance, Meter};
use crate::dispatch::Tester;
use crate::http::Problem;
use crate::time::Moment;
use crate::wire::ProblemKind;

/// Tests of one tenant's hooks: six at once, then one in ten seconds.
const TESTS: Allowance = Allowance { burst: 6, interval: Duration::from_secs(10) };

/// Tenants that are told apart.
const TENANTS: usize = 10_000;

/// Sends test events, to each tenant only so often.
pub struct Trials {
    pub tester: Tester,
    sent: Mutex<Meter<String>>,
}

impl Trials {
    /// Nothing was sent yet.
    pub fn new(tester: Tester) -> Self {
        Self { tester, sent: Mutex::new(Meter::new(TENANTS)) }
    }

    /// Counts one test of this tenant.
    ///
    /// # Errors
    /// A problem that says when the next one may come.
    pub fn admit(&self, tenant: &str, now: Moment) -> Result<(), Problem> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.take(tenant, TESTS, now).map_err(|wait| {
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX);
            let detail =
                format!("A tenant's hooks are tested six times a minute at most. Again in {seconds} s.");
            Problem::new(ProblemKind::TooManyRequests).detail(detail).header(header::RETRY_AFTER, seconds)
        })
    }
}
