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
    /// Nothing: it went to a URL that its hook does not lead to, or no longer does.
    Elsewhere { delivered: bool },
}

impl Seen {
    /// Whether the delivery was sent and not accepted.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Answer | Self::Fault | Self::Elsewhere { delivered: false })
    }

    /// Whether the delivery was accepted.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Delivery | Self::Elsewhere { delivered: true })
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

    /// The same of an attempt at another URL than its hook's: it changes nothing for the hook.
    pub fn elsewhere(self) -> Self {
        let seen = match self.seen {
            Seen::Nothing => Seen::Nothing,
            seen => Seen::Elsewhere { delivered: seen.is_success() },
        };
        Self { again: self.again, seen, spread: self.spread, ..Self::DONE }
    }

    /// It could not be tried, and is at `due`.
    pub fn postponed(due: Moment) -> Self {
        Self { again: Some(due), ..Self::DONE }
    }
}
