//! The world the sentences are told to: a router, a LiveKit that signs and posts, tenants that
//! receive, and a clock that is moved.

// By path: `tests/alone.rs` has this world, too, at another place of its module tree.
#[path = "world/certificates.rs"]
mod certificates;
#[path = "world/client.rs"]
mod client;
#[path = "world/command.rs"]
mod command;
#[path = "world/dns.rs"]
mod dns;
#[path = "world/judges.rs"]
mod judges;
#[path = "world/livekit.rs"]
mod livekit;
#[path = "world/log.rs"]
mod log;
#[path = "world/process.rs"]
mod process;
#[path = "world/recorded.rs"]
pub mod recorded;
#[path = "world/rude.rs"]
pub mod rude;
#[path = "world/secrets/search.rs"]
pub mod secrets;
#[path = "world/tenant.rs"]
mod tenant;
#[path = "world/user.rs"]
mod user;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use switchhook::{Clock, Config, Service, ServiceFault, UnixMillis};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use self::certificates::{Issuer, accepting};
pub use self::client::{Answered, Client, search_answer};
pub use self::command::searched;
pub use self::dns::Dns;
pub use self::judges::{judge, with_libraries};
pub use self::livekit::{event, joined, livekit_token, sign, token_of};
pub use self::process::Process;
pub use self::tenant::{Received, Reply, Tenant, full, misbehaving};
pub use self::user::as_ordinary_user;

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
    stop: Option<oneshot::Sender<()>>,
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
        let keys = format!("{KEY}: {SECRET}\n");
        secrets::register_hooks(hooks);
        secrets::register_keys(&keys);
        std::fs::write(dir.path().join("hooks.yaml"), hooks).expect("hooks");
        std::fs::write(dir.path().join("keys.yaml"), keys).expect("keys");
        let extra = extra.iter().map(ToString::to_string).collect();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        log::keep();
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
        // What the world opens, unless a test opens something else.
        let given = |flag: &str| self.extra.iter().any(|other| other == flag);
        let fixed = fixed
            .into_iter()
            .filter(|(flag, _)| !given(flag))
            .flat_map(|(flag, value)| [flag.to_owned(), value]);
        fixed.chain(["--allow-http".to_owned()]).chain(self.extra.clone()).collect()
    }

    pub async fn start(&mut self) {
        let config = Config::from_args(self.args()).expect("a configuration");
        let service = Service::start(config, self.clock.clone()).await.expect("a router");
        let (stop, stopped) = oneshot::channel::<()>();
        self.running = Some(Running {
            address: service.address,
            api_address: service.api_address,
            stop: Some(stop),
            ended: tokio::spawn(service.run_until(async {
                let _ = stopped.await;
            })),
        });
        self.register_start();
    }

    /// Ends the router in order.
    pub async fn stop(&mut self) {
        self.begin_stop();
        let Running { ended, .. } = self.running.take().expect("a running router");
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("the router ends in time");
        ended.expect("no task panicked").expect("no task ended early");
    }

    /// Asks the router to end, as SIGTERM does; it takes its time.
    pub fn begin_stop(&mut self) {
        let stop = self.running.as_mut().and_then(|running| running.stop.take());
        // One that was asked already is asked no more.
        let _ = stop.map(|stop| stop.send(()));
    }

    /// Whether a router that was asked to end has done so.
    pub fn has_ended(&self) -> bool {
        self.running.as_ref().is_none_or(|running| running.ended.is_finished())
    }

    /// A connection to the listener for events.
    pub async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.running.as_ref().expect("a running router").address).await
    }

    pub fn hooks(&self, hooks: &str) {
        secrets::register_hooks(hooks);
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
        self.api_at(&self.api_url(path)).await
    }

    /// The same of a router that runs as a process.
    pub async fn api_at(&self, url: &str) -> (u16, Value) {
        let answer = self.http.get(url).bearer_auth(self.operator_token()).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let headers = format!("{:?}", answer.headers());
        let text = answer.text().await.expect("a body");
        let path = url.splitn(4, '/').last().unwrap_or_default();
        search_answer(&format!("GET /{path}"), &format!("{headers} {text}"));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn api_post(&self, path: &str) -> (u16, Value) {
        self.api_send(path, &Value::Null).await
    }

    /// The same with a body.
    pub async fn api_send(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(self.api_url(path)).bearer_auth(self.operator_token());
        let request = if body.is_null() { request } else { request.json(body) };
        secrets::register_spec(body);
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        search_answer(&format!("POST {path}"), &text);
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    pub fn operator_token(&self) -> String {
        let secret = std::fs::read_to_string(self.path("data/api.secret")).expect("the API's secret");
        let claims = json!({
            "aud": "switchhook", "scope": "admin", "jti": "test",
            "exp": self.clock.unix().seconds() + 60,
        });
        sign(&claims, &secret)
    }

    /// What the first attempt at an event came to: its status, or its fault.
    pub async fn outcome(&self, id: &str) -> Value {
        let tried = |story: &Value| story["attempts"].as_array().is_some_and(|all| !all.is_empty());
        let attempt = self.story(id, tried).await["attempts"][0].clone();
        if attempt["error"].is_null() { attempt["status"].clone() } else { attempt["error"].clone() }
    }

    /// The story of an event, once `told` holds of it.
    pub async fn story(&self, id: &str, told: impl Fn(&Value) -> bool) -> Value {
        self.story_later(Duration::ZERO, id, told).await
    }

    /// The same, while time is moved by `step` at a time.
    pub async fn story_later(&self, step: Duration, id: &str, told: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/events/{id}");
        let began = Instant::now();
        loop {
            let (_, story) = self.api(&path).await;
            if told(&story) {
                return story;
            }
            assert!(began.elapsed() < PATIENCE, "{id}: {story:#}");
            if !step.is_zero() {
                self.clock.advance(step);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the metrics have this line, without the prefix.
    pub async fn measures(&self, line: &str) {
        let line = format!("switchhook_{line}");
        let began = Instant::now();
        loop {
            let (_, metrics) = self.api("/metrics").await;
            let metrics = metrics.as_str().expect("text");
            if metrics.lines().any(|told| told == line) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{line}\n{metrics}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the log has a warning or an error with all these texts. The log is that of all worlds:
    /// a text such as this world's folder says whose it is.
    pub async fn logs(&self, texts: &[&str]) {
        let began = Instant::now();
        while !log::has(texts) {
            assert!(began.elapsed() < PATIENCE, "{texts:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What `/readyz` answers.
    pub async fn ready(&self) -> (u16, Value) {
        let answer = self.http.get(self.url("/readyz")).send().await.expect("an answer");
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        search_answer("GET /readyz", &text);
        (status, serde_json::from_str(&text).expect("JSON"))
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

    /// Posts calls to `host` until one arrives at `tenant`: from then on the table is in force.
    pub async fn arrives(&self, host: &str, tenant: &Tenant) -> Duration {
        let (began, before) = (Instant::now(), tenant.count());
        for n in 0.. {
            let id = format!("EV_{host}_{before}_{n}").replace('.', "-");
            assert_eq!(self.post(&joined(&id, &id, host)).await.status, 200);
            tokio::time::sleep(Duration::from_millis(25)).await;
            if tenant.count() > before {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{host} does not come into force");
        }
        began.elapsed()
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
        secrets::register_body(body);
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

    /// Lets real time pass while the router's clock stands still. Proves little: wait for a marker, which is
    /// something that happens after what must not.
    pub async fn stand_still(&self) {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.search();
        }
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
        let text = response.text().await.unwrap_or_default();
        search_answer("an answer to LiveKit", &text);
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        Self { status, reason: body["reason"].as_str().unwrap_or_default().to_owned(), retry_after, body }
    }
}
