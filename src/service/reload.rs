//! The hook table, reloaded while calls run. A file with any fault changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::Rotation;
use crate::background;
use crate::config::check_hooks;
use crate::dispatch::Handle;
use crate::hooks::{Around, Tenant};
use crate::outbox::{Difference, Hooks, Outbox};
use crate::telemetry::{Degradation, Health, Metrics};
use crate::time::Clock;
use crate::watch::Watch;

/// At most this many changed hosts are named in the log.
const NAMED: usize = 20;

/// What a reload touches.
pub struct Reloader {
    pub path: PathBuf,
    pub around: Arc<Around<'static>>,
    pub outbox: Arc<Outbox>,
    pub dispatch: Handle,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// Secrets to renew: done here, between two reloads.
    pub rotations: mpsc::Receiver<Rotation>,
}

impl Reloader {
    /// Watches the file, whose content is known to be `text`, until `stop`.
    pub async fn watch(mut self, text: String, clock: Clock, stop: CancellationToken) {
        let mut watch = Watch::new(&self.path, &text, clock);
        loop {
            // Not dropped while secrets are renewed: the future has seen changes that a new one would miss.
            let mut changed = std::pin::pin!(watch.changed());
            let text = loop {
                tokio::select! {
                    text = &mut changed => break text,
                    Some(rotation) = self.rotations.recv() => self.rotate(rotation).await,
                    () = stop.cancelled() => return,
                }
            };
            if let Some(Err(faults)) = stop.run_until_cancelled(self.load(text)).await {
                self.metrics.reloaded("failed");
                self.health.raise(Degradation::Hooks);
                tracing::error!(file = %self.path.display(), %faults, "hooks not reloaded: the old table stays in force");
            }
        }
    }

    async fn load(&self, text: String) -> Result<(), String> {
        let hooks = self.check(text).await?;
        let Difference { added, changed, removed, resigned } = self.put_in_force(hooks).await?;
        self.metrics.reloaded("ok");
        self.health.clear(Degradation::Hooks);
        if let Some(hosts) = named(&resigned) {
            tracing::warn!(hosts, "secrets changed: the ones before sign beside them for 24 h");
        }
        // A large table's lists take a while to join and drop.
        let naming = background::run(move || [added, changed, removed].map(|hosts| named(&hosts)));
        let [added, changed, removed] = naming.await.unwrap_or_default();
        tracing::info!(hooks = self.outbox.table().len(), added, changed, removed, "hooks reloaded");
        Ok(())
    }

    async fn rotate(&self, Rotation { tenant, done, .. }: Rotation) {
        let rotated = self.renew(&tenant).await;
        match &rotated {
            Ok(()) => tracing::warn!(%tenant, "secret rotated: the one before signs beside it for 24 h"),
            Err(error) => tracing::error!(%tenant, %error, "secret not rotated"),
        }
        // The caller may have stopped waiting.
        let _ = done.send(rotated);
    }

    async fn renew(&self, tenant: &Tenant) -> Result<(), String> {
        // Checked before anything is renewed: a table that cannot be read again changes nothing.
        let text = self.outbox.hooks_text().await.map_err(|error| error.to_string())?;
        let hooks = self.check(text.to_string()).await?;
        self.outbox.rotate(tenant.clone()).await.map_err(|error| error.to_string())?;
        self.put_in_force(hooks).await.map(drop)
    }

    async fn check(&self, text: String) -> Result<Hooks, String> {
        let (shown, around) = (self.path.display().to_string(), Arc::clone(&self.around));
        // Checking a large table takes a moment: on a thread of its own.
        let checking = background::run(move || check_hooks(&shown, text, &around));
        checking.await.ok_or("checking it broke")?
    }

    async fn put_in_force(&self, hooks: Hooks) -> Result<Difference, String> {
        let replaced = self.outbox.replace_hooks(hooks).await.map_err(|error| error.to_string())?;
        self.dispatch.configure().await;
        for hook in replaced.paused {
            self.dispatch.pause(hook).await;
        }
        for hook in replaced.resumed {
            self.dispatch.resume(hook).await;
        }
        self.metrics.hooks(self.outbox.table().len());
        Ok(replaced.difference)
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
