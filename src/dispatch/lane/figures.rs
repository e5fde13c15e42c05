//! What waits in a lane, for metrics and limits.

use crate::ids::DeliveryId;

/// Figures of one lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneFigures {
    /// Deliveries that are not done.
    pub pending: usize,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// The one of them that came first.
    pub oldest: Option<DeliveryId>,
    pub paused: bool,
    /// Its breaker is open.
    pub open: bool,
}
