//! What requests hold, read so that whatever is wrong with it is answered as a problem.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use crate::http::Problem;
use crate::time::Clock;
use crate::wire::{FieldFault, ProblemKind};

/// The only variable segment of the path.
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(segment)| Self(segment))
            .map_err(|refused: PathRejection| malformed(refused.body_text()))
    }
}

/// The query.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|refused: QueryRejection| malformed(refused.body_text()))
    }
}

/// A request's body must have come within this time: its request has one of the places until then.
const BODY_WITHIN: Duration = Duration::from_secs(5);

/// A body of JSON.
pub struct JsonBody<T>(pub T);

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    Clock: FromRef<S>,
    T: DeserializeOwned + Serialize,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(ProblemKind::NotJson.into());
        }
        let reading = Bytes::from_request(request, state);
        let body = Clock::from_ref(state).timeout(BODY_WITHIN, reading).await.map_err(|_| slow())?;
        read_body(&body.map_err(|refused| unread(&refused))?).map(Self)
    }
}

/// A body that can be read, but not used.
pub fn invalid(field: &str, detail: impl Into<String>) -> Problem {
    let fault = FieldFault { field: field.to_owned(), detail: detail.into(), fix: None };
    Problem::new(ProblemKind::Invalid).errors(vec![fault])
}

/// A query that cannot be used.
pub fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Malformed).detail(detail)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn slow() -> Problem {
    let detail = format!("The request's body did not come within {} s.", BODY_WITHIN.as_secs());
    Problem::new(ProblemKind::Unavailable).detail(detail)
}

fn unread(refused: &BytesRejection) -> Problem {
    let kind = match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::TooLarge,
        _ => ProblemKind::Malformed,
    };
    Problem::new(kind).detail(refused.body_text())
}

/// Reads a body of JSON.
///
/// # Errors
/// What is wrong with it, and in which field.
pub fn read_body<T: DeserializeOwned + Serialize>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        match error.inner().classify() {
            Category::Data => invalid(path, without_place(error.inner())),
            Category::Syntax | Category::Eof | Category::Io => malformed(error.inner().to_string()),
        }
    })?;
    reader.end().map_err(|error| malformed(error.to_string()))?;
    let given = serde_json::from_slice(body).unwrap_or_default();
    match list_for_object(&given, &serde_json::to_value(&value).unwrap_or_default()) {
        Some(field) => Err(invalid(&field, "an object belongs here, not a list")),
        None => Ok(value),
    }
}

/// The first field that was given as a list and read as an object: serde takes a list of the fields' values for a
/// struct.
fn list_for_object(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(name, given)| {
            let inner = list_for_object(given, read.get(name)?)?;
            Some(if inner.is_empty() { name.clone() } else { format!("{name}.{inner}") })
        }),
        _ => None,
    }
}

/// What is wrong, without line and column: the field says where.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or_else(|| text.clone(), |(what, _)| what.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;
    use crate::wire::{HookSpec, ReplayRequest};

    #[test]
    fn what_is_wrong_with_a_body_has_a_kind() {
        let status = |body: &str| {
            read_body::<ReplayRequest>(body.as_bytes())
                .err()
                .map(|problem| problem.into_response().status().as_u16())
        };
        assert_eq!(status(r#"{"tenant":"acme"}"#), None);
        for body in ["", "{", "nonsense", "{} {}", "{\"tenant\":\"\u{1}\"}"] {
            assert_eq!(status(body), Some(400), "{body:?}");
        }
        assert!(read_body::<HookSpec>(br#"{"url":"https://a.example","events":{"include":[]}}"#).is_ok());
        assert!(read_body::<HookSpec>(br#"{"url":"https://a.example","events":[[],[]]}"#).is_err());
        for body in
            ["[]", r#"["EV_1"]"#, r#"{"colour":1}"#, r#"{"since":"yesterday"}"#, "3", r#"{"limit":0}"#]
        {
            assert_eq!(status(body), Some(422), "{body}");
        }
    }
}
