//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use tokio::sync::{mpsc, oneshot};

use super::guard::{Guard, RecordedRefusals};
use super::hooks::Trials;
use super::problems::StoreFaults;
use crate::access::{Scope, Tokens};
use crate::dispatch::Handle;
use crate::http::{Problem, Vitals};
use crate::outbox::{AuditOf, StoreFault, Views};
use crate::registry::{EditRefusal, EditRequest, Edited};
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
    /// How often refused attempts are recorded.
    pub refusals: RecordedRefusals,
    /// How often the log says that the store fails.
    pub store_faults: StoreFaults,
    pub metrics: Arc<Metrics>,
    pub vitals: Arc<Vitals>,
    pub clock: Clock,
    /// To the task that edits the hook table.
    pub edits: mpsc::Sender<HookRequest>,
    /// `--metrics-open`: the metrics are served without a token.
    pub metrics_open: bool,
}

/// A store that does not answer must not hang its callers.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What looks through all that is kept may take longer; the commands wait for 20 s.
pub const LOOK_WITHIN: Duration = Duration::from_secs(9);

/// The hook table is to be edited. Carried out to its end also if the caller stops waiting.
pub struct HookRequest {
    pub scope: Scope,
    pub edit: EditRequest,
    /// Makes the record for the audit log.
    pub audit: Option<AuditOf>,
    pub done: oneshot::Sender<EditAnswer>,
}

/// The edit is in force, or it is refused, or the store cannot do it now.
pub type EditAnswer = Result<Result<Edited, EditRefusal>, StoreFault>;

/// For what is read of a request within a time.
impl FromRef<Arc<Api>> for Clock {
    fn from_ref(api: &Arc<Api>) -> Self {
        api.clock.clone()
    }
}

impl Api {
    /// Has the hook table edited: when this returns, the edit is stored and in force for the next event.
    ///
    /// # Errors
    /// A problem when the store is away or closed, or does not answer in time; then it may still be made.
    pub async fn edit(
        &self,
        scope: &Scope,
        edit: EditRequest,
        audit: Option<AuditOf>,
    ) -> Result<Result<Edited, EditRefusal>, Problem> {
        let (done, answer) = oneshot::channel();
        let request = HookRequest { scope: scope.clone(), edit, audit, done };
        let asking = async {
            self.edits.send(request).await.ok()?;
            answer.await.ok()
        };
        let answer = match self.clock.timeout(ANSWER_WITHIN, asking).await {
            Ok(answer) => answer.unwrap_or(Err(StoreFault::Closed)),
            // Also while the store is away: it may have begun.
            Err(_) => Err(StoreFault::Slow),
        };
        answer.map_err(|fault| self.store_faults.problem(&fault, self.clock.now()))
    }

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
        answer
            .unwrap_or(Err(StoreFault::Slow))
            .map_err(|fault| self.store_faults.problem(&fault, self.clock.now()))
    }
}
