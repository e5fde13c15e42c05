//! The clock, as a parameter: the only place that reads time, so that tests move it instead of
//! sleeping. Wall time stamps what people and tenants see; monotonic time schedules.

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::civil::Date;
use jiff::tz::Offset;
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

/// A day in UTC: days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct UnixDay(pub i64);

impl UnixDay {
    /// The day of a time.
    pub fn of(at: UnixMillis) -> Self {
        Self(at.0.div_euclid(24 * 3_600_000))
    }

    /// The day of a date in the calendar.
    pub fn of_date(date: Date) -> Self {
        let begin = Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()));
        begin.map_or(Self::default(), |begin| Self::of(UnixMillis(begin.as_millisecond())))
    }

    /// Its date; that of the epoch for a day that no calendar has.
    pub fn date(self) -> Date {
        let begin = jiff::Timestamp::from_millisecond(self.0.saturating_mul(24 * 3_600_000));
        Offset::UTC.to_datetime(begin.unwrap_or_default()).date()
    }
}

/// A duration in whole milliseconds, saturating at `i64::MAX`.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A duration in milliseconds with three decimals.
pub fn fine_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Reads a duration as settings spell it: a whole number and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const SPELLING: &str = "a duration is a whole number and its unit: 500ms, 30s, 5m, 24h or 7d";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(SPELLING),
    };
    let millis = number.parse::<u64>().map_err(|_| SPELLING)?.checked_mul(unit);
    millis.map(Duration::from_millis).ok_or("that is longer than can be counted")
}

/// A duration as [`parse_duration`] reads it, in the largest unit that fits.
pub fn spell_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", millis / unit)
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

/// A wait that something else polls.
pub type Sleeping = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The source of both times and of every wait.
#[derive(Clone)]
pub struct Clock(Ticking);

#[derive(Clone)]
enum Ticking {
    System(Instant),
    Manual { start: UnixMillis, moved: Arc<watch::Sender<Duration>> },
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn system() -> Self {
        Self(Ticking::System(Instant::now()))
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: UnixMillis) -> Self {
        Self(Ticking::Manual { start, moved: Arc::new(watch::Sender::new(Duration::ZERO)) })
    }

    /// Moves a manual clock; the machine's clock does not obey.
    pub fn advance(&self, by: Duration) {
        if let Ticking::Manual { moved, .. } = &self.0 {
            moved.send_modify(|at| *at += by);
        }
    }

    /// Wall time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn unix(&self) -> UnixMillis {
        match &self.0 {
            Ticking::System(_) => UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)),
            Ticking::Manual { start, moved } => start.after(*moved.borrow()),
        }
    }

    /// Monotonic time now.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Ticking::System(started) => Moment(started.elapsed()),
            Ticking::Manual { moved, .. } => Moment(*moved.borrow()),
        }
    }

    /// Waits until `moment`.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits")]
    pub async fn sleep_until(&self, moment: Moment) {
        match &self.0 {
            Ticking::System(started) => {
                // A due time beyond what an Instant can hold is as good as never.
                match started.checked_add(moment.0) {
                    Some(instant) => tokio::time::sleep_until(instant.into()).await,
                    None => std::future::pending().await,
                }
            }
            Ticking::Manual { moved, .. } => {
                // The sender lives in this very clock, so the wait cannot fail.
                let _ = moved.subscribe().wait_for(|at| *at >= moment.0).await;
            }
        }
    }

    /// The same as something to poll.
    pub fn sleeping_until(&self, moment: Moment) -> Sleeping {
        let clock = self.clone();
        Box::pin(async move { clock.sleep_until(moment).await })
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
    fn durations_are_read_as_they_are_spelled() {
        for text in ["500ms", "30s", "5m", "24h", "7d", "1500ms"] {
            assert!(parse_duration(text).is_ok(), "{text}");
        }
        assert_eq!(parse_duration("24h").map(spell_duration).as_deref(), Ok("1d"));
        assert_eq!(parse_duration("1500ms").map(spell_duration).as_deref(), Ok("1500ms"));
        for text in
            ["", "5", "s", "1.5s", "-1s", "5 s", "5S", "99999999999999999999s", "9999999999999999999d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let day = |ms| UnixDay::of(UnixMillis(ms)).date().to_string();
        assert_eq!([day(-1), day(0)], ["1969-12-31", "1970-01-01"]);
        assert_eq!([day(1_795_305_599_999), day(1_795_305_600_000)], ["2026-11-21", "2026-11-22"]);
        for day in [-1, 0, 20_778, 100_000] {
            assert_eq!(UnixDay::of_date(UnixDay(day).date()), UnixDay(day));
        }
    }

    #[test]
    fn wall_time_prints_as_rfc_3339() {
        assert_eq!(UnixMillis(1_795_240_012_110).to_string(), "2026-11-21T05:46:52.110Z");
    }
}
