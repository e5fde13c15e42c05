//! What is to be done besides deciding events: attempts settled, pauses, edits, replays, sweeps.

use std::sync::Arc;

use super::changes::{Replay, Settlement};
use super::sweep::Sweep;
use crate::hooks::Tenant;
use crate::ids::{DeliveryId, HookId};
use crate::registry::{HookChange, PausedBy};
use crate::time::UnixMillis;

/// An order.
#[derive(Clone, Debug)]
pub enum Order {
    Settle(Settlement),
    Pause {
        hook: HookId,
        at: UnixMillis,
        by: PausedBy,
    },
    Resume {
        hook: HookId,
        at: UnixMillis,
    },
    /// Changes of the hook table.
    Edit(Arc<[HookChange]>),
    /// Events that have waited for their call long enough.
    EndHold(Vec<DeliveryId>),
    Sweep(Arc<Sweep>),
    /// A tenant's derived secret is renewed.
    Rotate {
        tenant: Tenant,
        at: UnixMillis,
    },
    /// Dead letters become pending again.
    Revive {
        replays: Vec<Replay>,
        at: UnixMillis,
    },
    /// The unrouted events of these sessions go through routing again.
    Reroute {
        sessions: Vec<Arc<str>>,
        at: UnixMillis,
    },
}

impl Order {
    /// Whether it keeps the store busy for a while.
    pub fn is_long(&self) -> bool {
        match self {
            Self::Edit(_) | Self::Sweep(_) | Self::Revive { .. } | Self::Reroute { .. } => true,
            Self::Settle(_)
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::EndHold(_)
            | Self::Rotate { .. } => false,
        }
    }
}
