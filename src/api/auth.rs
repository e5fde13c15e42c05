//! Whose token a request bears. A handler that takes neither [`Bearer`] nor [`Operator`] has no scope, so it cannot
//! ask the store for anything.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use super::state::Api;
use crate::access::{Bearer, Refused};
use crate::http::Problem;
use crate::wire::ProblemKind;

impl FromRequestParts<Arc<Api>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers).unwrap_or_default();
        api.tokens.verify(token, api.clock.unix()).map_err(refusal)
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
        if !api.metrics_open {
            Operator::from_request_parts(parts, api).await?;
        }
        Ok(Self)
    }
}

/// The token behind `Bearer` (RFC 6750 §2.1).
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refusal(refused: Refused) -> Problem {
    let detail = "Send a token of this API: Authorization: Bearer, with what operator.token in the data directory \
                  holds, or with the token that the operator gave you.";
    // RFC 9110 §11.6.1: a 401 says how to authenticate.
    Problem::new(ProblemKind::Unauthorized)
        .reason(refused.as_str())
        .detail(detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_follows_bearer() {
        let token = |value: &str| {
            let value = value.parse().expect("a header");
            bearer_token(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])).map(str::to_owned)
        };
        assert_eq!(token("Bearer  abc "), Some("abc".to_owned()));
        assert_eq!(token("bearer abc"), Some("abc".to_owned()));
        assert_eq!([token("abc"), token("Basic abc"), token("Bearer")], [None, None, None]);
    }
}
