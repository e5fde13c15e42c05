//! When a connection is closed for a head that does not come.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::http::Visitor;
use crate::tapped::Tap;
use crate::time::{Clock, Moment, Sleeping};

/// A request's head must come within this time of its first byte, and the first one of a connection within this time
/// of the accept, or of the end of the TLS handshake. A connection that has shown no valid token may be idle as long.
pub const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How long a connection that has shown a valid token may be idle: longer than Go's client keeps an idle connection
/// (90 s), so that LiveKit closes it first and never posts on one that we are closing.
const IDLE: Duration = Duration::from_secs(100);

/// How a connection's heads come. Hyper starts its timer when it begins to wait for a head, before the first byte of
/// it: so the timer itself asks here when its time is up.
#[derive(Clone)]
pub struct Pace {
    clock: Clock,
    visitor: Visitor,
    head: Arc<Mutex<Option<Head>>>,
}

/// The head that is waited for.
#[derive(Clone, Copy)]
struct Head {
    is_first: bool,
    since: Moment,
    /// When the first byte after `since` came.
    began: Option<Moment>,
}

impl Head {
    /// When the connection is closed if the head is not complete by then.
    fn due(self, is_known: bool) -> Moment {
        match self.began {
            Some(began) if !self.is_first => began + HEAD_WITHIN,
            None if is_known => self.since + IDLE,
            Some(_) | None => self.since + HEAD_WITHIN,
        }
    }
}

impl Pace {
    /// The pace of a connection that begins now.
    pub fn new(clock: Clock, visitor: Visitor) -> Self {
        Self { clock, visitor, head: Arc::default() }
    }

    /// Whether a head has begun to come, or the first one is missing: what is closed then was not just idle.
    pub fn owes_a_head(&self) -> bool {
        self.head().is_none_or(|head| head.is_first || head.began.is_some())
    }

    fn await_head(&self) {
        let mut head = self.head();
        *head = Some(Head { is_first: head.is_none(), since: self.clock.now(), began: None });
    }

    fn due(&self) -> Moment {
        let is_known = self.visitor.is_known();
        // Nothing is waited for before hyper's timer starts.
        self.head().map_or_else(|| self.clock.now() + HEAD_WITHIN, |head| head.due(is_known))
    }

    fn head(&self) -> std::sync::MutexGuard<'_, Option<Head>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap for Pace {
    fn came(&mut self, _: usize) -> io::Result<()> {
        if let Some(head) = &mut *self.head() {
            head.began.get_or_insert_with(|| self.clock.now());
        }
        Ok(())
    }
}

/// HTTP/1 connections of hyper use a timer for heads alone, so each start of it is a head that is waited for.
impl Timer for Pace {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.await_head();
        let due = self.due();
        Box::pin(UntilDue { pace: self.clone(), due, sleep: self.clock.sleeping_until(due) })
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
        let due = self.pace.due();
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
    fn a_head_is_due_within_seconds_and_an_idle_connection_that_is_known_outlives_gos_clients() {
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        // Whether it is the first head, when its first byte came after second 100, whether the connection is known,
        // and after how many seconds it is closed.
        let cases = [
            (true, None, false, 5),
            (true, Some(4), false, 5),
            (false, None, false, 5),
            (false, Some(4), false, 9),
            (false, None, true, 100),
            (false, Some(4), true, 9),
            (false, Some(99), true, 104),
        ];
        for (is_first, began, is_known, closed) in cases {
            let head = Head { is_first, since: at(100), began: began.map(|began| at(100 + began)) };
            assert_eq!(head.due(is_known), at(100 + closed), "{is_first} {began:?} {is_known}");
        }
    }
}
