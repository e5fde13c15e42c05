//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::guard::Guard;
use super::hooks::Trials;
use super::problems::unavailable;
use crate::access::{Scope, Tokens};
use crate::dispatch::Handle;
use crate::hooks::Tenant;
use crate::http::{Problem, Vitals};
use crate::outbox::{StoreFault, Views};
use crate::telemetry::Metrics;
use crate::time::Clock;

/// What the handlers share.
pub struct Api {
    pub tokens: Arc<Tokens>,
    pub guard: Arc<Guard>,
    /// The store, within a scope.
    pub views: Views,
    pub dispatch: Handle,
    pub trials: Trials,
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

/// A tenant's derived secret is to be renewed. Made only for a scope that covers the tenant.
pub struct Rotation {
    pub tenant: Tenant,
    /// The result: the new secret is in force, or why it is not.
    pub done: oneshot::Sender<Result<(), String>>,
    _scoped: Scoped,
}

/// Proof that a scope was looked at.
struct Scoped;

impl Rotation {
    /// A renewal, and its result; none if the scope does not cover the tenant.
    pub fn new(scope: &Scope, tenant: &Tenant) -> Option<(Self, oneshot::Receiver<Result<(), String>>)> {
        let (done, rotated) = oneshot::channel();
        let rotation = Self { tenant: tenant.clone(), done, _scoped: Scoped };
        scope.sees(tenant.as_str()).then_some((rotation, rotated))
    }
}

impl Api {
    /// What the store answers.
    ///
    /// # Errors
    /// A problem if it answers with a fault, or not in time.
    pub async fn ask<T>(
        &self,
        within: Duration,
        asked: impl Future<Output = Result<T, StoreFault>>,
    ) -> Result<T, Problem> {
        let answer = self.clock.timeout(within, asked).await;
        answer.unwrap_or(Err(StoreFault::Slow)).map_err(|fault| unavailable(&fault))
    }
}
