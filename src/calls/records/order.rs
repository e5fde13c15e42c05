//! What is to be done besides deciding events: attempts settled, pauses, edits, replays, sweeps.

use std::sync::Arc;

use super::audit::AuditRecord;
use super::changes::{DigestPart, GivenUp, HistoryPart, PutRight, Replay, Settlement};
use super::sweep::Sweep;
use super::sweep::erasure::ErasePart;
use crate::hooks::Tenant;
use crate::ids::{DeliveryId, HookId};
use crate::registry::{HookChange, PausedBy};
use crate::time::UnixMillis;

/// An order.
#[derive(Clone, Debug)]
pub enum Order {
    Settle(Settlement),
    GiveUp(GivenUp),
    PutRight(PutRight),
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
    /// A part of the history of the database before is copied.
    CopyHistory(HistoryPart),
    /// What is derived from many events at once is stored.
    Digest(DigestPart),
    /// A tenant's data is to be erased: all that came before.
    BeginErasure {
        tenant: Tenant,
        at: UnixMillis,
    },
    /// A part of it is erased.
    Erase(Arc<ErasePart>),
    /// A tenant's derived secret is renewed.
    Rotate {
        tenant: Tenant,
        /// The number of the new one.
        generation: i64,
        at: UnixMillis,
    },
    /// A tenant's tokens that were issued before this time are refused.
    RevokeTenant {
        tenant: Tenant,
        at: UnixMillis,
    },
    /// A single token is refused.
    RevokeToken {
        jti: Box<str>,
        expires_at: UnixMillis,
        at: UnixMillis,
    },
    /// A request over the API is recorded.
    Audit(Arc<AuditRecord>),
    /// These are carried out in one transaction.
    Together(Arc<[Order]>),
    /// Dead letters, or delivered events whose bodies are kept, become pending again.
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
            Self::Edit(_)
            | Self::Sweep(_)
            | Self::CopyHistory(_)
            | Self::Digest(_)
            | Self::Erase(_)
            | Self::Revive { .. }
            | Self::Reroute { .. } => true,
            Self::Together(orders) => orders.iter().any(Self::is_long),
            Self::Settle(_)
            | Self::GiveUp(_)
            | Self::PutRight(_)
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::EndHold(_)
            | Self::BeginErasure { .. }
            | Self::Rotate { .. }
            | Self::RevokeTenant { .. }
            | Self::RevokeToken { .. }
            | Self::Audit(_) => false,
        }
    }

    /// Whether it begins or ends the pause of a hook.
    pub fn is_pause(&self) -> bool {
        match self {
            Self::Pause { .. } | Self::Resume { .. } => true,
            Self::Together(orders) => orders.iter().any(Self::is_pause),
            Self::Settle(_)
            | Self::GiveUp(_)
            | Self::PutRight(_)
            | Self::Edit(_)
            | Self::EndHold(_)
            | Self::Sweep(_)
            | Self::CopyHistory(_)
            | Self::Digest(_)
            | Self::BeginErasure { .. }
            | Self::Erase(_)
            | Self::Rotate { .. }
            | Self::RevokeTenant { .. }
            | Self::RevokeToken { .. }
            | Self::Audit(_)
            | Self::Revive { .. }
            | Self::Reroute { .. } => false,
        }
    }

    /// Whether it is asked for by an operator or a tenant, or can be repeated: refused while the store is away.
    pub fn is_request(&self) -> bool {
        match self {
            Self::Rotate { .. }
            | Self::RevokeTenant { .. }
            | Self::RevokeToken { .. }
            | Self::Audit(_)
            | Self::Together(_)
            | Self::CopyHistory(_)
            | Self::Digest(_)
            | Self::BeginErasure { .. }
            | Self::Erase(_)
            | Self::Revive { .. }
            | Self::Reroute { .. } => true,
            Self::Settle(_)
            | Self::GiveUp(_)
            | Self::PutRight(_)
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Edit(_)
            | Self::EndHold(_)
            | Self::Sweep(_) => false,
        }
    }
}
