//! What both doors share: problem details and health.

mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::json;

pub use self::peer::PeerAddress;

use crate::outbox::Outbox;
use crate::telemetry::{Degradation, Health};

/// An error as RFC 9457 problem details. What it says is for the caller: causes go to the log.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Problem {
    /// A problem of the kind `/problems/<kind>`.
    pub fn new(status: StatusCode, kind: &str, title: &'static str) -> Self {
        let kind = format!("/problems/{kind}");
        Self { kind, title, status: status.as_u16(), reason: None, detail: None }
    }

    /// Adds a reason for machines.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Adds a sentence for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // LiveKit waits as long as this header says, without a limit: one second.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

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
    outbox: Arc<Outbox>,
}

impl Vitals {
    /// The vitals of a router that is starting.
    pub fn new(health: Arc<Health>, outbox: Arc<Outbox>) -> Self {
        Self { phase: AtomicU8::new(Phase::Starting as u8), health, outbox }
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// What is degraded.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// 503 only while events cannot be acknowledged: taking the only router out of service for
    /// less would lose calls' events.
    fn readiness(&self) -> (StatusCode, &'static str) {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == Phase::Starting as u8 {
            (StatusCode::SERVICE_UNAVAILABLE, "starting")
        } else if phase == Phase::Draining as u8 {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if self.outbox.is_full() {
            (StatusCode::SERVICE_UNAVAILABLE, "full")
        } else if self.health.reasons().next().is_some() {
            (StatusCode::OK, "degraded")
        } else {
            (StatusCode::OK, "ready")
        }
    }
}

/// `GET /healthz` and `GET /readyz`.
pub fn health_routes(vitals: Arc<Vitals>) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/readyz", get(readyz))
        .with_state(vitals)
}

async fn readyz(State(vitals): State<Arc<Vitals>>) -> Response {
    let (code, status) = vitals.readiness();
    let reasons: Vec<_> = vitals.health.reasons().map(Degradation::as_str).collect();
    let body = json!({ "status": status, "reasons": reasons, "unwritten": vitals.outbox.unwritten() });
    (code, Json(body)).into_response()
}
