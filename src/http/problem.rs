//! Problem details as answers.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::wire::{FieldFault, ProblemDetails, ProblemKind};

/// An error as RFC 9457 problem details. What it says is for the caller: causes go to the log.
#[derive(Clone, Debug)]
pub struct Problem {
    // Boxed: every handler's result would be as large.
    details: Box<ProblemDetails>,
    /// A header of the answer.
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind) -> Self {
        Self { details: Box::new(kind.details()), header: None }
    }

    /// Adds a reason for machines.
    #[must_use]
    pub fn reason(mut self, reason: &str) -> Self {
        self.details.reason = Some(reason.to_owned());
        self
    }

    /// Adds a sentence for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.detail = Some(detail.into());
        self
    }

    /// Adds what is wrong with the fields of the request.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldFault>) -> Self {
        self.details.errors = errors;
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.header = Some((name, value.into()));
        self
    }
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        Self::new(kind)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&*self.details)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // LiveKit waits as long as this header says, without a limit: one second.
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        headers.extend(self.header);
        response
    }
}

/// The path exists, but not for this method.
pub async fn wrong_method() -> Problem {
    ProblemKind::MethodNotAllowed.into()
}
