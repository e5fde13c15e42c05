//! Whose token a request bears. A handler that takes neither [`Bearer`] nor [`Operator`] has no scope, so it cannot
//! ask the store for anything.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::guard::bearer_token;
use super::state::Api;
use crate::access::{Bearer, Refused};
use crate::http::Problem;
use crate::wire::ProblemKind;

impl FromRequestParts<Arc<Api>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        api.guard.authenticate(parts, &api.tokens)
    }
}

/// The bearer of a token that is verified again and again, for an answer that goes on.
pub struct LastingBearer {
    pub bearer: Bearer,
    token: String,
    /// `Tokens::changes` before the token was last verified.
    changes: u64,
}

impl FromRequestParts<Arc<Api>> for LastingBearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let changes = api.tokens.changes();
        let bearer = Bearer::from_request_parts(parts, api).await?;
        Ok(Self { bearer, token: bearer_token(&parts.headers).unwrap_or_default().to_owned(), changes })
    }
}

impl LastingBearer {
    /// Whether the token is still accepted.
    ///
    /// # Errors
    /// [`Refused`], with the reason.
    pub fn check(&mut self, api: &Api) -> Result<(), Refused> {
        self.changes = api.tokens.changes();
        api.tokens.verify(&self.token, api.clock.unix()).map(drop)
    }

    /// The same, cheaply: the token is verified only if secrets or revocations have changed since it last was. That it
    /// has expired is not noticed.
    ///
    /// # Errors
    /// [`Refused`], with the reason.
    pub fn check_if_changed(&mut self, api: &Api) -> Result<(), Refused> {
        if api.tokens.changes() == self.changes { Ok(()) } else { self.check(api) }
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
