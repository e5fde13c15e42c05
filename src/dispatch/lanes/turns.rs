//! Lanes that may start something, in turn: those of each pace among themselves, and the paces in turn.

use std::collections::VecDeque;

use super::slots::LanePace;
use crate::ids::HookId;

/// The queues of lanes, one for each pace.
#[derive(Debug, Default)]
pub struct Turns {
    queues: [VecDeque<HookId>; 3],
    /// The queue that is asked first.
    first: usize,
}

impl Turns {
    /// The paces, in the order in which they are asked next.
    pub fn paces(&mut self) -> [LanePace; 3] {
        self.first = (self.first + 1) % 3;
        [0, 1, 2].map(|at| [LanePace::Proven, LanePace::New, LanePace::Slow][(self.first + at) % 3])
    }

    /// How many lanes of this pace wait for their turn.
    pub fn waiting(&self, pace: LanePace) -> usize {
        self.queues[pace as usize].len()
    }

    /// Puts a lane behind the others of its pace.
    pub fn push(&mut self, pace: LanePace, hook: HookId) {
        self.queues[pace as usize].push_back(hook);
    }

    /// Takes the lane whose turn it is.
    pub fn pop(&mut self, pace: LanePace) -> Option<HookId> {
        self.queues[pace as usize].pop_front()
    }
}
