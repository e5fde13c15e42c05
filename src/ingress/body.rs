//! Reads a body: within its size, in its time, and into room that is taken as it comes.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::room::{Hold, NoRoom};
use crate::time::{Clock, Moment};

/// A body may be silent this long.
const SILENT: Duration = Duration::from_secs(3);

/// Bytes per second that a body comes with at least, once it has been silent as long as it may be.
const LEAST_RATE: u32 = 16 << 10;

/// Room that a body of which little has come has at least, in bytes; then twice as much each time it is full.
const FIRST_ROOM: usize = 4 << 10;

/// Why a body is not read to its end.
#[derive(Debug)]
pub enum Unread {
    /// It is larger than allowed.
    TooLarge,
    /// There is no room for it.
    NoRoom,
    /// It comes too slowly, breaks off, or gives way to others.
    Broken,
}

impl From<NoRoom> for Unread {
    fn from(NoRoom: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// What a body may be.
#[derive(Clone, Copy)]
pub struct BodyBounds {
    /// Bytes at most.
    pub most: usize,
    /// Bytes it says it has.
    pub announced: Option<usize>,
    /// It must be whole within this time.
    pub within: Duration,
}

/// Reads a whole body.
///
/// # Errors
/// [`Unread`]
pub async fn read(body: Body, bounds: BodyBounds, hold: &mut Hold, clock: &Clock) -> Result<Bytes, Unread> {
    let cut = hold.cut.clone();
    tokio::select! {
        // Mostly the whole body has come: it is read at once, and waiting for the cut never begins.
        biased;
        read = read_within(body, bounds, hold, clock) => read,
        () = cut.cancelled() => Err(Unread::Broken),
    }
}

async fn read_within(
    mut body: Body,
    bounds: BodyBounds,
    hold: &mut Hold,
    clock: &Clock,
) -> Result<Bytes, Unread> {
    let mut patience = Patience::begin(clock.now(), bounds.within);
    let mut gathered = Gathered::default();
    loop {
        let frame = clock.timeout(patience.left(clock.now()), body.frame()).await;
        let Some(frame) = frame.map_err(|_| Unread::Broken)? else { return Ok(gathered.whole()) };
        let frame = frame.map_err(|_| Unread::Broken)?;
        // Trailers say nothing here.
        let Ok(bytes) = frame.into_data() else { continue };
        let length = gathered.len() + bytes.len();
        if length > bounds.most {
            return Err(Unread::TooLarge);
        }
        let room = gathered.room_for(length, bounds);
        let came = clock.now();
        hold.hold(room).await?;
        patience.grant(came, clock.now(), bytes.len());
        gathered.add(bytes, room);
    }
}

/// How long the next bytes are waited for.
struct Patience {
    /// When the body must be whole.
    end: Moment,
    /// When the next bytes must be there.
    due: Moment,
}

impl Patience {
    fn begin(now: Moment, within: Duration) -> Self {
        Self { end: now + within, due: now + SILENT }
    }

    /// Bytes came, and there is room for them now: each second's worth of them is another second, and nobody is blamed
    /// for the time they waited.
    fn grant(&mut self, came: Moment, now: Moment, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let granted = Duration::from_secs(1) * bytes / LEAST_RATE + now.since(came);
        self.due = (self.due + granted).min(now + SILENT);
    }

    fn left(&self, now: Moment) -> Duration {
        self.due.min(self.end).since(now)
    }
}

/// The bytes so far: mostly they come all at once, and are not copied.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    /// All of them, once more have come after the first.
    all: Vec<u8>,
    /// Bytes there is room for.
    room: usize,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// The room that `length` bytes need: each time it is full it doubles, so that it is not asked for again and again.
    fn room_for(&self, length: usize, bounds: BodyBounds) -> usize {
        if length <= self.room {
            return self.room;
        }
        (2 * self.room).max(FIRST_ROOM).min(bounds.announced.unwrap_or(bounds.most)).max(length)
    }

    /// Adds bytes, where there is room for so many in all.
    fn add(&mut self, bytes: Bytes, room: usize) {
        self.room = room;
        if self.len() == 0 {
            self.first = bytes;
            return;
        }
        self.all.reserve_exact(room - self.all.len());
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&bytes);
    }

    fn whole(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_silent_for_seconds_and_then_each_byte_grants_its_time() {
        let at = |millis| Moment::default() + Duration::from_millis(millis);
        // When how many bytes come, when there is room for them, and until when the next ones are waited for.
        type Case = (&'static [(u64, usize, u64)], u128);
        let cases: [Case; 7] = [
            (&[], 3000),
            (&[(1000, 1, 1000)], 3000),
            (&[(1000, 16 << 10, 1000)], 4000),
            (&[(1000, 1 << 20, 1000)], 4000),
            (&[(1000, 16 << 10, 1000), (2000, 8 << 10, 2000), (3000, 1, 3000)], 4500),
            (&[(2500, 1, 4500)], 5000),
            (&[(2000, 1 << 20, 2000), (5000, 1 << 20, 5000), (7500, 1 << 20, 7500)], 10_000),
        ];
        for (came, until) in cases {
            let mut patience = Patience::begin(at(0), Duration::from_secs(10));
            for (when, bytes, room) in came {
                patience.grant(at(*when), at(*room), *bytes);
            }
            assert_eq!(patience.left(at(0)).as_millis(), until, "{came:?}");
        }
    }

    #[test]
    fn room_doubles_up_to_what_is_announced() {
        let bounds = |announced| BodyBounds { most: 1 << 20, announced, within: Duration::ZERO };
        let cases = [
            (0, 100, Some(100), 100),
            (0, 100, Some(1 << 20), 4096),
            (0, 9000, Some(1 << 20), 9000),
            (0, 100, None, 4096),
            (4096, 4000, Some(1 << 20), 4096),
            (4096, 4097, Some(1 << 20), 8192),
            (4096, 4097, Some(5000), 5000),
            (1 << 19, 600_000, None, 1 << 20),
        ];
        for (room, length, announced, needed) in cases {
            let gathered = Gathered { room, ..Gathered::default() };
            assert_eq!(gathered.room_for(length, bounds(announced)), needed, "{room} {length} {announced:?}");
        }
    }

    #[test]
    fn bytes_are_put_together_in_order() {
        let mut gathered = Gathered::default();
        for (bytes, room) in [("ab", 4), ("c", 4), ("defg", 8), ("h", 8)] {
            gathered.add(Bytes::from_static(bytes.as_bytes()), room);
        }
        assert_eq!((gathered.len(), gathered.whole()), (8, Bytes::from_static(b"abcdefgh")));
    }
}
