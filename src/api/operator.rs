//! Requests to the API need an operator's token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::guard::Denied;
use super::state::Api;
use crate::http::Problem;

/// Proof that the request is an operator's.
pub struct Operator;

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Denied> {
        let bearer = api.guard.authenticate(parts, &api.tokens)?;
        if bearer.scope.is_operator() {
            return Ok(Self);
        }
        let detail = "This needs an operator's token.";
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not permitted").detail(detail).into())
    }
}
