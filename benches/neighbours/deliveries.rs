//! When each event first came to a tenant that took it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

/// Events with this number or a higher one are not counted: a neighbour's, beside a backlog.
pub const UNCOUNTED: usize = 100_000_000;

/// The deliveries of a run.
#[derive(Default)]
pub struct Deliveries(Mutex<Came>);

#[derive(Default)]
struct Came {
    first: HashMap<usize, Instant>,
    count: usize,
}

impl Deliveries {
    /// An event has come.
    pub fn note(&self, event: usize) {
        let mut came = self.0.lock().expect("deliveries");
        let before = came.first.len();
        came.first.entry(event).or_insert_with(Instant::now);
        let is_first = came.first.len() > before;
        came.count += usize::from(is_first && event < UNCOUNTED);
    }

    /// When an event came.
    pub fn at(&self, event: usize) -> Option<Instant> {
        self.0.lock().expect("deliveries").first.get(&event).copied()
    }

    /// How many have come.
    pub fn count(&self) -> usize {
        self.0.lock().expect("deliveries").count
    }
}
