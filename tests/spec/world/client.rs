//! A client of the API with a token of its own.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::secrets;
use super::{Process, World, sign};

/// A tenant's, an operator's, or somebody else's client.
pub struct Client {
    http: reqwest::Client,
    base: String,
    pub token: String,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answered {
    pub fn etag(&self) -> String {
        self.headers["etag"].to_str().expect("ASCII").to_owned()
    }

    /// The kind of problem it tells of: the end of its `type`.
    pub fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("/problems/").unwrap_or(kind)
    }

    /// The status and the kind of problem.
    pub fn refused(&self) -> (u16, &str) {
        (self.status, self.problem())
    }
}

/// Searches an answer of the API for secrets that it was not asked for.
pub fn search_answer(place: &str, answer: &str) {
    let shows = place.contains("/secret") || place.contains("/rotate") || place.starts_with("PUT /v1/hooks/");
    let answer = if shows { secrets::shown(answer) } else { answer.to_owned() };
    secrets::search(place, answer, &[]);
}

impl Client {
    /// An operator.
    pub fn operator(world: &World) -> Self {
        Self::with_token(world, world.operator_token())
    }

    /// A tenant that may register these hosts, and deliver to the loopback addresses the tests use.
    pub fn tenant(world: &World, tenant: &str, hosts: &[&str]) -> Self {
        Self::with_claims(world, &json!({ "sub": tenant, "hosts": hosts, "private": true }))
    }

    /// Whoever has a token with these claims beside the usual ones.
    pub fn with_claims(world: &World, claims: &Value) -> Self {
        let secret = std::fs::read_to_string(world.path("data/api.secret")).expect("the API's secret");
        let now = world.clock.unix().seconds();
        let mut all = json!({ "aud": "switchhook", "jti": "test", "iat": now, "exp": now + 3600 });
        let given = claims.as_object().expect("claims").clone();
        all.as_object_mut().expect("claims").extend(given);
        Self::with_token(world, sign(&all, &secret))
    }

    pub fn with_token(world: &World, token: String) -> Self {
        Self::at(world.api_url(""), token)
    }

    /// An operator of a router that runs as a process.
    pub fn of_process(world: &World, process: &Process) -> Self {
        Self::at(format!("http://{}", process.api_address), world.operator_token())
    }

    fn at(base: String, token: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, base, token }
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answered {
        let place = format!("{method} {path}");
        secrets::register_spec(body);
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        search_answer(&place, &format!("{headers:?} {text}"));
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
        Answered { status: status.as_u16(), headers, body }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.ask(Method::GET, path, &[], &Value::Null).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answered {
        self.ask(Method::PUT, path, &[], body).await
    }

    pub async fn delete(&self, path: &str) -> Answered {
        self.ask(Method::DELETE, path, &[], &Value::Null).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answered {
        self.ask(Method::POST, path, &[], body).await
    }
}
