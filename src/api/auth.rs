//! Whose token a request bears. A handler that takes neither [`Bearer`] nor [`Operator`] has no scope, so it cannot
//! ask the store for anything.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::state::Api;
use crate::access::Bearer;
use crate::http::Problem;
use crate::wire::ProblemKind;

impl FromRequestParts<Arc<Api>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        api.guard.authenticate(parts, &api.tokens)
    }
}

/// The bearer of an operator's token.
pub struct Operator;

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let bearer = Bearer::from_request_parts(parts, api).await?;
        operators_only(&bearer).map(|()| Self)
    }
}

/// Refuses what concerns more than one tenant to a tenant's token.
pub fn operators_only(bearer: &Bearer) -> Result<(), Problem> {
    if bearer.scope.is_operator() { Ok(()) } else { Err(ProblemKind::ScopeTooSmall.into()) }
}

/// Proof that the metrics may be read: an operator's token, or `--metrics-open`.
pub struct MetricsReader;

impl FromRequestParts<Arc<Api>> for MetricsReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        if api.metrics_open {
            api.guard.seat(parts, None)?;
        } else {
            Operator::from_request_parts(parts, api).await?;
        }
        Ok(Self)
    }
}
