//! `switchhook serve` as a process of its own, whose log is read.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, World, livekit_token, secrets};

/// A router as a process; dropping it is a `kill -9`.
pub struct Process {
    pub child: Child,
    log: PathBuf,
    /// What it printed to standard error, such as a panic.
    errors: PathBuf,
    /// Where LiveKit posts.
    pub address: String,
    /// Where the API listens.
    pub api_address: String,
    http: reqwest::Client,
}

impl Process {
    /// The binary under test.
    pub const BINARY: &str = env!("CARGO_BIN_EXE_switchhook");

    /// Starts the world's router, and waits until it is ready.
    pub fn start(world: &World) -> Self {
        Self::start_with(world, &[])
    }

    /// The same with these environment variables.
    pub fn start_with(world: &World, environment: &[(&str, &str)]) -> Self {
        secrets::register_settings(environment);
        Self::spawn(world, Command::new(Self::BINARY).envs(environment.iter().copied()))
    }

    /// The same by this command, which ends with the binary.
    pub fn spawn(world: &World, command: &mut Command) -> Self {
        Self::spawn_until("ready", world, command)
    }

    /// The same until it logs this line, which says where it listens.
    pub fn spawn_until(message: &str, world: &World, command: &mut Command) -> Self {
        let (log, errors) = (world.path("log"), world.path("log.err"));
        let begin = |path: &PathBuf| {
            secrets::search_file(path, &[]);
            File::create(path).expect("a file");
            OpenOptions::new().append(true).open(path).expect("a file")
        };
        let (output, said) = (begin(&log), begin(&errors));
        let child = command
            .arg("serve")
            .args(world.args())
            .args(["--log", "json"])
            .stdout(output)
            .stderr(said)
            .spawn()
            .expect("switchhook");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut process =
            Self { child, log, errors, address: String::new(), api_address: String::new(), http };
        let began = Instant::now();
        let ready = loop {
            if let Some(ready) = process.lines().into_iter().find(|line| line["msg"] == message) {
                break ready;
            }
            assert!(began.elapsed() < PATIENCE, "{:#?}", process.lines());
            std::thread::sleep(Duration::from_millis(5));
        };
        let told = |name: &str| ready[name].as_str().expect("an address").to_owned();
        (process.address, process.api_address) = (told("listen"), told("api"));
        world.register_start();
        process
    }

    /// The text of its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    /// What it has logged so far.
    pub fn lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first line of which `told` holds, once it is there.
    pub async fn line(&self, told: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            if let Some(line) = self.lines().into_iter().find(&told) {
                return line;
            }
            assert!(began.elapsed() < PATIENCE, "{:#?}", self.lines());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Posts a body as LiveKit does: the status, or none if the router is gone.
    pub async fn try_post(&self, body: String) -> Option<u16> {
        let token = livekit_token(&body, switchhook::Clock::system().unix().seconds());
        let url = format!("http://{}/webhook", self.address);
        let answer = self.http.post(url).header("authorization", token).body(body).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// Posts a body that is acknowledged.
    pub async fn post(&self, body: String) {
        assert_eq!(self.try_post(body).await, Some(200));
    }

    /// Ends the router in order.
    pub fn stop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().expect("SIGTERM");
        let ended = (asked.success(), self.child.wait().expect("its end"));
        assert!(ended.0 && ended.1.success(), "{ended:?} {:?}", self.lines().last());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprint!("{}", std::fs::read_to_string(&self.errors).unwrap_or_default());
        } else {
            [&self.log, &self.errors].into_iter().for_each(|file| secrets::search_file(file, &[]));
        }
    }
}
