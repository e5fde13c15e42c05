//! The router as a child process.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::cli::failure::Failure;

/// A running `switchhook serve --dev`; it ends with its owner.
pub struct Child {
    process: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a router in `folder` and waits until it is ready.
    pub async fn start(folder: &Path, port: u16) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::new(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--dev", "--until-stdin-closes", "--hold", "2s"])
            .args(["--log", "json", "--api-listen", "127.0.0.1:0"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // The demonstration is the same whatever the surroundings set.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("SWITCHHOOK_") || name.starts_with("LIVEKIT_") {
                command.env_remove(&*name);
            }
        }
        let failed = |error: std::io::Error| Failure::new(format!("the router does not start: {error}"));
        let mut process = command.spawn().map_err(failed)?;
        let stdout = process.stdout.take().ok_or_else(|| Failure::new("the router has no output"))?;
        let mut child = Self { process, lines: BufReader::new(stdout).lines() };
        let ready = async {
            while let Ok(Some(line)) = child.lines.next_line().await {
                if parse(&line)["msg"] == "ready" {
                    return true;
                }
            }
            false
        };
        match crate::time::Clock::system().timeout(Duration::from_secs(10), ready).await {
            Ok(true) => Ok(child),
            Ok(false) | Err(_) => Err(Failure::new("the router does not get ready")),
        }
    }

    /// Its next log line; waits for ever once it has ended.
    pub async fn line(&mut self) -> Value {
        match self.lines.next_line().await {
            Ok(Some(line)) => parse(&line),
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        // It may have ended by itself: then the next start shows why.
        let _ = self.process.kill().await;
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.kill().await;
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}
