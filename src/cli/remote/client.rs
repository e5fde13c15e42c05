//! How commands speak to a running router: its API, with the token and at the address of its data directory, or
//! with those given.

mod pages;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{ETAG, HeaderName};
use reqwest::{ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::failure::Failure;
use crate::cli::terminal::{plain, say, say_json};
use crate::visible::{shown, uri_segment};
use crate::wire::{Limit, ProblemDetails, ProblemKind};

/// Longer than the router takes for its longest answer: a plan and a replay.
const ANSWER: Duration = Duration::from_secs(20);

/// Which router is meant, and who asks.
#[derive(Clone, clap::Args)]
pub struct Router {
    /// The API of the router, such as `https://switchhook.example:7891`; without: that of the data directory
    #[arg(long, env = "SWITCHHOOK_URL", value_name = "URL")]
    pub url: Option<Url>,
    /// The token to ask with; a URL that is given needs one; without either: the operator's of the data directory
    #[arg(long, env = "SWITCHHOOK_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The router's data directory
    #[arg(long, env = "SWITCHHOOK_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Kept for further questions: making a client reads the system's certificates.
    #[arg(skip)]
    kept: OnceLock<reqwest::Client>,
}

/// What the commands that list have in common.
#[derive(Clone, clap::Args)]
pub struct ListFlags {
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// What follows: the `next` of the list before
    #[arg(long, value_name = "NEXT")]
    pub after: Option<String>,
    /// One JSON object per line instead; what else belongs to the list comes last, as one object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub router: Router,
}

impl ListFlags {
    /// The limit, as the API takes it.
    pub fn limit<const MOST: u32>(&self) -> Limit<MOST> {
        Limit::at_most(self.limit.into())
    }

    /// Says how a list goes on behind the `count` things that were printed, if there is more.
    pub fn tell_next(&self, count: usize, next: Option<&str>) {
        let Some(next) = next else { return };
        if self.json {
            say_json(&Rest { next });
        } else {
            let next = plain(next);
            say(format_args!("… these are {count}; there are more: --limit, or --after {next}"));
        }
    }
}

/// What belongs to a list beside its things: the last line of its JSON.
#[derive(Serialize)]
struct Rest<'r> {
    next: &'r str,
}

impl Router {
    /// The router at this URL, or of this data directory.
    pub fn of(url: Option<Url>, data: PathBuf) -> Self {
        Self { url, token: None, data, kept: OnceLock::new() }
    }

    /// A question about `path` (its segments, unescaped).
    pub fn get(&self, path: &[&str]) -> Question {
        self.ask(Method::GET, path)
    }

    /// A change at `path`.
    pub fn post(&self, path: &[&str]) -> Question {
        self.ask(Method::POST, path)
    }

    /// A request for `path`.
    pub fn ask(&self, method: Method, path: &[&str]) -> Question {
        Question { request: self.request(method, path, |url| self.kept(url)) }
    }

    /// A question about `path`, the answer to which goes on: between its parts no more than `pause` may pass.
    pub fn follow(&self, path: &[&str], pause: Duration) -> Question {
        let following = |url: &Url| built(self.builder(url)?.connect_timeout(ANSWER).read_timeout(pause));
        Question { request: self.request(Method::GET, path, following) }
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        client: impl FnOnce(&Url) -> Result<reqwest::Client, Failure>,
    ) -> Result<(RequestBuilder, String), Failure> {
        let mut url = self.address()?;
        let token = self.bearer()?;
        let address = url.as_str().trim_end_matches('/').to_owned();
        // Not by `path_segments_mut`, which drops tabs and line ends.
        let segments: String = path.iter().map(|segment| format!("/{}", uri_segment(segment))).collect();
        url.set_path(&format!("{}{segments}", url.path().trim_end_matches('/')));
        let client = client(&url)?;
        Ok((client.request(method, url).bearer_auth(token), address))
    }

    /// The client that asks, made once: connections are used again.
    fn kept(&self, url: &Url) -> Result<reqwest::Client, Failure> {
        let client = match self.kept.get() {
            Some(client) => client,
            None => {
                let client = self.client(url, ANSWER)?;
                self.kept.get_or_init(|| client)
            }
        };
        Ok(client.clone())
    }

    /// A client for this router at `url`, which waits so long for an answer.
    ///
    /// # Errors
    /// When the data directory has no certificate of a router that speaks TLS.
    pub fn client(&self, url: &Url, answer: Duration) -> Result<reqwest::Client, Failure> {
        built(self.builder(url)?.timeout(answer))
    }

    fn builder(&self, url: &Url) -> Result<ClientBuilder, Failure> {
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        // The certificate of the router in the data directory is its own; others are checked by the system's roots.
        Ok(match (url.scheme(), &self.url) {
            ("https", None) => client.tls_backend_preconfigured(trust::in_certificate_of(&self.data)?),
            _ => client,
        })
    }

    /// The URL of the API: the one that is given, or that of the data directory.
    ///
    /// # Errors
    /// When the data directory names none.
    pub fn address(&self) -> Result<Url, Failure> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let address = read(&self.data, "api.address")?;
        Url::parse(&url_of(&address))
            .map_err(|error| Failure::new(format!("the router's address {address}: {error}")))
    }

    fn bearer(&self) -> Result<String, Failure> {
        match (&self.token, &self.url) {
            (Some(token), _) => Ok(token.trim().to_owned()),
            // The local operator's token must not be shown to another machine.
            (None, Some(_)) => Err(Failure::usage(
                "a URL that is given needs a token: give --token, or set SWITCHHOOK_TOKEN",
            )),
            (None, None) => read(&self.data, "operator.token"),
        }
    }
}

fn built(client: ClientBuilder) -> Result<reqwest::Client, Failure> {
    client.build().map_err(|error| Failure::new(error.to_string()))
}

/// The URL of an API whose address alone may be given.
fn url_of(address: &str) -> String {
    if address.contains("://") { format!("{address}/") } else { format!("http://{address}/") }
}

/// A request that is being put together.
pub struct Question {
    /// With the address it goes to.
    request: Result<(RequestBuilder, String), Failure>,
}

impl Question {
    /// Adds a query.
    #[must_use]
    pub fn query(self, query: &impl Serialize) -> Self {
        Self { request: self.request.map(|(request, address)| (request.query(query), address)) }
    }

    /// Adds a body.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        Self { request: self.request.map(|(request, address)| (request.json(body), address)) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: HeaderName, value: &str) -> Self {
        Self { request: self.request.map(|(request, address)| (request.header(name, value), address)) }
    }

    /// What the router answers.
    ///
    /// # Errors
    /// When no router answers, or when it refuses.
    pub async fn answer<A: DeserializeOwned>(self) -> Result<A, Failure> {
        match self.try_answer().await? {
            Ok(answer) => Ok(answer),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    /// The same, where a refusal is expected, too: its status, and what the router says of it.
    ///
    /// # Errors
    /// When no router answers.
    pub async fn try_answer<A: DeserializeOwned>(self) -> Result<Result<A, Refusal>, Failure> {
        Ok(self.try_tagged().await?.map(|Tagged { answer, .. }| answer))
    }

    /// The same with the entity tag of what is answered (RFC 9110 §8.8.3).
    ///
    /// # Errors
    /// When no router answers.
    pub async fn try_tagged<A: DeserializeOwned>(self) -> Result<Result<Tagged<A>, Refusal>, Failure> {
        let (answer, address) = match self.send().await? {
            Ok(answered) => answered,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let etag = answer.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let is_new = answer.status() == StatusCode::CREATED;
        let unknown = |error: reqwest::Error| {
            Failure::new(format!("{address} answers what this version does not understand: {error}"))
        };
        let answer = answer.json().await.map_err(unknown)?;
        Ok(Ok(Tagged { answer, etag, is_new }))
    }

    /// For what is answered without a body.
    ///
    /// # Errors
    /// When no router answers.
    pub async fn try_done(self) -> Result<Result<(), Refusal>, Failure> {
        Ok(self.send().await?.map(drop))
    }

    /// What is answered, whatever it is: the status, and the body as text.
    ///
    /// # Errors
    /// When no router answers.
    pub async fn text(self) -> Result<(StatusCode, String), Failure> {
        let (request, address) = self.request?;
        let answer = request.send().await.map_err(|error| unanswered(&error, &address))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unanswered(&error, &address))?;
        Ok((status, text))
    }

    /// An answer whose body is read as it comes.
    ///
    /// # Errors
    /// When no router answers.
    pub async fn try_begun(self) -> Result<Result<Response, Refusal>, Failure> {
        Ok(self.send().await?.map(|(answer, _)| answer))
    }

    async fn send(self) -> Result<Result<(Response, String), Refusal>, Failure> {
        let (request, address) = self.request?;
        let answer = request.send().await.map_err(|error| unanswered(&error, &address))?;
        let status = answer.status();
        if !status.is_success() {
            return Ok(Err((status, answer.json().await.ok())));
        }
        Ok(Ok((answer, address)))
    }
}

/// A refusal: its status, and what the router says of it.
pub type Refusal = (StatusCode, Option<ProblemDetails>);

/// An answer, and what its headers say of it.
pub struct Tagged<A> {
    pub answer: A,
    /// With its quotes.
    pub etag: Option<String>,
    /// It was made by this request.
    pub is_new: bool,
}

fn unanswered(error: &reqwest::Error, address: &str) -> Failure {
    Failure::new(if error.is_timeout() {
        let seconds = ANSWER.as_secs();
        format!("the router at {address} has not answered within {seconds} s; it may still be working on it")
    } else {
        format!("no router answers at {address}. Is `switchhook serve` running?")
    })
}

/// What a refusal says: the whole, each field that is at fault, and what to do about it.
pub fn refused((status, problem): &Refusal) -> Failure {
    let Some(problem) = problem else {
        return Failure::new(format!("the router says {status}: no reason given"));
    };
    let reason = problem.reason.as_deref().map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
    let detail = plain(problem.detail.as_ref().unwrap_or(&problem.title));
    let mut message = format!("the router says {status}{reason}: {detail}");
    for fault in &problem.errors {
        let field = if fault.field.is_empty() { "the request" } else { &*fault.field };
        message += &format!("\n  {}: {}", plain(field), plain(&fault.detail));
        if let Some(fix) = &fault.fix {
            message += &format!("\n    → {}", plain(fix));
        }
    }
    // Of a conflict, the kind tells what to do about it, where no field does.
    let kind = problem.kind.strip_prefix("/problems/").and_then(ProblemKind::named);
    let fix = kind.map(ProblemKind::fix).filter(|fix| problem.errors.is_empty() && *fix != detail);
    if let Some(fix) = fix.filter(|_| matches!(status.as_u16(), 403 | 409 | 412)) {
        message += &format!("\n  → {fix}");
    }
    Failure::new(message)
}

fn read(data: &Path, name: &str) -> Result<String, Failure> {
    let path = data.join(name);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let advice = "Name the running router's data directory with --data, or its API with --url.";
        Failure::new(format!("{}: {error}. {advice}", shown(&path)))
    })?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FieldFault;

    #[test]
    fn a_refusal_names_every_field_and_its_fix() {
        let fault = |field: &str, detail: &str, fix: Option<&str>| FieldFault {
            field: field.to_owned(),
            detail: detail.to_owned(),
            fix: fix.map(str::to_owned),
        };
        let errors = vec![
            fault("url", "a private address", Some("https and a public address")),
            fault("", "too many", None),
        ];
        let problem = ProblemDetails { errors, ..ProblemKind::Invalid.details() };
        let failure = refused(&(StatusCode::UNPROCESSABLE_ENTITY, Some(problem)));
        let told = "the router says 422 Unprocessable Entity: Not valid\n  url: a private address\n    \
                    → https and a public address\n  the request: too many";
        assert_eq!(failure.message, told);
    }
}
