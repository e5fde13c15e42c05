//! Answers of several handlers that are no success; the pages that explain every kind.

use std::time::Duration;

use axum::http::{HeaderName, Uri, header};

use super::input::Segment;
use crate::http::Problem;
use crate::outbox::StoreFault;
use crate::telemetry::Seldom;
use crate::time::Moment;
use crate::wire::ProblemKind;

/// What was asked for is not here.
pub fn not_found(detail: &str) -> Problem {
    Problem::new(ProblemKind::NotFound).detail(detail)
}

/// Says in the log why the store did not do what was asked: each way at a limited rate, however often it is asked.
#[derive(Debug)]
pub struct StoreFaults {
    away: Seldom,
    slow: Seldom,
    unreadable: Seldom,
}

/// Each way in which the store fails is logged this often.
const SAY_AGAIN: Duration = Duration::from_secs(10);

impl Default for StoreFaults {
    fn default() -> Self {
        let [away, slow, unreadable] = [(); 3].map(|()| Seldom::new(SAY_AGAIN));
        Self { away, slow, unreadable }
    }
}

impl StoreFaults {
    /// The store cannot do it now; the cause is logged, not shown.
    pub fn problem(&self, error: &StoreFault, now: Moment) -> Problem {
        let (kind, detail) = match error {
            StoreFault::Away => {
                if let Some(suppressed) = self.away.suppressed(now) {
                    tracing::warn!(%error, suppressed, "refused");
                }
                let detail = "The store takes nothing at the moment, so this was not done. The router asks the store again \
                              four times a second; repeat this when /readyz says ready.";
                (ProblemKind::StoreAway, detail)
            }
            StoreFault::Slow => {
                if let Some(suppressed) = self.slow.suppressed(now) {
                    tracing::error!(%error, suppressed, "the store does not answer");
                }
                let detail = "The store has not answered in time. A change that was asked for may still be made: look \
                              before you repeat it.";
                (ProblemKind::StoreSlow, detail)
            }
            StoreFault::Engine(..)
            | StoreFault::Io(_)
            | StoreFault::Version { .. }
            | StoreFault::Damaged(_)
            | StoreFault::Unreadable { .. }
            | StoreFault::Closed => {
                if let Some(suppressed) = self.unreadable.suppressed(now) {
                    tracing::error!(%error, suppressed, "the store cannot be read");
                }
                (ProblemKind::StoreUnreadable, "The router's log names the cause.")
            }
        };
        Problem::new(kind).detail(detail)
    }
}

/// Nothing is served at this path.
pub async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(ProblemKind::UnknownPath).detail(format!("{} is no path of this API.", uri.path()))
}

/// What a kind of problem means, and what to do about it.
#[utoipa::path(
    get, path = "/problems/{kind}", operation_id = "explainProblem", tag = "description", security(()),
    params(("kind" = String, Path, description = "The last part of a problem's `type`.", example = "not-found")),
    responses((status = 200, description = "A page of text.", body = String, content_type = "text/plain"))
)]
pub async fn page(Segment(kind): Segment) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let kind = ProblemKind::named(&kind).ok_or_else(|| not_found("There is no such kind of problem."))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], kind.page()))
}
