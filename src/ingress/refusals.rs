//! The log of refusals, at a limited rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::keys::DoorKeys;
use super::token::{Doubt, Unverified};
use crate::hooks::Tenant;
use crate::route::Door;
use crate::time::{Clock, Moment};

/// The log of refusals, at a limited rate: invalid posts must not fill the disk.
pub struct Refusals {
    clock: Clock,
    windows: Mutex<HashMap<&'static str, Window>>,
}

#[derive(Clone, Copy, Default)]
struct Window {
    began: Option<Moment>,
    lines: u32,
    suppressed: u64,
}

impl Refusals {
    /// Lines per reason and window.
    const LINES: u32 = 5;
    const WINDOW: Duration = Duration::from_secs(10);

    pub fn new(clock: Clock) -> Self {
        Self { clock, windows: Mutex::default() }
    }

    /// Says that a request was refused for a reason that is not the token. `tenant`: whose URL it came by.
    pub fn note(&self, reason: &'static str, path: Option<&str>, tenant: Option<&Tenant>) {
        let Some(suppressed) = self.admit(reason) else { return };
        let suppressed = (suppressed > 0).then_some(suppressed);
        let path: Option<String> = path.map(|path| path.chars().take(128).collect());
        tracing::warn!(reason, path, url_of = tenant.map(Tenant::as_str), suppressed, "refused");
    }

    /// Says that a token was refused, and how far it is out of its time.
    pub fn log(&self, unverified: &Unverified, door: &Door, keys: &DoorKeys<'_>) {
        let Some(suppressed) = self.admit(unverified.doubt.as_str()) else { return };
        let suppressed = (suppressed > 0).then_some(suppressed);
        let Unverified { doubt, detail, key, skew } = unverified;
        let message = if skew.is_some() { "refused: clock skew" } else { "refused" };
        let configured = matches!(doubt, Doubt::UnknownKey).then(|| keys.names().join(","));
        // The key is unverified text of the token: cut to the length of a key.
        let key: Option<String> = key.as_ref().map(|key| key.chars().take(64).collect());
        tracing::warn!(
            reason = doubt.as_str(), %detail, key, configured, url_of = door.tenant().map(Tenant::as_str),
            skew_s = skew, suppressed, "{message}"
        );
    }

    /// Whether a line may be written, and how many were left out before it.
    pub fn admit(&self, reason: &'static str) -> Option<u64> {
        let now = self.clock.now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(reason).or_default();
        if window.began.is_none_or(|began| now.since(began) >= Self::WINDOW) {
            *window = Window { began: Some(now), lines: 0, suppressed: window.suppressed };
        }
        if window.lines >= Self::LINES {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    #[test]
    fn of_one_reason_five_lines_are_written_in_ten_seconds_and_the_rest_are_counted() {
        let clock = Clock::manual(UnixMillis(0));
        let refusals = Refusals::new(clock.clone());
        let admit = |reason| refusals.admit(reason);
        assert_eq!(
            [(); 7].map(|()| admit("expired")),
            [Some(0), Some(0), Some(0), Some(0), Some(0), None, None]
        );
        assert_eq!(admit("busy"), Some(0), "another reason has lines of its own");
        clock.advance(Refusals::WINDOW);
        assert_eq!([(); 2].map(|()| admit("expired")), [Some(2), Some(0)]);
    }
}
