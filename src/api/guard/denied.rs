//! Answers to those who are not let in.

use std::time::Duration;

use axum::http::{HeaderValue, header};

use super::places::{IN_ALL, NoPlace, OF_ONE};
use crate::access::Refused;
use crate::http::Problem;
use crate::wire::ProblemKind;

/// 401: the token does not verify.
pub fn unauthorized(refused: Refused) -> Problem {
    let detail = "Send a token of this API: Authorization: Bearer, with what operator.token in the data directory \
                  holds, or with the token that the operator gave you.";
    // RFC 9110 §11.6.1: a 401 says how to authenticate.
    Problem::new(ProblemKind::Unauthorized)
        .reason(refused.as_str())
        .detail(detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// 429: one more may come after `wait`.
pub fn too_often(wait: Duration) -> Problem {
    let seconds = u64::try_from(wait.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX);
    let detail = format!("This comes too often. Send the next request in {seconds} s.");
    Problem::new(ProblemKind::TooManyRequests).detail(detail).header(header::RETRY_AFTER, seconds)
}

/// 429 or 503: there is no place for this request now.
pub fn no_place(why: NoPlace) -> Problem {
    match why {
        NoPlace::OfThisToken => {
            let detail = format!(
                "As many requests of this token are being worked on as may be: {OF_ONE} of a tenant's, ten times as \
                 many of an operator's. Send this one again when one of them is answered."
            );
            Problem::new(ProblemKind::TooManyRequests).detail(detail).header(header::RETRY_AFTER, 1)
        }
        NoPlace::AtAll => {
            let detail = format!("{IN_ALL} requests are being worked on. Send this one again in a moment.");
            Problem::new(ProblemKind::Unavailable).detail(detail)
        }
    }
}
