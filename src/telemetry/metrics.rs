//! Prometheus metrics: every one a named function, every label set bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::health::{Degradation, Health};
use super::hour::LastHour;
use super::live::Broadcast;
use super::store_fault::FaultKind;
use super::traffic::TenantTraffic;
use crate::event;
use crate::route::{Reason, Rule};

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];
type TenantLabel = [(&'static str, String); 1];

/// What one tenant's lanes hold.
#[derive(Clone, Debug)]
pub struct TenantBacklog {
    pub tenant: String,
    pub pending: usize,
    pub oldest: Option<Duration>,
}

/// A tenant's name, and how many of something it has.
type TenantCount = (String, usize);

/// All metrics of one router.
pub struct Metrics {
    /// Who watches what is counted here, as it happens.
    pub live: Arc<Broadcast>,
    /// The last hour, for charts.
    pub hour: LastHour,
    registry: Registry,
    received: Family<Label, Counter>,
    duplicates: Counter,
    rejected: Family<Label, Counter>,
    routed: Family<Label, Counter>,
    unrouted: Family<Label, Counter>,
    lag: Histogram,
    acknowledged: Histogram,
    attempts: Family<Labels, Counter>,
    attempt: Histogram,
    delivery: Histogram,
    retries: Counter,
    in_flight: Family<Label, Gauge>,
    in_flight_limit: Family<Label, Gauge>,
    pending: Family<TenantLabel, Gauge>,
    oldest: Family<TenantLabel, Gauge<f64, std::sync::atomic::AtomicU64>>,
    paused: Family<TenantLabel, Gauge>,
    open: Family<TenantLabel, Gauge>,
    dead: Family<Label, Counter>,
    not_kept: Counter,
    damage: Family<Label, Counter>,
    unreadable: Family<Label, Counter>,
    hooks: Gauge,
    calls: Gauge,
    shared: Counter,
    domain_changes: Counter,
    held: Gauge,
    reloads: Family<Label, Counter>,
    degraded: Family<Label, Gauge>,
    store_fault: Family<Label, Gauge>,
    connections: Family<Label, Gauge>,
    refused: Family<Labels, Counter>,
    /// What each tenant uses.
    pub traffic: Arc<TenantTraffic>,
    stream_readers: Gauge,
    stream_lost: Counter,
}

/// Counts a connection while it is open.
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Milliseconds to minutes.
fn seconds() -> Histogram {
    let bounds = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
        600.0, 3600.0,
    ];
    Histogram::new(bounds)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            live: Arc::default(),
            hour: LastHour::default(),
            registry: Registry::with_prefix("switchhook"),
            received: Family::default(),
            duplicates: Counter::default(),
            rejected: Family::default(),
            routed: Family::default(),
            unrouted: Family::default(),
            lag: seconds(),
            acknowledged: seconds(),
            attempts: Family::default(),
            attempt: seconds(),
            delivery: seconds(),
            retries: Counter::default(),
            in_flight: Family::default(),
            in_flight_limit: Family::default(),
            pending: Family::default(),
            oldest: Family::default(),
            paused: Family::default(),
            open: Family::default(),
            dead: Family::default(),
            not_kept: Counter::default(),
            damage: Family::default(),
            unreadable: Family::default(),
            hooks: Gauge::default(),
            calls: Gauge::default(),
            shared: Counter::default(),
            domain_changes: Counter::default(),
            held: Gauge::default(),
            reloads: Family::default(),
            degraded: Family::default(),
            store_fault: Family::default(),
            connections: Family::default(),
            refused: Family::default(),
            traffic: Arc::default(),
            stream_readers: Gauge::default(),
            stream_lost: Counter::default(),
        };
        metrics.register();
        metrics.register_store();
        metrics.start_at_zero();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("events_received", "Verified events, by LiveKit's name", self.received.clone());
        all.register("events_duplicate", "Events whose id was stored already", self.duplicates.clone());
        all.register("events_rejected", "Posts that did not verify", self.rejected.clone());
        all.register("events_routed", "Events with a hook, by rule", self.routed.clone());
        all.register("events_unrouted", "Events without a hook, by reason", self.unrouted.clone());
        all.register(
            "livekit_lag_seconds",
            "createdAt to receipt. LiveKit's createdAt has whole seconds: 0 to 1 s of it is noise",
            self.lag.clone(),
        );
        all.register("ack_duration_seconds", "Receipt to answer", self.acknowledged.clone());
        all.register("attempts", "Attempts to deliver", self.attempts.clone());
        all.register("attempt_duration_seconds", "Length of one attempt", self.attempt.clone());
        all.register(
            "delivery_duration_seconds",
            "Receipt to 2xx; of what is sent again, from then",
            self.delivery.clone(),
        );
        all.register("retries", "Attempts after the first", self.retries.clone());
        all.register("attempts_in_flight", "Attempts that hold a place, by kind", self.in_flight.clone());
        all.register("attempts_in_flight_limit", "Places for them", self.in_flight_limit.clone());
        all.register("pending_deliveries", "Deliveries that wait", self.pending.clone());
        all.register("oldest_pending_seconds", "Age of the oldest of them", self.oldest.clone());
        all.register("hook_paused", "Hooks that are paused", self.paused.clone());
        all.register("breaker_open", "Hooks that failed five times in a row or more", self.open.clone());
        all.register("dead_letters", "Deliveries given up", self.dead.clone());
        all.register("hooks", "Hooks in force", self.hooks.clone());
        all.register("calls", "Calls that are bound to a hook and not finished", self.calls.clone());
        all.register(
            "calls_shared",
            "Calls in which participants of several tenants met",
            self.shared.clone(),
        );
        all.register(
            "domain_changes",
            "Called numbers that came with another domain than before",
            self.domain_changes.clone(),
        );
        all.register("events_held", "Events that wait for their call", self.held.clone());
        all.register("reloads", "Reloads of the hook table, by result", self.reloads.clone());
        self.register_router();
    }

    /// How the router itself is.
    fn register_router(&mut self) {
        let all = &mut self.registry;
        all.register("degraded", "1 while serving worse than it should", self.degraded.clone());
        all.register("store_fault", "1 while the store does not work, by kind", self.store_fault.clone());
        all.register("connections", "Open connections, by listener", self.connections.clone());
        all.register(
            "connections_refused",
            "Connections that were closed or turned away, by listener and reason",
            self.refused.clone(),
        );
        self.traffic.register(all);
        all.register("stream_readers", "Readers of the live stream", self.stream_readers.clone());
        all.register(
            "stream_lost",
            "Events left out of streams whose readers were slow",
            self.stream_lost.clone(),
        );
    }

    /// What the store keeps, and what of it is damaged.
    fn register_store(&mut self) {
        let all = &mut self.registry;
        all.register(
            "bodies_not_kept",
            "Delivered events of hooks with `keep` whose bodies are not kept: too many waited for the store",
            self.not_kept.clone(),
        );
        all.register("store_damage", "Damaged rows of the store that were met", self.damage.clone());
        let unreadable = "Looks into the store that failed while it took events";
        all.register("store_unreadable", unreadable, self.unreadable.clone());
    }

    /// Alerts need a series that exists from the start.
    fn start_at_zero(&self) {
        for name in event::NAMES.into_iter().chain(["other"]) {
            drop(self.received.get_or_create(&[("event", name)]));
        }
        for rule in Rule::ALL.iter().copied() {
            drop(self.routed.get_or_create(&[("rule", rule.as_str())]));
        }
        for result in ["ok", "failed"] {
            drop(self.reloads.get_or_create(&[("result", result)]));
        }
        for reason in Reason::ALL.iter().copied() {
            drop(self.unrouted.get_or_create(&[("reason", reason.as_str())]));
        }
    }

    /// A verified event came, `lag` after LiveKit made it.
    pub fn received(&self, event: &str, lag_ms: Option<i64>) {
        let name = event::NAMES.into_iter().find(|name| *name == event).unwrap_or("other");
        self.received.get_or_create(&[("event", name)]).inc();
        if let Some(lag_ms) = lag_ms {
            self.lag.observe(lag_ms as f64 / 1000.0);
        }
    }

    /// An event came again.
    pub fn duplicate(&self) {
        self.duplicates.inc();
    }

    /// A post did not verify.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    /// An event has a hook.
    pub fn routed(&self, rule: Rule) {
        self.routed.get_or_create(&[("rule", rule.as_str())]).inc();
    }

    /// An event has none.
    pub fn unrouted(&self, reason: Reason) {
        self.unrouted.get_or_create(&[("reason", reason.as_str())]).inc();
    }

    /// This many held events were not released in time.
    pub fn given_up(&self, count: usize) {
        self.unrouted.get_or_create(&[("reason", Reason::NoCall.as_str())]).inc_by(count as u64);
    }

    /// LiveKit was answered 200, `after` its post had come.
    pub fn acknowledged(&self, after: Duration) {
        self.acknowledged.observe(after.as_secs_f64());
    }

    /// An attempt ended. `outcome`: `delivered`, `failed`, or the fault's name.
    pub fn attempted(&self, outcome: &'static str, status: Option<u16>, latency: Duration, retry: bool) {
        let class = match status.map(|status| status / 100) {
            None => "none",
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
        };
        self.attempts.get_or_create(&[("outcome", outcome), ("status_class", class)]).inc();
        self.attempt.observe(latency.as_secs_f64());
        if retry {
            self.retries.inc();
        }
    }

    /// So many attempts hold places of a kind, `quick` or `slow`, of so many there are.
    pub fn in_flight(&self, kind: &'static str, count: usize, limit: usize) {
        for (family, value) in [(&self.in_flight, count), (&self.in_flight_limit, limit)] {
            family.get_or_create(&[("kind", kind)]).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// A delivery was accepted, `after` its event was received.
    pub fn delivered(&self, after: Duration) {
        self.delivery.observe(after.as_secs_f64());
    }

    /// A delivery was given up.
    pub fn dead(&self, reason: &'static str) {
        self.dead.get_or_create(&[("reason", reason)]).inc();
    }

    /// The body of a delivered event is not kept, although its hook asks for it.
    pub fn not_kept(&self) {
        self.not_kept.inc();
    }

    /// The hook table has this many hooks.
    pub fn hooks(&self, count: usize) {
        self.hooks.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Participants of another tenant joined a call.
    pub fn shared(&self) {
        self.shared.inc();
    }

    /// A called number came with another domain than before.
    pub fn domain_changed(&self) {
        self.domain_changes.inc();
    }

    /// So many events are held, and so many calls live.
    pub fn calls(&self, held: usize, calls: usize) {
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.calls.set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// The hooks file was read again: `ok` or `failed`.
    pub fn reloaded(&self, result: &'static str) {
        self.reloads.get_or_create(&[("result", result)]).inc();
    }

    /// A connection of this listener is open until what this gives is dropped.
    pub fn connection(&self, listener: &'static str) -> OpenConnection {
        let open = self.connections.get_or_create_owned(&[("listener", listener)]);
        open.inc();
        OpenConnection(open)
    }

    /// A connection of this listener was closed or turned away.
    pub fn connection_refused(&self, listener: &'static str, reason: &'static str) {
        self.refused.get_or_create(&[("listener", listener), ("reason", reason)]).inc();
    }

    /// The text of all metrics (OpenMetrics 1.0). `backlogs`, `paused` and `open` (breakers) have one entry per label.
    pub fn render(
        &self,
        health: &Health,
        backlogs: Vec<TenantBacklog>,
        paused: Vec<TenantCount>,
        open: Vec<TenantCount>,
    ) -> String {
        for degradation in Degradation::ALL {
            let on = health.is_on(degradation);
            self.degraded.get_or_create(&[("reason", degradation.as_str())]).set(i64::from(on));
        }
        for kind in FaultKind::ALL {
            let on = health.store_fault() == Some(kind);
            self.store_fault.get_or_create(&[("kind", kind.as_str())]).set(i64::from(on));
        }
        for (table, count) in health.damage.counts() {
            self.damage.get_or_create(&[("table", table)]).inner().store(count, Ordering::Relaxed);
        }
        for (kind, count) in health.unreadable.counts() {
            self.unreadable.get_or_create(&[("kind", kind)]).inner().store(count, Ordering::Relaxed);
        }
        self.stream_readers.set(i64::try_from(self.live.readers()).unwrap_or(i64::MAX));
        self.stream_lost.inner().store(self.live.lost(), Ordering::Relaxed);
        self.pending.clear();
        self.oldest.clear();
        for TenantBacklog { tenant, pending, oldest } in backlogs {
            let label = [("tenant", tenant)];
            self.pending.get_or_create(&label).set(i64::try_from(pending).unwrap_or(i64::MAX));
            self.oldest.get_or_create(&label).set(oldest.unwrap_or_default().as_secs_f64());
        }
        for (family, counts) in [(&self.paused, paused), (&self.open, open)] {
            family.clear();
            for (tenant, count) in counts {
                family.get_or_create(&[("tenant", tenant)]).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
