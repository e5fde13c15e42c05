//! The router of a run, and what its build understands.

use std::path::Path;
use std::process::{Command, Stdio};

use super::tenants::Tenants;
use crate::shared::router::Router;

/// A router for these tenants. `hooks`: its hooks file.
pub async fn start(program: &Path, tenants: &Tenants, hooks: &str) -> Router {
    let flags = tenants.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(["--metrics-open"]).collect();
    Router::start(program, hooks, &flags).await
}

/// Whether `serve` has a flag.
pub fn has_flag(program: &Path, flag: &str) -> bool {
    let output = Command::new(program).args(["serve", "--help"]).output().expect("its help");
    String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == flag)
}

/// Whether it takes a hooks file.
pub fn takes(program: &Path, hooks: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hooks.yaml");
    std::fs::write(&file, hooks).expect("hooks");
    let mut command = Command::new(program);
    command.args(["check", "--allow-http", "--allow-network", "127.0.0.0/8"]).arg(&file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("its check").success()
}

/// How often the hook table was reloaded.
pub async fn reloads(router: &Router) -> usize {
    let metrics = router.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("switchhook_reloads_total{result=\"ok\"} "));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// Gives it another hooks file and waits until that is in force, 30 s at most.
pub async fn reload(router: &Router, hooks: &str) {
    let before = reloads(router).await;
    std::fs::write(router.path("hooks.yaml"), hooks).expect("hooks");
    for _ in 0..600 {
        if reloads(router).await > before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    println!("  the new hooks file is not in force after 30 s");
}
