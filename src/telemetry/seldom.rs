//! A line that is logged at a limited rate.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Moment;

/// Admits one line per window, and counts what is left out.
#[derive(Debug)]
pub struct Seldom {
    window: Duration,
    state: Mutex<(Option<Moment>, u64)>,
}

impl Seldom {
    /// At most one line per `window`.
    pub fn new(window: Duration) -> Self {
        Self { window, state: Mutex::default() }
    }

    /// Whether a line may be written: then how many times this happened since the line before, at least once.
    pub fn admit(&self, now: Moment) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *state;
        *count += 1;
        if last.is_some_and(|last| now.since(last) < self.window) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(count))
    }

    /// The same, with how many lines were left out since the line before; none: none was.
    pub fn suppressed(&self, now: Moment) -> Option<Option<u64>> {
        self.admit(now).map(|times| Some(times - 1).filter(|suppressed| *suppressed > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_window_says_how_often_it_happened() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let at = |seconds| seldom.admit(Moment::default() + Duration::from_secs(seconds));
        assert_eq!([at(1), at(2), at(10), at(11), at(30)], [Some(1), None, None, Some(3), Some(1)]);
        let seldom = Seldom::new(Duration::from_secs(10));
        let at = |seconds| seldom.suppressed(Moment::default() + Duration::from_secs(seconds));
        assert_eq!([at(1), at(2), at(11), at(30)], [Some(None), None, Some(Some(1)), Some(None)]);
    }
}
