//! Requests to the API need an operator's token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::state::Api;
use crate::access::Scope;
use crate::http::Problem;

/// Proof that the request is an operator's, and what that permits.
pub struct Operator(pub Scope);

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let bearer = token.map(|(_, token)| api.tokens.verify(token.trim(), api.clock.unix()));
        match bearer {
            Some(Ok(bearer)) if bearer.scope.is_operator() => Ok(Self(bearer.scope)),
            Some(_) | None => Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not signed in")
                .detail(
                    "Send the operator's token: Authorization: Bearer, with what operator.token in the \
                 data directory holds.",
                )),
        }
    }
}
