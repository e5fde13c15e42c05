//! Health and readiness, for probes.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Problem, wrong_method};
use crate::outbox::Outbox;
use crate::telemetry::{Degradation, FaultKind, Health, fix_of_reads};
use crate::wire::{Alive, ProblemKind, Readiness, ReadinessStatus, StoreTrouble};

/// Where the router is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    Starting,
    Serving,
    Draining,
}

/// The sources of `/readyz`.
pub struct Vitals {
    phase: AtomicU8,
    health: Arc<Health>,
    /// Empty until the store could be read.
    outbox: OnceLock<Arc<Outbox>>,
}

impl Vitals {
    /// The vitals of a router that is starting.
    pub fn new(health: Arc<Health>) -> Self {
        Self { phase: AtomicU8::new(Phase::Starting as u8), health, outbox: OnceLock::new() }
    }

    /// The store could be read: readiness depends on this outbox, too.
    pub fn opened(&self, outbox: Arc<Outbox>) {
        // There is one store in a router's life.
        let _ = self.outbox.set(outbox);
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// What is degraded.
    pub fn health(&self) -> &Health {
        &self.health
    }

    fn readiness(&self) -> ReadinessStatus {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == Phase::Starting as u8 {
            ReadinessStatus::Starting
        } else if phase == Phase::Draining as u8 {
            ReadinessStatus::Draining
        } else if self.outbox.get().is_some_and(|outbox| outbox.is_full()) {
            ReadinessStatus::Full
        } else if self.health.reasons().next().is_some() {
            ReadinessStatus::Degraded
        } else {
            ReadinessStatus::Ready
        }
    }
}

/// `GET /healthz` and `GET /readyz`.
pub fn health_routes(vitals: Arc<Vitals>) -> Router {
    let routes: Router<_> = documented().into();
    routes.method_not_allowed_fallback(wrong_method).with_state(vitals)
}

/// Health, and 503 with this detail for all else: what is served when no more connections are, or not yet. LiveKit posts
/// again what is answered so.
pub fn health_alone(vitals: Arc<Vitals>, detail: &'static str) -> Router {
    let unavailable = move || std::future::ready(Problem::new(ProblemKind::Unavailable).detail(detail));
    health_routes(vitals).fallback(unavailable)
}

/// The same as [`health_routes`], described.
pub fn health_document() -> OpenApi {
    documented().into_openapi()
}

fn documented() -> OpenApiRouter<Arc<Vitals>> {
    OpenApiRouter::default().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the process runs.
#[utoipa::path(
    get, path = "/healthz", operation_id = "health", tag = "health", security(()),
    responses((status = 200, description = "It runs.", body = Alive))
)]
async fn healthz() -> Json<Alive> {
    Json(Alive { status: "ok".to_owned() })
}

/// Whether events can be acknowledged.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readiness", tag = "health", security(()),
    responses(
        (status = 200, description = "They can be, perhaps degraded.", body = Readiness),
        (status = 503, description = "They cannot be.", body = Readiness),
    )
)]
async fn readyz(State(vitals): State<Arc<Vitals>>) -> Response {
    let status = vitals.readiness();
    // 503 only while events cannot be acknowledged: taking the only router out of service for less would lose
    // calls' events.
    let code = match status {
        ReadinessStatus::Ready | ReadinessStatus::Degraded => StatusCode::OK,
        ReadinessStatus::Starting | ReadinessStatus::Draining | ReadinessStatus::Full => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let reasons = vitals.health.reasons().map(|reason| Degradation::as_str(reason).to_owned()).collect();
    let fix = match status {
        ReadinessStatus::Starting => FaultKind::fix_at_start,
        _ => FaultKind::fix,
    };
    let unreadable =
        || vitals.health.unreadable.now().map(|(kind, what)| trouble(kind, &what, fix_of_reads(kind)));
    let store = vitals.health.store_fault().map(|kind| trouble(kind, &[], fix(kind))).or_else(unreadable);
    let unwritten = vitals.outbox.get().map_or(0, |outbox| outbox.unwritten());
    (code, Json(Readiness { status, reasons, store, unwritten })).into_response()
}

fn trouble(kind: FaultKind, unreadable: &[&str], fix: &str) -> StoreTrouble {
    let unreadable = unreadable.iter().map(|what| (*what).to_owned()).collect();
    StoreTrouble { fault: kind.as_str().to_owned(), unreadable, fix: fix.to_owned() }
}
