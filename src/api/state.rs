//! What the handlers share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::access::{Scope, Tokens};
use crate::dispatch::Handle;
use crate::hooks::HookTable;
use crate::http::Vitals;
use crate::ids::HookId;
use crate::outbox::{AuditOf, Outbox, StoreFault};
use crate::registry::{EditRefusal, Edited, HookEdit};
use crate::telemetry::{Metrics, TenantBacklog};
use crate::time::Clock;

/// What the handlers share.
pub struct Api {
    pub tokens: Tokens,
    pub outbox: Arc<Outbox>,
    pub dispatch: Handle,
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
    pub edit: HookEdit,
    /// Makes the record for the audit log.
    pub audit: Option<AuditOf>,
    pub done: oneshot::Sender<HookAnswer>,
}

/// The edit is in force, or it is refused, or the store cannot do it now.
pub type HookAnswer = Result<Result<Edited, EditRefusal>, StoreFault>;

impl Api {
    /// The hook table in force.
    pub fn table(&self) -> Arc<HookTable> {
        self.outbox.table()
    }

    /// Has the hook table edited: when this returns, the edit is stored and in force for the next event.
    ///
    /// # Errors
    /// When the store is away, closed, or does not answer in time; then it may still be made.
    pub async fn edit(&self, scope: Scope, edit: HookEdit, audit: Option<AuditOf>) -> HookAnswer {
        let (done, answer) = oneshot::channel();
        let asking = async {
            self.edits.send(HookRequest { scope, edit, audit, done }).await.ok()?;
            answer.await.ok()
        };
        match self.clock.timeout(ANSWER_WITHIN, asking).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(StoreFault::Closed),
            Err(_) if self.outbox.is_away() => Err(StoreFault::Away),
            Err(_) => Err(StoreFault::Slow),
        }
    }

    /// What waits for each tenant, and for how long.
    pub async fn backlogs(&self) -> Vec<TenantBacklog> {
        let pending = self.clock.timeout(ANSWER_WITHIN, self.dispatch.pending()).await.unwrap_or_default();
        let waiting = pending.iter().filter(|(_, count)| *count > 0).map(|(hook, _)| *hook).collect();
        let oldest = self.clock.timeout(ANSWER_WITHIN, self.outbox.oldest(waiting)).await;
        let oldest: HashMap<_, _> = match oldest {
            Ok(Ok(oldest)) => oldest.into_iter().collect(),
            // The counts alone are better than no metrics.
            Ok(Err(_)) | Err(_) => HashMap::new(),
        };
        let now = self.clock.unix();
        let mut tenants: HashMap<String, TenantBacklog> = HashMap::new();
        for (hook, count) in pending {
            let tenant = self.tenant_of(hook);
            let oldest = oldest.get(&hook).map(|received| now.since(*received));
            let backlog =
                tenants.entry(tenant.clone()).or_insert(TenantBacklog { tenant, pending: 0, oldest });
            backlog.pending += count;
            backlog.oldest = backlog.oldest.max(oldest);
        }
        tenants.into_values().collect()
    }

    fn tenant_of(&self, hook: HookId) -> String {
        self.table().by_id(hook).map_or_else(|| "other".to_owned(), |hook| hook.tenant.to_string())
    }
}
