//! How long the requests of each room have waited lately.
//!
//! LiveKit sends a room's next event only after the answer to the one before, and drops what is older than 30 s
//! when its turn comes. So a room's waits have a sum that is not exceeded, however slow the store is.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;

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

/// The longer waits of each room: when each ended, and how long it was.
#[derive(Default)]
pub struct Waits {
    rooms: Mutex<Rooms>,
    /// How many rooms there are, to be read without the lock: mostly none.
    count: AtomicUsize,
}

#[derive(Default)]
struct Rooms {
    waits: HashMap<String, Vec<(Moment, Duration)>, RandomState>,
    /// When rooms whose waits are past were last forgotten.
    swept_at: Moment,
}

impl Waits {
    /// How long a request of the room of `post` may wait still.
    pub fn left(&self, post: &Post, now: Moment) -> Duration {
        if self.count.load(Ordering::Acquire) == 0 {
            return SUM;
        }
        let Some(room) = room(post) else { return SUM };
        let mut rooms = lock(&self.rooms);
        if now.since(rooms.swept_at) > WITHIN {
            self.forget(&mut rooms, now);
        }
        let waits = rooms.waits.get(room).into_iter().flatten();
        SUM.saturating_sub(waits.filter(|wait| is_recent(wait, now)).map(|(_, waited)| *waited).sum())
    }

    /// A request of the room of `post` has waited until `now`.
    pub fn note(&self, post: &Post, waited: Duration, now: Moment) {
        if waited < SHORT {
            return;
        }
        let Some(room) = room(post) else { return };
        let mut rooms = lock(&self.rooms);
        if rooms.waits.len() >= ROOMS {
            self.forget(&mut rooms, now);
        }
        if rooms.waits.len() < ROOMS || rooms.waits.contains_key(room) {
            let waits = rooms.waits.entry(room.to_owned()).or_default();
            waits.retain(|wait| is_recent(wait, now));
            waits.push((now, waited));
        }
        self.count.store(rooms.waits.len(), Ordering::Release);
    }

    /// Forgets the rooms that have not waited lately.
    fn forget(&self, rooms: &mut Rooms, now: Moment) {
        rooms.waits.retain(|_, waits| waits.last().is_some_and(|wait| is_recent(wait, now)));
        rooms.swept_at = now;
        self.count.store(rooms.waits.len(), Ordering::Release);
    }
}

fn is_recent((ended, _): &(Moment, Duration), now: Moment) -> bool {
    now.since(*ended) < WITHIN
}

/// LiveKit has a queue for each room's name.
fn room(post: &Post) -> Option<&str> {
    post.room.as_deref().or(post.sid.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Received;
    use crate::ids::BodyHash;
    use crate::route::Door;
    use crate::time::UnixMillis;

    fn post(room: &str) -> Post {
        let body = format!(r#"{{"event":"room_started","room":{{"name":"{room}"}}}}"#);
        let (hash, received_at, came) = (BodyHash::of(body.as_bytes()), UnixMillis(0), Moment::default());
        let (body, issuer, door) = (body.into(), "".into(), Door::Platform);
        Post::read(Received { body, hash, issuer, received_at, came, door })
    }

    #[test]
    fn the_waits_of_a_room_add_up_to_fifteen_seconds_in_thirty_and_no_other_room_pays() {
        let (waits, (a, b)) = (Waits::default(), (post("a"), post("b")));
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        let seconds = Duration::from_secs;
        assert_eq!(waits.left(&a, at(0)), seconds(15));
        waits.note(&a, seconds(5), at(5));
        waits.note(&a, seconds(5), at(10));
        assert_eq!((waits.left(&a, at(10)), waits.left(&b, at(10))), (seconds(5), seconds(15)));
        waits.note(&a, seconds(5), at(15));
        assert_eq!(waits.left(&a, at(34)), Duration::ZERO);
        assert_eq!(waits.left(&a, at(35)), seconds(5));
        assert_eq!((waits.left(&a, at(70)), waits.count.load(Ordering::Acquire)), (seconds(15), 0));
    }

    #[test]
    fn beyond_so_many_rooms_a_further_rooms_waits_are_not_remembered() {
        let (waits, at) = (Waits::default(), |seconds| Moment::default() + Duration::from_secs(seconds));
        for room in 0..=ROOMS {
            waits.note(&post(&room.to_string()), Duration::from_secs(5), at(5));
        }
        assert_eq!(waits.count.load(Ordering::Acquire), ROOMS);
        assert_eq!(waits.left(&post("0"), at(6)), Duration::from_secs(10));
        assert_eq!(waits.left(&post(&ROOMS.to_string()), at(6)), SUM);
        // Once the others' waits are past, there is room again.
        waits.note(&post("later"), Duration::from_secs(5), at(40));
        assert_eq!(
            (waits.count.load(Ordering::Acquire), waits.left(&post("later"), at(40))),
            (1, Duration::from_secs(10))
        );
    }
}
