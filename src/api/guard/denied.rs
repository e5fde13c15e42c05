//! Answers to those who are not let in.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::Refused;
use crate::http::Problem;

/// Why a bearer is not let in, as it is answered.
#[derive(Debug)]
pub struct Denied {
    problem: Problem,
    /// Seconds to wait.
    retry_after: Option<u64>,
}

impl Denied {
    /// 401: the token does not verify.
    pub fn unauthorized(refused: Refused) -> Self {
        let detail = "Send a token of this API: Authorization: Bearer, with what operator.token in the data directory \
                      holds, or a token that `switchhook token` makes.";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not signed in");
        let problem = problem.reason(refused.as_str()).detail(detail);
        Self { problem, retry_after: None }
    }

    /// 429: one more may come after `wait`.
    pub fn too_often(wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let detail = format!("This comes too often. Send the next request in {seconds} s.");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests");
        let retry_after = Some(u64::try_from(seconds).unwrap_or(u64::MAX));
        Self { problem: problem.detail(detail), retry_after }
    }
}

impl From<Problem> for Denied {
    fn from(problem: Problem) -> Self {
        Self { problem, retry_after: None }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 says how to authenticate.
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
