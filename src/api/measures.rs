//! What the metrics say of each tenant: what waits, for how long, and what is paused.

use std::collections::HashMap;

use super::state::{ANSWER_WITHIN, Api};
use crate::dispatch::HookBacklog;
use crate::ids::{DeliveryId, HookId};
use crate::telemetry::{ByTenant, TenantBacklog};

/// The tenant of hooks that are gone.
const NOBODY: &str = "other";

impl Api {
    /// The text of all metrics.
    pub async fn measured(&self) -> String {
        // The store counts while the dispatcher does.
        let counting = self.clock.timeout(ANSWER_WITHIN, self.outbox.counts());
        let (counted, backlogs) = tokio::join!(counting, self.backlogs());
        if let Ok(Ok((held, calls))) = counted {
            self.metrics.calls(held, calls);
        }
        self.metrics.render(self.vitals.health(), backlogs, self.paused())
    }

    /// What waits for each tenant, and for how long; the tenants with the most.
    async fn backlogs(&self) -> Vec<TenantBacklog> {
        let pending = self.clock.timeout(ANSWER_WITHIN, self.dispatch.pending()).await.unwrap_or_default();
        let waiting = self.by_tenant(&pending);
        // Only of those that are shown the store is asked when they came.
        let ids = waiting.iter().filter_map(|(_, waiting)| waiting.oldest).collect();
        let received = self.clock.timeout(ANSWER_WITHIN, self.outbox.received(ids)).await;
        let received: HashMap<_, _> = match received {
            Ok(Ok(received)) => received.into_iter().collect(),
            // The counts alone are better than no metrics.
            Ok(Err(_)) | Err(_) => HashMap::new(),
        };
        let now = self.clock.unix();
        let backlog = |(tenant, waiting): (String, Waiting)| {
            let received = waiting.oldest.and_then(|oldest| received.get(&oldest));
            TenantBacklog {
                tenant,
                pending: waiting.pending,
                oldest: received.map(|received| now.since(*received)),
            }
        };
        waiting.into_iter().map(backlog).collect()
    }

    fn by_tenant(&self, pending: &[HookBacklog]) -> Vec<(String, Waiting)> {
        let table = self.table();
        let mut tenants = ByTenant::new(Waiting::with);
        for HookBacklog { hook, pending, oldest } in pending {
            let tenant = table.by_id(*hook).map_or(NOBODY, |hook| hook.tenant.as_str());
            tenants.add(tenant, Waiting { pending: *pending, oldest: *oldest });
        }
        tenants.largest(|waiting| waiting.pending)
    }

    /// How many hooks of each tenant are paused; the tenants with the most.
    fn paused(&self) -> Vec<(String, usize)> {
        let table = self.table();
        // A removed hook is paused no more, whatever still waits for it.
        let in_force = |id: HookId| {
            let hook = table.by_id(id)?;
            table.by_host(&hook.host).filter(|current| current.id == id)
        };
        let mut tenants = ByTenant::new(|all: &mut usize, one| *all += one);
        for hook in self.outbox.paused().into_iter().filter_map(in_force) {
            tenants.add(hook.tenant.as_str(), 1);
        }
        tenants.largest(|paused| *paused)
    }
}

/// What waits for a tenant.
#[derive(Clone, Copy)]
struct Waiting {
    pending: usize,
    oldest: Option<DeliveryId>,
}

impl Waiting {
    fn with(&mut self, other: Self) {
        self.pending += other.pending;
        // Ids rise with the time of arrival.
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
    }
}
