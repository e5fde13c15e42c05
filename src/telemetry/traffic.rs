//! Counters of what each tenant uses. A counter must never go down, so a tenant that has a label keeps it as long as the
//! process runs, and one that got none stays in `other`.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::wire::UsageCounts;

/// Tenants that have a label of their own; the rest are `other`.
pub const TENANTS: usize = 100;

type Label = [(&'static str, String); 1];

/// What the table `usage` counts, since the process began.
pub struct TenantTraffic {
    events: Family<Label, Counter>,
    deliveries: Family<Label, Counter>,
    attempts: Family<Label, Counter>,
    bytes: Family<Label, Counter>,
    /// The tenants that have a label of their own, at most [`TENANTS`]; and `other`.
    named: RwLock<HashMap<String, Counters>>,
    other: Counters,
}

/// Those of one label.
#[derive(Clone)]
struct Counters {
    events: Counter,
    deliveries: Counter,
    attempts: Counter,
    bytes: Counter,
}

impl Default for TenantTraffic {
    fn default() -> Self {
        let family = Family::<Label, Counter>::default;
        let (events, deliveries, attempts, bytes) = (family(), family(), family(), family());
        let other = Counters::of([&events, &deliveries, &attempts, &bytes], "other");
        Self { events, deliveries, attempts, bytes, named: RwLock::default(), other }
    }
}

impl Counters {
    fn of(families: [&Family<Label, Counter>; 4], tenant: &str) -> Self {
        let of =
            |family: &Family<Label, Counter>| family.get_or_create_owned(&[("tenant", tenant.to_owned())]);
        let [events, deliveries, attempts, bytes] = families.map(of);
        Self { events, deliveries, attempts, bytes }
    }

    fn add(&self, counts: UsageCounts) {
        let UsageCounts { events, deliveries, attempts, bytes } = counts;
        let all = [
            (&self.events, events),
            (&self.deliveries, deliveries),
            (&self.attempts, attempts),
            (&self.bytes, bytes),
        ];
        for (counter, more) in all {
            counter.inc_by(u64::try_from(more).unwrap_or(0));
        }
    }
}

impl TenantTraffic {
    /// Registers the counters.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tenant_events",
            "Events of a tenant, counted some seconds after they came",
            self.events.clone(),
        );
        registry.register("tenant_deliveries", "Of these, answered 2xx", self.deliveries.clone());
        registry.register("tenant_attempts", "Attempts to deliver them", self.attempts.clone());
        registry.register("tenant_bytes", "Bytes of their bodies as LiveKit sent them", self.bytes.clone());
    }

    /// Gives these tenants labels, as far as there are some.
    pub fn name(&self, tenants: &[String]) {
        tenants.iter().for_each(|tenant| drop(self.named(tenant)));
    }

    /// Adds to the counters of a tenant.
    pub fn add(&self, tenant: &str, counts: UsageCounts) {
        let known = self.named.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        known.unwrap_or_else(|| self.named(tenant)).add(counts);
    }

    /// The counters of a tenant: its own, if it has a label or there is one left for it.
    fn named(&self, tenant: &str) -> Counters {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = named.get(tenant) {
            return known.clone();
        }
        // A tenant may have this name.
        if named.len() >= TENANTS || tenant == "other" {
            return self.other.clone();
        }
        let counters = Counters::of([&self.events, &self.deliveries, &self.attempts, &self.bytes], tenant);
        named.insert(tenant.to_owned(), counters.clone());
        counters
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_first_hundred_tenants_have_labels_and_no_counter_goes_down() {
        let (traffic, mut registry) = (TenantTraffic::default(), Registry::default());
        traffic.register(&mut registry);
        let told = |line: &str| {
            let mut text = String::new();
            encode(&mut text, &registry).expect("text");
            text.lines().any(|told| told == line)
        };
        assert!(told("tenant_events_total{tenant=\"other\"} 0"));
        traffic.name(&["large".to_owned()]);
        let counts = UsageCounts { events: 2, deliveries: 1, attempts: 3, bytes: 40 };
        (0..TENANTS + 9).for_each(|n| traffic.add(&format!("t{n}"), counts));
        traffic.add("large", counts);
        traffic.add("other", counts);
        for line in [
            "tenant_events_total{tenant=\"large\"} 2",
            "tenant_deliveries_total{tenant=\"t0\"} 1",
            "tenant_attempts_total{tenant=\"t98\"} 3",
            "tenant_bytes_total{tenant=\"other\"} 440",
        ] {
            assert!(told(line), "{line}");
        }
        assert!(!told("tenant_events_total{tenant=\"t99\"} 2"));
        traffic.add("t0", UsageCounts { events: -1, ..UsageCounts::default() });
        assert!(told("tenant_events_total{tenant=\"t0\"} 2"));
    }
}
