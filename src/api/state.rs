//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::guard::Guard;
use crate::access::Tokens;
use crate::dispatch::Handle;
use crate::hooks::{HookTable, Tenant};
use crate::http::Vitals;
use crate::outbox::Outbox;
use crate::telemetry::Metrics;
use crate::time::Clock;

/// What the handlers share.
pub struct Api {
    pub tokens: Arc<Tokens>,
    pub guard: Arc<Guard>,
    pub outbox: Arc<Outbox>,
    pub dispatch: Handle,
    pub metrics: Arc<Metrics>,
    pub vitals: Arc<Vitals>,
    pub clock: Clock,
    /// To the task that renews secrets.
    pub rotations: mpsc::Sender<Rotation>,
    /// `--metrics-open`: the metrics are served without a token.
    pub metrics_open: bool,
}

/// A store that does not answer must not hang its callers.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What looks through all that is kept may take longer; the commands wait for 20 s.
pub const LOOK_WITHIN: Duration = Duration::from_secs(9);

/// A tenant's derived secret is to be renewed.
pub struct Rotation {
    pub tenant: Tenant,
    /// The result: the new secret is in force, or why it is not.
    pub done: oneshot::Sender<Result<(), String>>,
}

impl Api {
    /// The hook table in force.
    pub fn table(&self) -> Arc<HookTable> {
        self.outbox.table()
    }
}
