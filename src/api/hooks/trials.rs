//! Who may send test events, and how often.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header;

use crate::dispatch::Tester;
use crate::http::Problem;
use crate::time::Moment;
use crate::wire::ProblemKind;

/// Tests of one tenant's hooks, within [`WITHIN`].
const TESTS: usize = 6;
const WITHIN: Duration = Duration::from_secs(60);

/// Tenants that are told apart; while there are more, no further tenant tests its hooks.
const TENANTS: usize = 10_000;

/// Sends test events, to each tenant only so often.
pub struct Trials {
    pub tester: Tester,
    /// When each tenant's last tests were sent.
    sent: Mutex<HashMap<String, VecDeque<Moment>>>,
}

impl Trials {
    /// Nothing was sent yet.
    pub fn new(tester: Tester) -> Self {
        Self { tester, sent: Mutex::default() }
    }

    /// Counts one test of this tenant.
    ///
    /// # Errors
    /// A problem that says when the next one may come.
    pub fn admit(&self, tenant: &str, now: Moment) -> Result<(), Problem> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        admit(&mut sent, tenant, now).map_err(|wait| {
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX);
            let detail =
                format!("A tenant's hooks are tested six times a minute at most. Again in {seconds} s.");
            Problem::new(ProblemKind::TooManyRequests).detail(detail).header(header::RETRY_AFTER, seconds)
        })
    }
}

/// Counts one of `tenant`, or gives how long it has to wait.
fn admit(sent: &mut HashMap<String, VecDeque<Moment>>, tenant: &str, now: Moment) -> Result<(), Duration> {
    let is_past = |at: &Moment| now.since(*at) >= WITHIN;
    if sent.len() >= TENANTS && !sent.contains_key(tenant) {
        sent.retain(|_, times| times.back().is_some_and(|at| !is_past(at)));
        if sent.len() >= TENANTS {
            return Err(WITHIN);
        }
    }
    let times = sent.entry(tenant.to_owned()).or_default();
    while times.front().is_some_and(is_past) {
        times.pop_front();
    }
    match times.front() {
        Some(first) if times.len() >= TESTS => Err((*first + WITHIN).since(now)),
        _ => {
            times.push_back(now);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_tests_of_a_tenant_within_any_minute_and_no_other_tenant_pays() {
        let mut sent = HashMap::new();
        let at = |seconds: u64| Moment::default() + Duration::from_secs(seconds);
        for second in [0, 10, 20, 30, 40, 50] {
            assert_eq!(admit(&mut sent, "acme", at(second)), Ok(()));
        }
        assert_eq!(admit(&mut sent, "acme", at(59)), Err(Duration::from_secs(1)));
        assert_eq!(admit(&mut sent, "globex", at(59)), Ok(()));
        assert_eq!(admit(&mut sent, "acme", at(60)), Ok(()));
        assert_eq!(admit(&mut sent, "acme", at(61)), Err(Duration::from_secs(9)));
    }
}
