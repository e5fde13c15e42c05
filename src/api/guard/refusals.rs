//! Refused attempts that are recorded in the audit log: only so many, since records are written to the disk.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::access::TokenIdentity;
use crate::http::{Allowance, Meter};
use crate::time::Moment;

/// Refused attempts of one token that are recorded: twenty at once, then one in ten seconds.
const REFUSED: Allowance = Allowance { burst: 20, interval: Duration::from_secs(10) };

/// Tokens that are told apart.
const TOKENS: usize = 10_000;

/// How often refused attempts are recorded.
pub struct RecordedRefusals(Mutex<Meter<TokenIdentity>>);

impl Default for RecordedRefusals {
    fn default() -> Self {
        Self(Mutex::new(Meter::new(TOKENS)))
    }
}

impl RecordedRefusals {
    /// Whether one more of this token is recorded.
    pub fn admit(&self, token: &TokenIdentity, now: Moment) -> bool {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.take(token, REFUSED, now).is_ok()
    }
}
