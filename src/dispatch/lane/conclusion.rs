//! What an attempt means for its lane.

use crate::time::Moment;

/// What an attempt means for its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conclusion {
    /// When the delivery is tried again; none: it is delivered or given up.
    pub again: Option<Moment>,
    /// What it showed of the receiver.
    pub seen: Seen,
    /// How the window changes.
    pub window: Resize,
    /// The receiver asked that nothing starts before this time.
    pub hold: Option<Moment>,
    /// Nothing starts until the lane is resumed.
    pub pause: bool,
    /// -100 to 100: chance, which spreads probes.
    pub spread: i8,
}

/// What an attempt showed of the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Nothing: the router could not try, or ended the attempt itself.
    Nothing,
    /// It took the delivery.
    Delivery,
    /// It answered that it does not take this delivery: it lives.
    Answer,
    /// It could not be reached, or takes nothing at present.
    Fault,
    /// Nothing, and it failed: it went where its call was bound to go, and the hook has led elsewhere since.
    Elsewhere,
}

impl Seen {
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Answer | Self::Fault | Self::Elsewhere)
    }
}

/// A change of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resize {
    Keep,
    Double,
    Halve,
}

impl Conclusion {
    /// It is no longer pending: the next of its call may go.
    pub const DONE: Self =
        Self { again: None, seen: Seen::Nothing, window: Resize::Keep, hold: None, pause: false, spread: 0 };

    /// It is delivered.
    pub const DELIVERED: Self = Self { seen: Seen::Delivery, window: Resize::Double, ..Self::DONE };

    /// It failed, and is tried again at `due`.
    pub fn failed(seen: Seen, due: Moment) -> Self {
        Self { again: Some(due), seen, ..Self::DONE }
    }

    /// It could not be tried, and is at `due`.
    pub fn postponed(due: Moment) -> Self {
        Self { again: Some(due), ..Self::DONE }
    }
}
