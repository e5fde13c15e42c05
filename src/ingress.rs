//! LiveKit's door: a verified event in, an answer within a second out, whatever is broken behind.

mod keys;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::Semaphore;

pub use self::keys::{KeyRing, Keys};
pub use self::verify::{check_hash, check_token};

use self::verify::{Refusals, Verified};
use crate::domain::Domain;
use crate::hooks::Tenant;
use crate::http::Problem;
use crate::outbox::{Fate, Full, Outbox, Post, Receipt, Received, report_released};
use crate::route::{Door, Reason};
use crate::telemetry::Metrics;
use crate::time::{Clock, Moment};

/// How much the door takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one body.
    pub body: usize,
    /// Bytes of all bodies that are being read or stored.
    pub bodies: usize,
    /// A body must have arrived within this time.
    pub read_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 1 << 20, bodies: 64 << 20, read_within: Duration::from_secs(10) }
    }
}

/// What the handlers share.
pub struct Ingress {
    keys: Arc<KeyRing>,
    outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    clock: Clock,
    limits: Limits,
    /// KiB of bodies that may still come in.
    room: Arc<Semaphore>,
    /// The same of what tenants' own LiveKits post: it must not take the platform's.
    tenants_room: Arc<Semaphore>,
    refusals: Refusals,
    /// When the table was last searched for similar hosts.
    searched: Mutex<Option<Moment>>,
}

impl Ingress {
    /// The door, closed until its routes are served.
    pub fn new(
        keys: Arc<KeyRing>,
        outbox: Arc<Outbox>,
        metrics: Arc<Metrics>,
        clock: Clock,
        limits: Limits,
    ) -> Self {
        let room = Arc::new(Semaphore::new(limits.bodies / 1024));
        let tenants_room = Arc::new(Semaphore::new(limits.bodies / 1024 / 4));
        let refusals = Refusals::new(clock.clone());
        Self {
            keys,
            outbox,
            metrics,
            clock,
            limits,
            room,
            tenants_room,
            refusals,
            searched: Mutex::default(),
        }
    }

    /// `POST /webhook` and `POST /webhook/livekit`; `POST /webhook/livekit/{tenant}`.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/webhook", post(receive))
            .route("/webhook/", post(receive))
            .route("/webhook/livekit", post(receive))
            .route("/webhook/livekit/", post(receive))
            .route("/webhook/livekit/{tenant}", post(receive))
            .route("/webhook/livekit/{tenant}/", post(receive))
            .method_not_allowed_fallback(wrong_method)
            .fallback(not_found)
            .with_state(self)
    }
}

/// LiveKit takes a 404 for delivered: a mistyped URL must not go unseen.
async fn not_found(State(ingress): State<Arc<Ingress>>, uri: Uri) -> Problem {
    ingress.metrics.rejected("not_found");
    ingress.refusals.note("not_found", Some(uri.path()));
    let detail = "LiveKit posts to /webhook, /webhook/livekit or /webhook/livekit/{tenant}.";
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Nothing is here").detail(detail)
}

async fn wrong_method() -> Problem {
    let detail = "LiveKit posts its events.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Only POST").detail(detail)
}

async fn receive(State(ingress): State<Arc<Ingress>>, verified: Verified) -> Response {
    let Verified { body, hash, issuer, door, came, room } = verified;
    let received_at = ingress.clock.unix();
    let post = Post::read(Received { body, hash, issuer, received_at, came, door });
    let appended = ingress.outbox.append(post).await;
    drop(room);
    match appended {
        Ok(receipt) => {
            ingress.metrics.acknowledged(ingress.clock.now().since(came));
            ingress.report(&receipt);
            StatusCode::OK.into_response()
        }
        Err(Full) => {
            ingress.metrics.rejected("unavailable");
            ingress.refusals.note("unavailable", None);
            let title = "Try again in a second";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title).into_response()
        }
    }
}

impl Ingress {
    /// The known hosts most like the one dialled. A search through a large table is for one line a
    /// second: the others say the rest.
    fn nearest(&self, receipt: &Receipt) -> Option<Vec<String>> {
        let (domain, table, now) = (receipt.domain.as_ref()?, self.outbox.table(), self.clock.now());
        if table.len() > LARGE_TABLE {
            let mut last = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| now.since(last) < Duration::from_secs(1)) {
                return None;
            }
            *last = Some(now);
        }
        Some(table.nearest(domain)).filter(|nearest| !nearest.is_empty())
    }

    /// One line per event, and its counters.
    fn report(&self, receipt: &Receipt) {
        let nearest = match receipt.fate {
            Fate::Unrouted(Reason::NoHook) => self.nearest(receipt),
            _ => None,
        };
        report(&self.metrics, receipt, nearest);
        if let Some(change) = &receipt.domain_changed {
            self.metrics.domain_changed();
            // An extension such as 200 may belong to many: it would fill the log.
            if let Some(suppressed) = self.refusals.admit("domain_changed") {
                let suppressed = (suppressed > 0).then_some(suppressed);
                tracing::warn!(
                    event_id = receipt.event_id.as_str(),
                    call = change.call.as_deref(),
                    number = &*change.number,
                    domain = &*change.domain,
                    tenant = change.tenant.as_deref(),
                    before_domain = &*change.before_domain,
                    before_tenant = change.before_tenant.as_deref(),
                    suppressed,
                    "domain_changed"
                );
            }
        }
    }
}

impl Ingress {
    /// The door a path leads to, and the tenant's own keys, if nothing else verifies there; none: to a
    /// tenant nobody knows.
    fn door(&self, path: &str) -> Option<(Door, Option<KeyRing>)> {
        let name = path.strip_prefix("/webhook/livekit/").map(|name| name.trim_end_matches('/'));
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Some((Door::Platform, None)) };
        let (tenant, table) = (Tenant::new(name)?, self.outbox.table());
        let mut own = Keys::default();
        table.keys_of(&tenant).for_each(|pair| own.insert(&pair.key, &pair.secret.0));
        let own = (!own.is_empty()).then(|| KeyRing::new(&own));
        let known = table.knows(&tenant);
        known.then(|| (Door::Tenant { tenant, own_key: own.is_some() }, own))
    }
}

/// More hosts than this are not searched for every unrouted event.
const LARGE_TABLE: usize = 1000;

fn report(metrics: &Metrics, receipt: &Receipt, nearest: Option<Vec<String>>) {
    metrics.received(&receipt.event, receipt.lag_ms);
    // Absent where it is as usual: a line says `durable=false` only while the store is away.
    let durable = (!receipt.durable).then_some(false);
    macro_rules! line {
        ($level:ident, $message:literal $(, $($extra:tt)*)?) => {
            tracing::$level!(
                event_id = receipt.event_id.as_str(),
                event = &*receipt.event,
                room = receipt.room.as_deref(),
                call = receipt.call.as_deref(),
                who = receipt.identity.as_deref(),
                domain = receipt.domain.as_ref().map(|domain| domain.as_str()),
                source = receipt.source,
                $($($extra)*)?
                lag_ms = receipt.lag_ms,
                durable,
                $message
            )
        };
    }
    report_call(metrics, receipt);
    match &receipt.fate {
        Fate::Routed(delivery) => {
            metrics.routed(delivery.rule);
            let (rule, tenant) = (delivery.rule.as_str(), delivery.hook.tenant.as_str());
            line!(info, "received", rule, tenant, sequence = delivery.sequence,);
        }
        // Rooms without a phone call are ordinary: no warning.
        Fate::Unrouted(Reason::Held) => line!(info, "held"),
        Fate::Unrouted(reason @ (Reason::NoCall | Reason::Filtered)) => {
            metrics.unrouted(*reason);
            line!(info, "received", reason = reason.as_str(),);
        }
        Fate::Unrouted(reason) => {
            metrics.unrouted(*reason);
            let value = receipt.value.as_deref();
            let fix = reason.advice(None, receipt.domain.as_ref().map(Domain::as_str));
            let nearest = nearest.map(tracing::field::debug);
            line!(warn, "unrouted", reason = reason.as_str(), value, nearest, fix,);
        }
        Fate::Duplicate => {
            metrics.duplicate();
            line!(info, "duplicate");
        }
        // It is logged again when it is decided.
        Fate::Undecided => line!(warn, "undecided"),
    }
}

/// What an event did to its call.
fn report_call(metrics: &Metrics, receipt: &Receipt) {
    // What waited for its call goes first, as it came first.
    receipt.released.iter().for_each(|released| report_released(released, metrics, "released"));
    if let Some(other) = &receipt.shared_with {
        metrics.shared();
        tracing::warn!(
            call = receipt.call.as_deref(),
            other = &**other,
            "shared call: another tenant's participant joined it; each gets its own participants' events"
        );
    }
}
