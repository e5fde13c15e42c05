//! A LiveKit that answers for its SIP trunks and dispatch rules, and the command that asks it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use livekit_api::access_token::TokenVerifier;
use serde_json::Value;
use switchhook::Clock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::spec::world::{KEY, SECRET, searched};

pub const INBOUND: &str = "/twirp/livekit.SIP/ListSIPInboundTrunk";
pub const OUTBOUND: &str = "/twirp/livekit.SIP/ListSIPOutboundTrunk";
pub const RULES: &str = "/twirp/livekit.SIP/ListSIPDispatchRule";

/// A LiveKit's HTTP side.
pub struct LiveKit {
    address: SocketAddr,
    state: Arc<Answers>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Answers {
    by_path: Mutex<HashMap<String, (u16, String)>>,
    /// Seconds by which its clock is ahead.
    ahead: i64,
    asked: Mutex<Vec<String>>,
    /// When each token that was shown expires, Unix seconds.
    expiries: Mutex<Vec<i64>>,
}

impl LiveKit {
    /// One that answers with the recorded bodies.
    pub async fn recorded() -> Self {
        Self::recorded_ahead(0).await
    }

    /// The same, with a clock that is ahead by so many seconds.
    pub async fn recorded_ahead(seconds: i64) -> Self {
        let text = std::fs::read_to_string("tests/data/livekit/sip-api.jsonl").expect("the recording");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let json = lines.filter(|line| line["content_type"] == "application/json" && line["status"] == 200);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        Self::ahead(seconds, json.map(|line| (text(&line["path"]), 200, text(&line["body"]))).collect()).await
    }

    /// One that answers these paths so, and others as it does what it does not know.
    pub async fn answering(answers: &[(&str, u16, &str)]) -> Self {
        let answers = answers.iter().map(|(path, status, body)| ((*path).into(), *status, (*body).into()));
        Self::ahead(0, answers.collect()).await
    }

    async fn ahead(seconds: i64, answers: Vec<(String, u16, String)>) -> Self {
        let by_path = answers.into_iter().map(|(path, status, body)| (path, (status, body))).collect();
        let state = Arc::new(Answers { by_path: Mutex::new(by_path), ahead: seconds, ..Answers::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
        Self { address, state, task }
    }

    /// Answers a path differently.
    pub fn answers(&self, path: &str, status: u16, body: impl Into<String>) {
        self.state.by_path.lock().expect("answers").insert(path.to_owned(), (status, body.into()));
    }

    /// As LiveKit's own tools spell it.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The paths that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().expect("a list").clone()
    }

    /// When the token that lives longest expires, Unix seconds.
    pub fn last_expiry(&self) -> i64 {
        self.state.expiries.lock().expect("a list").iter().copied().max().expect("a token")
    }
}

impl Drop for LiveKit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks the token as LiveKit does, with its own library, at its own time.
async fn answer(State(state): State<Arc<Answers>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    state.asked.lock().expect("a list").push(uri.path().to_owned());
    assert_eq!((headers[header::CONTENT_TYPE].as_bytes(), &body[..]), (&b"application/json"[..], &b"{}"[..]));
    let now = Clock::system().unix().seconds() + state.ahead;
    let date = jiff::Timestamp::from_second(now).expect("a time").strftime("%a, %d %b %Y %H:%M:%S GMT");
    let date = [(header::DATE, date.to_string())];
    if let Err(refusal) = admitted(&headers, &state) {
        return (StatusCode::UNAUTHORIZED, date, refusal).into_response();
    }
    let known = state.by_path.lock().expect("answers").get(uri.path()).cloned();
    let (status, body) = known.unwrap_or((404, "404 page not found\n".to_owned()));
    (StatusCode::from_u16(status).expect("a status"), date, body).into_response()
}

fn admitted(headers: &HeaderMap, state: &Answers) -> Result<(), String> {
    let token = headers[header::AUTHORIZATION].to_str().expect("text");
    let token = token.strip_prefix("Bearer ").expect("a bearer token");
    let verifier = TokenVerifier::with_api_key(KEY, SECRET);
    // The library verifies at this machine's time: a clock that is ahead has to be taken into account.
    let claims = verifier.verify(token).map_err(|error| format!("invalid token: {token}, error: {error}"))?;
    let expiry = i64::try_from(claims.exp).expect("a time");
    state.expiries.lock().expect("a list").push(expiry);
    let left = expiry - Clock::system().unix().seconds() - state.ahead;
    if left < -60 {
        return Err(format!("invalid token: {token}, error: token is expired"));
    }
    if claims.sip.admin { Ok(()) } else { Err("permissions denied".to_owned()) }
}

/// A folder with a hooks file, in which the command runs.
pub struct Place {
    pub dir: TempDir,
}

/// What the command printed.
pub struct Told {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    /// With these hooks.
    pub fn with(hooks: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("hooks.yaml"), hooks).expect("hooks");
        Self { dir }
    }

    /// Runs the command in it, with only these variables.
    pub async fn doctor(&self, variables: &[(&str, &str)], args: &[&str]) -> Told {
        run(self.dir.path(), variables, args).await
    }

    /// Asks this LiveKit, with the right key.
    pub async fn asks(&self, livekit: &LiveKit, args: &[&str]) -> Told {
        let url = livekit.url();
        let variables = [("LIVEKIT_URL", &*url), ("LIVEKIT_API_KEY", KEY), ("LIVEKIT_API_SECRET", SECRET)];
        self.doctor(&variables, args).await
    }
}

async fn run(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Told {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .arg("doctor")
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .await;
    let Output { status, stdout, stderr } = searched(&["doctor"], output.expect("switchhook"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Told { code: status.code().expect("a code"), out: text(stdout), err: text(stderr) }
}

impl Told {
    /// Each finding of `--json`.
    pub fn findings(&self) -> Vec<Value> {
        assert_eq!(self.err, "");
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// Severity, name and id of each.
    pub fn brief(&self) -> Vec<String> {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
        let brief = |finding: &Value| ["severity", "check", "id"].map(|key| text(finding, key)).join(" ");
        self.findings().iter().map(brief).collect()
    }

    /// The only finding of this name.
    pub fn only(&self, check: &str) -> Value {
        let mut found = self.findings().into_iter().filter(|finding| finding["check"] == check);
        let first = found.next().unwrap_or_else(|| panic!("{check}: {}", self.out));
        assert_eq!(found.next(), None, "{}", self.out);
        first
    }
}
