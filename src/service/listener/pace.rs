//! When a connection is closed for a head that does not come.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::http::{Activity, Doing};
use crate::tapped::Tap;
use crate::time::{Clock, Moment, Sleeping};

/// A request's head must come within this time of its first byte.
pub const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How long a connection may be idle, also before its first byte: LiveKit and proxies keep spare ones. Longer than Go's
/// client keeps an idle connection (90 s), so that LiveKit closes it first and never posts on one that we are closing.
const IDLE: Duration = Duration::from_secs(100);

/// How a connection's heads come. Hyper starts its timer when it begins to wait for a head, before the first byte of
/// it: so the timer itself asks here when its time is up.
#[derive(Clone)]
pub struct Pace {
    clock: Clock,
    activity: Activity,
}

impl Pace {
    /// The pace of a connection that does this.
    pub fn new(clock: Clock, activity: Activity) -> Self {
        Self { clock, activity }
    }

    /// A request's head is there. Its bytes may have come together with those of the one before.
    pub fn has_head(&self) {
        self.activity.set(Doing::Asking(self.clock.now()));
    }

    /// Whether nothing has come since a head was waited for.
    pub fn is_idle(&self) -> bool {
        matches!(self.activity.doing(), Doing::Idle(_))
    }
}

/// When a connection is closed if it has not sent a head by then.
fn due(doing: Doing) -> Moment {
    match doing {
        Doing::Idle(since) => since + IDLE,
        Doing::Asking(since) => since + HEAD_WITHIN,
    }
}

impl Tap for Pace {
    fn came(&mut self, _: usize) -> io::Result<()> {
        if self.is_idle() {
            self.activity.set(Doing::Asking(self.clock.now()));
        }
        Ok(())
    }
}

/// HTTP/1 connections of hyper use a timer for heads alone, so each start of it is a head that is waited for.
impl Timer for Pace {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        let doing = Doing::Idle(self.clock.now());
        self.activity.set(doing);
        let sleep = self.clock.sleeping_until(due(doing));
        Box::pin(UntilDue { pace: self.clone(), due: due(doing), sleep })
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(HEAD_WITHIN)
    }
}

/// Ends when a head is overdue. Hyper asks it again whenever bytes have come.
struct UntilDue {
    pace: Pace,
    due: Moment,
    sleep: Sleeping,
}

impl Future for UntilDue {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let due = due(self.pace.activity.doing());
        if due != self.due {
            self.due = due;
            self.sleep = self.pace.clock.sleeping_until(due);
        }
        self.sleep.as_mut().poll(context)
    }
}

impl Sleep for UntilDue {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_began_is_due_within_seconds_and_an_idle_connection_outlives_gos_clients() {
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        assert_eq!(due(Doing::Idle(at(100))), at(200));
        assert_eq!(due(Doing::Asking(at(100))), at(105));
    }
}
