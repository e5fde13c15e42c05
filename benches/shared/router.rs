//! A router under test: a process with a folder of its own.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::event::{KEY, SECRET};
use super::process::{Process, free_address, on_its_core};

/// The router this benchmark was built with.
pub const BUILT: &str = env!("CARGO_BIN_EXE_switchhook");

/// The largest tables take some seconds to be read.
const READY_WITHIN: Duration = Duration::from_secs(60);

pub struct Router {
    pub process: Process,
    /// Where LiveKit posts.
    pub address: String,
    api: String,
    /// One for all questions: making one reads the system's certificates, which would hold the load up.
    client: reqwest::Client,
    folder: tempfile::TempDir,
    program: PathBuf,
    flags: Vec<String>,
    /// How long it took to get ready.
    pub ready_after: Duration,
}

impl Router {
    /// Starts a router and waits until it is ready. `hooks`: its hooks file; `flags`: beyond those a
    /// router on loopback needs.
    pub async fn start(program: &Path, hooks: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("hooks.yaml"), hooks).expect("hooks");
        std::fs::write(path("keys.yaml"), format!("{KEY}: {SECRET}\n")).expect("keys");
        // Apart from the files the router watches.
        std::fs::create_dir(path("logs")).expect("a folder");
        let (address, api) = (free_address(), free_address());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
        let began = Instant::now();
        let process = Process::start(command(program, folder.path(), &address, &api, &flags));
        let program = program.to_owned();
        let ready_after = Duration::ZERO;
        let mut router = Self { process, address, api, client, folder, program, flags, ready_after };
        router.ready(began).await;
        router
    }

    /// Kills it and starts it again with the same folder and addresses.
    pub async fn restart(&mut self) {
        self.process.kill();
        let began = Instant::now();
        let command = command(&self.program, self.folder.path(), &self.address, &self.api, &self.flags);
        self.process = Process::start(command);
        self.ready(began).await;
    }

    async fn ready(&mut self, began: Instant) {
        while began.elapsed() < READY_WITHIN {
            if let Ok(answer) = self.client.get(format!("http://{}/readyz", self.address)).send().await
                && answer.status() == 200
            {
                self.ready_after = began.elapsed();
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("it does not get ready");
    }

    /// Waits until it has indexed all events that it stores.
    pub async fn until_indexed(&self) {
        let store = rusqlite::Connection::open(self.path("data/switchhook.db")).expect("the store");
        let behind = "SELECT (SELECT max(seq) FROM events) - digested FROM progress";
        while store.query_row(behind, [], |row| row.get::<_, i64>(0)).expect("progress") > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What its API answers an operator.
    pub async fn ask(&self, method: Method, path: &str) -> String {
        let token = std::fs::read_to_string(self.path("data/operator.token")).expect("a token");
        let request =
            self.client.request(method, format!("http://{}{path}", self.api)).bearer_auth(token.trim());
        request.send().await.expect("an answer").text().await.expect("text")
    }

    /// What its metrics say; it is to be started with `--metrics-open`.
    pub async fn metrics(&self) -> String {
        let answer = self.client.get(format!("http://{}/metrics", self.api)).send().await.expect("metrics");
        answer.text().await.expect("text")
    }
}

fn command(program: &Path, folder: &Path, address: &str, api: &str, flags: &[String]) -> Command {
    let log = OpenOptions::new().create(true).append(true).open(folder.join("logs/log"));
    let mut command = on_its_core(program);
    command
        .args(["--log", "json", "--allow-http", "--allow-network", "127.0.0.0/8"])
        .args(["--hooks", "hooks.yaml", "--keys-file", "keys.yaml"])
        .args(["--listen", address, "--api-listen", api])
        .args(flags)
        .current_dir(folder)
        .stdout(log.expect("a log"));
    command
}
