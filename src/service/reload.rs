//! The hook table, reloaded while calls run. A file with any fault changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::check_hooks;
use crate::dispatch::Handle;
use crate::network::Network;
use crate::outbox::{Difference, Outbox};
use crate::telemetry::{Degradation, Health, Metrics};
use crate::time::Clock;
use crate::watch::Watch;

/// Of what changed, so many hosts are named in the log.
const NAMED: usize = 20;

/// What a reload touches.
pub struct Reloader {
    pub path: PathBuf,
    pub network: Arc<Network>,
    pub outbox: Arc<Outbox>,
    pub dispatch: Handle,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
}

impl Reloader {
    /// Watches the file, whose content is known to be `text`, until `stop`.
    pub async fn watch(self, text: String, clock: Clock, stop: CancellationToken) {
        let mut watch = Watch::new(&self.path, &text, clock);
        while let Some(text) = stop.run_until_cancelled(watch.changed()).await {
            let loaded = stop.run_until_cancelled(self.load(text)).await;
            if let Some(Err(faults)) = loaded {
                self.metrics.reloaded("failed");
                self.health.raise(Degradation::Hooks);
                tracing::error!(file = %self.path.display(), %faults, "hooks not reloaded: the old table stays in force");
            }
        }
    }

    async fn load(&self, text: String) -> Result<(), String> {
        let (shown, network) = (self.path.display().to_string(), Arc::clone(&self.network));
        // Checking a large table takes a moment: on a thread of its own.
        let checking = tokio::task::spawn_blocking(move || check_hooks(&shown, text, &network));
        let hooks = checking.await.map_err(|error| error.to_string())??;
        let replaced = self.outbox.replace_hooks(hooks).await.map_err(|error| error.to_string())?;
        for hook in replaced.resumed {
            self.dispatch.resume(hook).await;
        }
        let hooks = self.outbox.table().len();
        self.metrics.hooks(hooks);
        self.metrics.reloaded("ok");
        self.health.clear(Degradation::Hooks);
        let Difference { added, changed, removed } = replaced.difference;
        tracing::info!(
            hooks,
            added = named(&added),
            changed = named(&changed),
            removed = named(&removed),
            "hooks reloaded"
        );
        Ok(())
    }
}

/// The hosts, for the log; of many, the first and their number.
fn named(hosts: &[String]) -> Option<String> {
    let shown = hosts.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(",");
    match hosts.len() {
        0 => None,
        count if count > NAMED => Some(format!("{shown} and {} more", count - NAMED)),
        _ => Some(shown),
    }
}
