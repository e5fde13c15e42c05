//! What an attempt means: for the store and for its lane. Pure: time and randomness are arguments.

use std::time::Duration;

use super::backoff;
use super::lane::{Conclusion, Resize, Seen};
use crate::delivery::{Answer, Attempt, DeadReason, Delivery, Fault};
use crate::hooks::{Retry, loggable};
use crate::outbox::Next;
use crate::time::{Moment, UnixMillis};

/// A delivery whose attempt the router cut off, or had not the means for, is tried again after this time, ±20 %.
const AFTER_OWN_TROUBLE: Duration = Duration::from_secs(2);

/// Everything that follows from an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// For the store, the log and the metrics.
    pub next: Next,
    /// For the lane; one that pauses here pauses its hook.
    pub lane: Conclusion,
}

/// What judging needs to know of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// When its hook tries again, and until when.
    pub retry: &'a Retry,
    /// When it began to age: received, released or replayed.
    pub since: UnixMillis,
    /// Milliseconds its hook has been paused since it came: they do not age it.
    pub paused_ms: i64,
    /// It went where its call was bound to go, and its hook leads elsewhere.
    pub is_elsewhere: bool,
}

impl<'a> Facts<'a> {
    /// The facts of a delivery that was posted to `url`, whose hook has been paused for `paused_ms` in all.
    pub fn of(delivery: &'a Delivery, url: &str, paused_ms: i64) -> Self {
        let hook_url = delivery.hook.url.as_str();
        let is_bound_elsewhere = delivery.bound.as_ref().is_some_and(|bound| *bound.url != *hook_url);
        Self {
            is_elsewhere: is_bound_elsewhere && *url != *loggable(hook_url),
            retry: &delivery.hook.settings.retry,
            since: delivery.freed_at.unwrap_or(delivery.received_at),
            paused_ms: paused_ms - delivery.paused_before_ms,
        }
    }

    /// How old the delivery is at `unix`.
    fn age(&self, unix: UnixMillis) -> Duration {
        let paused = Duration::from_millis(u64::try_from(self.paused_ms).unwrap_or(0));
        unix.since(self.since).saturating_sub(paused)
    }
}

impl Verdict {
    /// The verdict on an attempt that ended at `now`, which is `unix` on the wall clock (Standard
    /// Webhooks, "Deliverability and reliability"). `random` in 0..1 spreads the retries: it is drawn only for
    /// those.
    pub fn on(
        attempt: &Attempt,
        facts: &Facts<'_>,
        now: Moment,
        unix: UnixMillis,
        random: impl FnOnce() -> f64,
    ) -> Self {
        let verdict = match attempt.outcome {
            Ok(Answer { status: 200..=299, .. }) => {
                Self { next: Next::Delivered, lane: Conclusion::DELIVERED }
            }
            // The receiver is gone: the hook pauses, and what it has waits.
            Ok(Answer { status: 410, .. }) => Self {
                next: Next::Retry { due: unix },
                lane: Conclusion { pause: true, ..Conclusion::failed(Seen::Answer, now) },
            },
            // The router ended it, or lacks something itself: that says nothing of the receiver, and nothing is given up.
            Err(Fault::CutOff | Fault::Local) => {
                let wait = backoff::spread(AFTER_OWN_TROUBLE, random());
                Self { next: Next::Retry { due: unix.after(wait) }, lane: Conclusion::postponed(now + wait) }
            }
            _ => failure(attempt, facts, now, unix, random()),
        };
        if facts.is_elsewhere { Self { lane: verdict.lane.elsewhere(), ..verdict } } else { verdict }
    }
}

/// The verdict on a failed attempt: again later, unless the delivery has become too old.
fn failure(attempt: &Attempt, facts: &Facts<'_>, now: Moment, unix: UnixMillis, random: f64) -> Verdict {
    let window = if attempt.outcome == Err(Fault::Timeout) { Resize::Halve } else { Resize::Keep };
    let seen = seen(attempt.outcome);
    let spread = (random * 200.0 - 100.0) as i8;
    if facts.age(unix) >= facts.retry.max_age {
        let lane = Conclusion { seen, window, spread, ..Conclusion::DONE };
        return Verdict { next: Next::Dead(DeadReason::Expired), lane };
    }
    let answer = attempt.outcome.ok();
    let asked = answer.and_then(|answer| answer.retry_after);
    // 429 and 503 ask for patience with everything, others with this event alone.
    let whole_lane = answer.is_some_and(|answer| matches!(answer.status, 429 | 503));
    let hold = asked.filter(|_| whole_lane).map(|asked| now + asked);
    let wait = backoff::delay(facts.retry, attempt.number, random).max(asked.unwrap_or_default());
    Verdict {
        next: Next::Retry { due: unix.after(wait) },
        lane: Conclusion { window, hold, spread, ..Conclusion::failed(seen, now + wait) },
    }
}

/// What a failed attempt shows of the receiver: only an answer that is no plea for patience shows that it lives.
fn seen(outcome: Result<Answer, Fault>) -> Seen {
    match outcome {
        Ok(Answer { status: 429 | 500..=599, .. }) | Err(_) => Seen::Fault,
        Ok(_) => Seen::Answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;
    const UNIX: i64 = 1_795_240_012_110;
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn moment(count: u64) -> Moment {
        Moment::default() + seconds(count)
    }

    fn answer(status: u16, retry_after: Option<u64>) -> Result<Answer, Fault> {
        Ok(Answer { status, retry_after: retry_after.map(seconds) })
    }

    /// The verdict on the `number`-th attempt of a delivery that is `age` seconds old, of which its
    /// hook was paused for `paused`; without jitter.
    fn verdict(outcome: Result<Answer, Fault>, number: u32, age: u64, paused: u64) -> Verdict {
        verdict_at(false, outcome, number, age, paused)
    }

    /// The same; `is_elsewhere`: it was posted to another URL than its hook's.
    fn verdict_at(
        is_elsewhere: bool,
        outcome: Result<Answer, Fault>,
        number: u32,
        age: u64,
        paused: u64,
    ) -> Verdict {
        let (now, unix) = (moment(NOW), UnixMillis(UNIX));
        let attempt =
            Attempt { number, at: unix, url: "https://a.example/".into(), latency: seconds(1), outcome };
        let since = UnixMillis(UNIX - crate::time::millis(seconds(age)));
        let facts = Facts {
            retry: &Retry::default(),
            since,
            paused_ms: crate::time::millis(seconds(paused)),
            is_elsewhere,
        };
        Verdict::on(&attempt, &facts, now, unix, || 0.5)
    }

    /// What is expected: when it is tried again, in milliseconds from now; how the window changes;
    /// until when the lane is held, in seconds from now.
    fn again(ms: u64, seen: Seen, window: Resize, hold: Option<u64>) -> Verdict {
        let wait = Duration::from_millis(ms);
        let hold = hold.map(|hold| moment(NOW) + seconds(hold));
        Verdict {
            next: Next::Retry { due: UnixMillis(UNIX).after(wait) },
            lane: Conclusion { window, hold, ..Conclusion::failed(seen, moment(NOW) + wait) },
        }
    }

    #[test]
    fn every_2xx_is_delivered_and_widens_the_window() {
        let lane = Conclusion::DELIVERED;
        for status in [200, 201, 202, 204, 299] {
            for (number, age) in [(1, 0), (9, 2 * DAY)] {
                let expected = Verdict { next: Next::Delivered, lane };
                assert_eq!(verdict(answer(status, Some(7)), number, age, 0), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_410_pauses_and_gives_nothing_up_whatever_its_age() {
        let lane = Conclusion { pause: true, ..Conclusion::failed(Seen::Answer, moment(NOW)) };
        let expected = Verdict { next: Next::Retry { due: UnixMillis(UNIX) }, lane };
        for (retry_after, age) in [(None, 0), (Some(7), 0), (None, 2 * DAY)] {
            assert_eq!(verdict(answer(410, retry_after), 1, age, 0), expected);
        }
    }

    #[test]
    fn what_another_url_answers_neither_holds_nor_pauses_nor_widens_the_hook() {
        let lane = |outcome| verdict_at(true, outcome, 1, 0, 0).lane;
        let failed = |ms| {
            let due = moment(NOW) + Duration::from_millis(ms);
            Conclusion::failed(Seen::Elsewhere { delivered: false }, due)
        };
        let delivered = Conclusion { seen: Seen::Elsewhere { delivered: true }, ..Conclusion::DONE };
        assert_eq!(lane(answer(200, None)), delivered);
        assert_eq!(lane(answer(410, None)), failed(0));
        assert_eq!(lane(answer(503, Some(7))), failed(7000));
        assert_eq!(lane(Err(Fault::Timeout)), failed(500));
        assert_eq!(lane(Err(Fault::CutOff)).seen, Seen::Nothing);
    }

    #[test]
    fn the_routers_own_trouble_says_nothing_of_the_receiver_and_is_tried_again_whatever_its_age() {
        for (fault, number, age) in
            [(Fault::CutOff, 1, 0), (Fault::CutOff, 9, 2 * DAY), (Fault::Local, 9, 2 * DAY)]
        {
            let expected = again(2000, Seen::Nothing, Resize::Keep, None);
            assert_eq!(verdict(Err(fault), number, age, 0), expected);
        }
    }

    #[test]
    fn a_failure_is_tried_again_and_only_429_and_503_hold_the_whole_lane() {
        use Resize::{Halve, Keep};
        use Seen::{Answer as Lives, Fault as Fails};
        let table = [
            (answer(500, None), 1, again(500, Fails, Keep, None)),
            (answer(500, None), 4, again(4000, Fails, Keep, None)),
            (answer(500, None), 40, again(600_000, Fails, Keep, None)),
            (answer(100, None), 1, again(500, Lives, Keep, None)),
            (answer(301, None), 1, again(500, Lives, Keep, None)),
            (answer(404, None), 1, again(500, Lives, Keep, None)),
            // `Retry-After` of other answers concerns the event alone, and never shortens its wait.
            (answer(500, Some(7)), 1, again(7000, Fails, Keep, None)),
            (answer(301, Some(7)), 1, again(7000, Lives, Keep, None)),
            (answer(500, Some(7)), 6, again(16_000, Fails, Keep, None)),
            (answer(429, None), 1, again(500, Fails, Keep, None)),
            (answer(503, None), 1, again(500, Fails, Keep, None)),
            (answer(429, Some(7)), 1, again(7000, Fails, Keep, Some(7))),
            (answer(503, Some(7)), 1, again(7000, Fails, Keep, Some(7))),
            (answer(503, Some(0)), 1, again(500, Fails, Keep, Some(0))),
            (answer(503, Some(7)), 6, again(16_000, Fails, Keep, Some(7))),
            (answer(503, Some(HOUR)), 1, again(3_600_000, Fails, Keep, Some(HOUR))),
            (Err(Fault::Timeout), 1, again(500, Fails, Halve, None)),
            (Err(Fault::Timeout), 3, again(2000, Fails, Halve, None)),
            (Err(Fault::Dns), 1, again(500, Fails, Keep, None)),
            (Err(Fault::Refused), 1, again(500, Fails, Keep, None)),
            (Err(Fault::Tls), 1, again(500, Fails, Keep, None)),
            (Err(Fault::Reset), 1, again(500, Fails, Keep, None)),
            (Err(Fault::Forbidden), 1, again(500, Fails, Keep, None)),
        ];
        for (outcome, number, expected) in table {
            assert_eq!(verdict(outcome, number, 0, 0), expected, "{outcome:?} {number}");
        }
    }

    #[test]
    fn a_failure_after_max_age_is_the_last_one_and_paused_time_does_not_count() {
        let expired = |window| Verdict {
            next: Next::Dead(DeadReason::Expired),
            lane: Conclusion { window, seen: Seen::Fault, ..Conclusion::DONE },
        };
        let table = [
            (answer(500, None), DAY - 1, 0, again(500, Seen::Fault, Resize::Keep, None)),
            (answer(500, None), DAY, 0, expired(Resize::Keep)),
            // Given up, so its `Retry-After` holds nothing.
            (answer(503, Some(7)), DAY, 0, expired(Resize::Keep)),
            (Err(Fault::Timeout), DAY, 0, expired(Resize::Halve)),
            (answer(500, None), DAY + HOUR, HOUR, expired(Resize::Keep)),
            (answer(500, None), DAY + HOUR, HOUR + 1, again(500, Seen::Fault, Resize::Keep, None)),
            (answer(500, None), HOUR, DAY, again(500, Seen::Fault, Resize::Keep, None)),
        ];
        for (outcome, age, paused, expected) in table {
            assert_eq!(verdict(outcome, 1, age, paused), expected, "{outcome:?} {age} {paused}");
        }
    }

    #[test]
    fn an_event_that_the_clock_puts_into_the_future_is_young() {
        let retry = Retry { max_age: Duration::from_millis(1), ..Retry::default() };
        let facts = Facts { retry: &retry, since: UnixMillis(UNIX + 5), paused_ms: -3, is_elsewhere: false };
        assert_eq!(facts.age(UnixMillis(UNIX)), Duration::ZERO);
    }
}
