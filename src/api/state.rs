//! What the handlers share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::guard::Guard;
use crate::access::Tokens;
use crate::dispatch::Handle;
use crate::hooks::{HookTable, Tenant};
use crate::http::Vitals;
use crate::ids::HookId;
use crate::outbox::Outbox;
use crate::telemetry::{Metrics, TenantBacklog};
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
