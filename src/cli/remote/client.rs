//! How commands speak to the running router: its API, with the operator's token of the data
//! directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::Value;

use super::trust;
use crate::cli::failure::Failure;

/// Longer than the router takes for its longest answer: a plan and a replay.
const ANSWER: Duration = Duration::from_secs(20);

/// Which router is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Router {
    /// The router's data directory
    #[arg(long, env = "SWITCHHOOK_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

impl Router {
    /// What the API answers to a request for `path` (its segments, unescaped).
    pub async fn ask(&self, method: Method, path: &[&str]) -> Result<Value, Failure> {
        self.ask_with(method, path, &[], None).await
    }

    /// The same with a query, and a body of JSON.
    pub async fn ask_with(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let token = read(&self.data, "operator.token")?;
        let address = read(&self.data, "api.address")?;
        let mut url = Url::parse(&url_of(&address))
            .map_err(|error| Failure::new(format!("the router's address {address}: {error}")))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER);
        let client = match url.scheme() {
            "https" => client.tls_backend_preconfigured(trust::in_certificate_of(&self.data)?),
            _ => client,
        };
        let client = client.build().map_err(|error| Failure::new(error.to_string()))?;
        let mut request = client.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| {
            Failure::new(if error.is_timeout() {
                format!(
                    "the router at {address} has not answered within {} s; it may still be working on it",
                    ANSWER.as_secs()
                )
            } else {
                format!("no router answers at {address}. Is `switchhook serve` running?")
            })
        })?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let said = body["detail"].as_str().or(body["title"].as_str()).unwrap_or("no reason given");
        Err(Failure::new(format!("the router says {status}: {said}")))
    }
}

/// The URL of an API whose address alone may be given.
fn url_of(address: &str) -> String {
    if address.contains("://") { format!("{address}/") } else { format!("http://{address}/") }
}

fn read(data: &Path, name: &str) -> Result<String, Failure> {
    let path = data.join(name);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let advice = "Name the running router's data directory with --data.";
        Failure::new(format!("{}: {error}. {advice}", path.display()))
    })?;
    Ok(text.trim().to_owned())
}
