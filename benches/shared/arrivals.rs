//! Which of the offered events have come, and how often.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lost is what has not come by then.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// The arrivals of a run, by event; `T`: what is noted of each.
pub struct Arrivals<T>(Mutex<Expected<T>>);

struct Expected<T> {
    /// The number of the run's first event.
    first: usize,
    came: Vec<Vec<T>>,
    /// How many of them came at least once.
    distinct: usize,
    /// How many events of earlier runs came.
    late: usize,
}

impl<T: Clone> Arrivals<T> {
    pub fn new() -> Self {
        Self(Mutex::new(Expected { first: 0, came: Vec::new(), distinct: 0, late: 0 }))
    }

    /// Begins a run; gives the first of its `count` new event numbers.
    pub fn expect(&self, count: usize) -> usize {
        let mut expected = self.0.lock().expect("arrivals");
        let first = expected.first + expected.came.len();
        *expected = Expected { first, came: vec![Vec::new(); count], distinct: 0, late: 0 };
        first
    }

    /// Notes that an event came.
    pub fn arrive(&self, event: usize, arrival: T) {
        let mut expected = self.0.lock().expect("arrivals");
        let Some(n) = event.checked_sub(expected.first) else {
            expected.late += 1;
            return;
        };
        if expected.came[n].is_empty() {
            expected.distinct += 1;
        }
        expected.came[n].push(arrival);
    }

    /// Waits until `due` events have come, or are lost, and then for `settle`. Gives all that came.
    pub async fn all(&self, due: usize, settle: Duration) -> Vec<Vec<T>> {
        let deadline = Instant::now() + LOST_AFTER;
        while self.0.lock().expect("arrivals").distinct < due && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(settle).await;
        self.0.lock().expect("arrivals").came.clone()
    }

    /// How many events of earlier runs came during this one.
    pub fn late(&self) -> usize {
        self.0.lock().expect("arrivals").late
    }
}
