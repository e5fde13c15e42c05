//! Tokens of the API, and requests with them.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{World, sign};

/// What the API answered.
#[derive(Debug)]
pub struct Reached {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reached {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl World {
    /// A token of a tenant that may register these hosts.
    pub fn tenant_token(&self, tenant: &str, hosts: &[&str]) -> String {
        self.token_with(&json!({ "sub": tenant, "hosts": hosts }))
    }

    /// A token with these claims beside the usual ones.
    pub fn token_with(&self, claims: &Value) -> String {
        let secret = std::fs::read_to_string(self.path("data/api.secret")).expect("the API's secret");
        let now = self.clock.unix().seconds();
        let mut all = json!({ "aud": "switchhook", "jti": "test", "iat": now, "exp": now + 60 });
        let claims = claims.as_object().expect("claims").clone();
        all.as_object_mut().expect("claims").extend(claims);
        sign(&all, secret.trim())
    }

    /// A request to the API with this token, if any, and this body, if any.
    pub async fn reach(&self, method: Method, path: &str, token: &str, body: &Value) -> Reached {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.request(method, self.api_url(path));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Reached { status, headers, text: answer.text().await.expect("a body") }
    }

    /// The same to read something.
    pub async fn reads(&self, path: &str, token: &str) -> Reached {
        self.reach(Method::GET, path, token, &Value::Null).await
    }
}
