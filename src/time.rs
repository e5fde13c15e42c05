//! The clock, as a parameter: the only place that reads time, so that tests move it instead of
//! sleeping. Wall time stamps what people and tenants see; monotonic time schedules.

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Wall-clock time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds, as JWT claims and `webhook-timestamp` count.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long ago `earlier` was; zero if it lies ahead (clocks differ between machines).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This time, `later` on; saturates.
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(millis(later)))
    }
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A duration in whole milliseconds, saturating at `i64::MAX`.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A point of the monotonic clock; only differences mean anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(Duration);

impl Moment {
    /// Time from `earlier` to this; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(rhs))
    }
}

/// What [`Clock::timeout`] gives when the time is up first.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is up")]
pub struct Elapsed;

/// The source of both times and of every wait.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(Instant),
    Manual { start: UnixMillis, moved: Arc<watch::Sender<Duration>> },
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: UnixMillis) -> Self {
        Self(Source::Manual { start, moved: Arc::new(watch::Sender::new(Duration::ZERO)) })
    }

    /// Moves a manual clock; the machine's clock does not obey.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { moved, .. } = &self.0 {
            moved.send_modify(|at| *at += by);
        }
    }

    /// Wall time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn unix(&self) -> UnixMillis {
        match &self.0 {
            Source::System(_) => UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)),
            Source::Manual { start, moved } => start.after(*moved.borrow()),
        }
    }

    /// Monotonic time now.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System(started) => Moment(started.elapsed()),
            Source::Manual { moved, .. } => Moment(*moved.borrow()),
        }
    }

    /// Waits until `moment`.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits")]
    pub async fn sleep_until(&self, moment: Moment) {
        match &self.0 {
            Source::System(started) => {
                // A due time beyond what an Instant can hold is as good as never.
                match started.checked_add(moment.0) {
                    Some(instant) => tokio::time::sleep_until(instant.into()).await,
                    None => std::future::pending().await,
                }
            }
            Source::Manual { moved, .. } => {
                // The sender lives in this very clock, so the wait cannot fail.
                let _ = moved.subscribe().wait_for(|at| *at >= moment.0).await;
            }
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// `future`'s output, unless `limit` passes first.
    ///
    /// # Errors
    /// [`Elapsed`] when the time is up; `future` is dropped.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.sleep(limit) => Err(Elapsed),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.unix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_moves_both_times_and_wakes_its_sleepers() {
        let clock = Clock::manual(UnixMillis(1_795_240_012_110));
        let hour = Duration::from_secs(3600);
        let move_on = async { clock.advance(hour) };
        tokio::join!(clock.sleep(hour), move_on);
        assert_eq!(clock.unix(), UnixMillis(1_795_243_612_110));
        assert_eq!(clock.timeout(Duration::ZERO, std::future::pending::<()>()).await, Err(Elapsed));
    }

    #[test]
    fn wall_time_prints_as_rfc_3339() {
        assert_eq!(UnixMillis(1_795_240_012_110).to_string(), "2026-11-21T05:46:52.110Z");
    }
}
