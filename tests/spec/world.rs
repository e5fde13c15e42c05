//! The world the sentences are told to: a router, a LiveKit that signs and posts, tenants that
//! receive, and a clock that is moved.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use switchhook::{Clock, Config, Service, ServiceFault, UnixMillis};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// Whatever should happen happens within this real time, or the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const KEY: &str = "APIswitchhook";
pub const SECRET: &str = "a-recording-secret-used-only-on-loopback-0001";

/// When the recordings were made, roughly: where manual clocks start.
pub const RECORDED: UnixMillis = UnixMillis(1_795_240_012_110);

/// A router under test and everything around it.
pub struct World {
    pub dir: TempDir,
    pub clock: Clock,
    extra: Vec<String>,
    running: Option<Running>,
    http: reqwest::Client,
}

struct Running {
    address: SocketAddr,
    api_address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServiceFault>>,
}

impl World {
    /// A router with these hooks, on the machine's clock.
    pub async fn with(hooks: &[(&str, &Tenant)]) -> Self {
        Self::at(Clock::system(), &table(hooks), &[]).await
    }

    /// A router with these hooks, whose time stands still until it is moved.
    pub async fn with_moved_time(hooks: &[(&str, &Tenant)]) -> Self {
        Self::at(Clock::manual(RECORDED), &table(hooks), &[]).await
    }

    /// A router on this clock, with this hook table and these further arguments.
    pub async fn at(clock: Clock, hooks: &str, extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("hooks.yaml"), hooks).expect("hooks");
        std::fs::write(dir.path().join("keys.yaml"), format!("{KEY}: {SECRET}\n")).expect("keys");
        let extra = extra.iter().map(ToString::to_string).collect();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut world = Self { dir, clock, extra, running: None, http };
        world.start().await;
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The arguments of `switchhook serve` in this world.
    pub fn args(&self) -> Vec<String> {
        let path = |name| self.path(name).display().to_string();
        let fixed = [
            ("--listen", "127.0.0.1:0".to_owned()),
            ("--api-listen", "127.0.0.1:0".to_owned()),
            ("--hooks", path("hooks.yaml")),
            ("--keys-file", path("keys.yaml")),
            ("--data", path("data")),
            ("--allow-network", "127.0.0.0/8".to_owned()),
        ];
        let fixed = fixed.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        fixed.chain(["--allow-http".to_owned()]).chain(self.extra.clone()).collect()
    }

    pub async fn start(&mut self) {
        let config = Config::from_args(self.args()).expect("a configuration");
        let service = Service::start(config, self.clock.clone()).await.expect("a router");
        let (stop, stopped) = oneshot::channel::<()>();
        self.running = Some(Running {
            address: service.address,
            api_address: service.api_address,
            stop,
            ended: tokio::spawn(service.run_until(async {
                let _ = stopped.await;
            })),
        });
    }

    /// Ends the router in order.
    pub async fn stop(&mut self) {
        let Running { stop, ended, .. } = self.running.take().expect("a running router");
        let _ = stop.send(());
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("the router ends in time");
        ended.expect("no task panicked").expect("no task ended early");
    }

    pub fn hooks(&self, hooks: &str) {
        std::fs::write(self.path("hooks.yaml"), hooks).expect("hooks");
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.as_ref().expect("a running router").address)
    }

    pub fn api_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.as_ref().expect("a running router").api_address)
    }

    /// What the API answers an operator.
    pub async fn api(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(self.api_url(path)).bearer_auth(self.operator_token()).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn api_post(&self, path: &str) -> (u16, Value) {
        self.api_send(path, &Value::Null).await
    }

    /// The same with a body.
    pub async fn api_send(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(self.api_url(path)).bearer_auth(self.operator_token());
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    pub fn operator_token(&self) -> String {
        let secret = std::fs::read_to_string(self.path("data/api.secret")).expect("the API's secret");
        let claims = json!({
            "aud": "switchhook", "scope": "admin", "jti": "test",
            "exp": self.clock.unix().seconds() + 60,
        });
        sign(&claims, &secret)
    }

    /// The story of an event, once `told` holds of it.
    pub async fn story(&self, id: &str, told: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/events/{id}");
        let began = Instant::now();
        loop {
            let (_, story) = self.api(&path).await;
            if told(&story) {
                return story;
            }
            assert!(began.elapsed() < PATIENCE, "{id}: {story:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the hook table was reloaded so often.
    pub async fn reloaded(&self, times: usize) {
        let line = format!("reloads_total{{result=\"ok\"}} {times}");
        let began = Instant::now();
        while !self.api("/metrics").await.1.as_str().expect("text").contains(&line) {
            assert!(began.elapsed() < PATIENCE, "{line}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Posts a body as LiveKit does.
    pub async fn post(&self, body: &str) -> Answer {
        self.post_signed(body, &livekit_token(body, self.clock.unix().seconds())).await
    }

    /// Posts a body with this `Authorization`.
    pub async fn post_signed(&self, body: &str, authorization: &str) -> Answer {
        self.post_to("/webhook", body, authorization).await
    }

    /// Posts a body by another URL.
    pub async fn post_to(&self, path: &str, body: &str, authorization: &str) -> Answer {
        let request = self
            .http
            .post(self.url(path))
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/webhook+json")
            .body(body.to_owned());
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// Moves time by `step` at a time until `done`.
    pub async fn advance_until(&self, step: Duration, mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < PATIENCE, "it does not happen, however far time is moved");
            self.clock.advance(step);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets real time pass while the router's clock stands still.
    pub async fn stand_still(&self) {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// A hook table of hosts and tenants' servers.
pub fn table(hooks: &[(&str, &Tenant)]) -> String {
    let entries = hooks.iter().map(|(host, tenant)| format!("  - host: {host}\n    url: {}\n", tenant.url()));
    format!("hooks:\n{}", entries.collect::<String>())
}

/// What a post was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body: Value = response.json().await.unwrap_or_default();
        Self { status, reason: body["reason"].as_str().unwrap_or_default().to_owned(), retry_after, body }
    }
}

/// The `Authorization` LiveKit would send with `body` at `now` (Unix seconds).
pub fn livekit_token(body: &str, now: i64) -> String {
    token_of(KEY, SECRET, body, now)
}

/// The same of a LiveKit with another key.
pub fn token_of(key: &str, secret: &str, body: &str, now: i64) -> String {
    let claims = json!({
        "iss": key, "nbf": now, "iat": now, "exp": now + 300,
        "sha256": STANDARD.encode(Sha256::digest(body)),
    });
    sign(&claims, secret)
}

/// An HS256 JWT.
pub fn sign(claims: &Value, secret: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).expect("a token")
}

/// An event of an inbound caller who dialled `domain`, in the room `call`.
pub fn joined(id: &str, call: &str, domain: &str) -> String {
    json!({
        "event": "participant_joined",
        "room": { "sid": format!("RM_{call}"), "name": call },
        "participant": {
            "sid": format!("PA_{id}"), "identity": "sip_+15550199", "kind": "SIP",
            "attributes": { "sip.ruleID": "SDR_x", "sip.h.x-to-ip": domain },
        },
        "id": id,
        "createdAt": "1795240012",
    })
    .to_string()
}

/// An event of a room that names no tenant.
pub fn event(id: &str, name: &str, call: &str) -> String {
    json!({ "event": name, "room": { "sid": format!("RM_{call}"), "name": call }, "id": id }).to_string()
}

/// How a tenant answers one delivery.
#[derive(Clone)]
pub enum Reply {
    Status(u16),
    With(u16, &'static str, String),
    Body(u16, usize),
    /// Holds the answer until [`Tenant::release`].
    Hang,
}

/// A delivery as a tenant received it.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }
}

/// A tenant's receiver: records what comes and answers as told, 200 when nothing is told.
pub struct Tenant {
    address: SocketAddr,
    inner: Arc<Inner>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<Reply>>,
    came: Notify,
    release: Notify,
}

impl Tenant {
    pub async fn open() -> Self {
        Self::answering([]).await
    }

    /// A tenant that answers the first deliveries so, the rest with 200.
    pub async fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        let inner =
            Arc::new(Inner { replies: Mutex::new(replies.into_iter().collect()), ..Inner::default() });
        let app = Router::new().fallback(receive).with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self { address, inner, tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.received.lock().expect("received").clone()
    }

    pub fn ids(&self) -> Vec<String> {
        self.received().iter().map(|received| received.id().to_owned()).collect()
    }

    pub fn count(&self) -> usize {
        self.inner.received.lock().expect("received").len()
    }

    pub fn reply(&self, reply: Reply) {
        self.inner.replies.lock().expect("replies").push_back(reply);
    }

    /// Lets hanging answers go.
    pub fn release(&self) {
        self.inner.release.notify_waiters();
    }

    /// Waits until `count` deliveries have come, and gives them all.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let began = Instant::now();
        while self.count() < count {
            assert!(began.elapsed() < PATIENCE, "{} of {count} came: {:?}", self.count(), self.ids());
            let _ = tokio::time::timeout(Duration::from_millis(50), self.inner.came.notified()).await;
        }
        self.received()
    }

    /// Ends the server: connections to it are refused from here on.
    pub async fn close(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    inner.received.lock().expect("received").push(Received { headers, body });
    inner.came.notify_one();
    let reply = inner.replies.lock().expect("replies").pop_front();
    let status = |code| StatusCode::from_u16(code).expect("a status");
    match reply {
        None => StatusCode::OK.into_response(),
        Some(Reply::Status(code)) => status(code).into_response(),
        Some(Reply::With(code, name, value)) => (status(code), [(name, value)]).into_response(),
        Some(Reply::Body(code, bytes)) => (status(code), vec![b'x'; bytes]).into_response(),
        Some(Reply::Hang) => {
            inner.release.notified().await;
            StatusCode::OK.into_response()
        }
    }
}

/// A receiver that treats connections as `treat` says: for what no HTTP server would do.
pub async fn misbehaving<F, R>(treat: F) -> (String, JoinSet<()>)
where
    F: Fn(tokio::net::TcpStream) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(treat.clone()(stream));
        }
    });
    (url, tasks)
}

/// The folder of recorded calls.
pub fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/livekit")
}

/// The POSTs of a recording: `posted`, `authorization`, `body`.
pub fn recording(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a recording");
    text.lines().map(|line| serde_json::from_str(line).expect("a recorded POST")).collect()
}

/// `python` or `node`, with the third parties' libraries that `tests/run` installs.
pub fn with_libraries(program: &str) -> tokio::process::Command {
    let judges = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges");
    let python = judges.join("venv/bin/python");
    let program = if program == "python" { python } else { PathBuf::from(program) };
    let mut command = tokio::process::Command::new(program);
    command.env("NODE_PATH", judges.join("node_modules")).kill_on_drop(true);
    command
}

/// A third party's program of `tests/judges`, and what it makes of `input`.
pub async fn judge(program: &str, script: &str, input: &str) -> String {
    use tokio::io::AsyncWriteExt;
    let child = with_libraries(program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child
        .unwrap_or_else(|error| panic!("{program}: {error}. `tests/run` installs what the judges need."));
    let mut stdin = child.stdin.take().expect("standard input");
    stdin.write_all(input.as_bytes()).await.expect("the judge reads");
    drop(stdin);
    let output = child.wait_with_output().await.expect("the judge ends");
    assert!(output.status.success(), "{script} failed; `tests/run` installs what it needs");
    String::from_utf8(output.stdout).expect("text")
}
