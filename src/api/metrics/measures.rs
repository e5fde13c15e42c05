//! What the metrics say: counted when they are asked for.

use std::collections::HashMap;

use crate::api::state::{ANSWER_WITHIN, Api};
use crate::dispatch::TenantFigures;
use crate::hooks::Tenant;
use crate::telemetry::{TENANTS, TenantBacklog};

impl Api {
    /// The text of all metrics.
    pub async fn measured(&self) -> String {
        // The store counts while the dispatcher does.
        let counting = self.clock.timeout(ANSWER_WITHIN, self.views.counts());
        let summing = self.clock.timeout(ANSWER_WITHIN, self.dispatch.largest(TENANTS));
        let (counted, largest) = tokio::join!(counting, summing);
        if let Ok(Ok((held, calls))) = counted {
            self.metrics.calls(held, calls);
        }
        let largest = largest.unwrap_or_default();
        let paused = largest.paused.iter().map(|one| (label(one), one.paused)).collect();
        let open = largest.open.iter().map(|one| (label(one), one.open)).collect();
        self.metrics.render(self.vitals.health(), self.aged(largest.waiting).await, paused, open)
    }

    /// What waits, and for how long: the store knows when the oldest came.
    async fn aged(&self, waiting: Vec<TenantFigures>) -> Vec<TenantBacklog> {
        let ids = waiting.iter().filter_map(|waiting| waiting.oldest).collect();
        let received = self.clock.timeout(ANSWER_WITHIN, self.views.received(ids)).await;
        let received: HashMap<_, _> = match received {
            Ok(Ok(received)) => received.into_iter().collect(),
            // The counts alone are better than no metrics.
            Ok(Err(_)) | Err(_) => HashMap::new(),
        };
        let now = self.clock.unix();
        let backlog = |waiting: &TenantFigures| {
            let received = waiting.oldest.and_then(|oldest| received.get(&oldest));
            let oldest = received.map(|received| now.since(*received));
            TenantBacklog { tenant: label(waiting), pending: waiting.pending, oldest }
        };
        waiting.iter().map(backlog).collect()
    }
}

fn label(figures: &TenantFigures) -> String {
    figures.tenant.as_ref().map_or("other", Tenant::as_str).to_owned()
}
