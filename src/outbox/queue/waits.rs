//! How long the requests of each room have waited lately.
//!
//! LiveKit sends a room's next event only after the answer to the one before, and drops what is older than 30 s
//! when its turn comes. So a room's waits have a sum that is not exceeded, however slow the store is.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::lock::lock;
use crate::calls::Post;
use crate::time::Moment;

/// A room's waits add up to at most this...
const SUM: Duration = Duration::from_secs(15);

/// ... within this time.
const WITHIN: Duration = Duration::from_secs(30);

/// Shorter waits do not count: 30 s of nothing but these are 3 000 events of one room.
const SHORT: Duration = Duration::from_millis(10);

/// At most this many rooms are remembered. Beyond, a room's first waits are not limited in sum.
const ROOMS: usize = 16_384;

/// The longer waits of each room.
#[derive(Default)]
pub struct Waits {
    rooms: Mutex<HashMap<String, Vec<(Moment, Duration)>>>,
    /// How many rooms there are, to be read without the lock: mostly none.
    count: AtomicUsize,
}

impl Waits {
    /// How long a request of the room of `post` may wait still.
    pub fn left(&self, post: &Post, now: Moment) -> Duration {
        if self.count.load(Ordering::Acquire) == 0 {
            return SUM;
        }
        let Some(room) = room(post) else { return SUM };
        let rooms = lock(&self.rooms);
        let waits = rooms.get(room).into_iter().flatten();
        let recent = waits.filter(|(ended, _)| now.since(*ended) < WITHIN).map(|(_, waited)| *waited);
        SUM.saturating_sub(recent.sum())
    }

    /// A request of the room of `post` has waited until `now`.
    pub fn note(&self, post: &Post, waited: Duration, now: Moment) {
        if waited < SHORT {
            return;
        }
        let Some(room) = room(post) else { return };
        let mut rooms = lock(&self.rooms);
        let is_recent = |(ended, _): &(Moment, Duration)| now.since(*ended) < WITHIN;
        if rooms.len() >= ROOMS {
            rooms.retain(|_, waits| waits.last().is_some_and(is_recent));
        }
        if rooms.len() < ROOMS || rooms.contains_key(room) {
            let waits = rooms.entry(room.to_owned()).or_default();
            waits.retain(is_recent);
            waits.push((now, waited));
        }
        self.count.store(rooms.len(), Ordering::Release);
    }

    /// Forgets all rooms: the store is as fast as ever.
    pub fn clear(&self) {
        if self.count.swap(0, Ordering::AcqRel) > 0 {
            lock(&self.rooms).clear();
        }
    }
}

/// LiveKit has a queue for each room's name.
fn room(post: &Post) -> Option<&str> {
    post.room.as_deref().or(post.sid.as_deref())
}
