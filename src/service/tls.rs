//! A listener's certificate, reloaded when it is renewed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{Identity, TlsFiles, TlsSource, write_private};
use crate::telemetry::{Degradation, Health};
use crate::time::Clock;
use crate::watch::Watch;

/// A renewal writes two files, one after the other: the second may come this much later.
const OTHER_WITHIN: Duration = Duration::from_secs(3);

/// The certificate of a listener.
pub struct Certificate {
    files: TlsFiles,
    identity: ArcSwap<Identity>,
    /// Where the commands of this machine find the certificate that the API serves.
    copy: Option<PathBuf>,
    /// What readiness says while files and served certificate differ.
    degradation: Degradation,
}

impl Certificate {
    /// The certificate as it was read at the start. `copy`: where the one that is served is written each time it
    /// changes.
    pub fn new(source: TlsSource, copy: Option<PathBuf>, degradation: Degradation) -> Self {
        let TlsSource { files, identity } = source;
        Self { files, identity: ArcSwap::from_pointee(identity), copy, degradation }
    }

    /// What a new connection is served with.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.identity.load().server)
    }

    /// Whether the certificate is made out to this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.identity.load().has_name(name)
    }

    /// Watches both files until `stop`. A pair that does not fit together, or cannot be used, changes nothing.
    pub async fn watch(self: Arc<Self>, health: Arc<Health>, clock: Clock, stop: CancellationToken) {
        let before = self.identity.load_full();
        let (stir, stirred) = mpsc::channel(1);
        let tell = async |path: &Path, text: &str| {
            let mut watch = Watch::new(path, text, clock.clone());
            loop {
                watch.changed().await;
                // A full channel already says that something changed.
                let _ = stir.try_send(());
            }
        };
        tokio::select! {
            () = tell(&self.files.cert, &before.cert) => {}
            () = tell(&self.files.key, &before.key) => {}
            () = self.reload(stirred, &health, &clock) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Loads the pair whenever one of the files has changed.
    async fn reload(&self, mut stirred: mpsc::Receiver<()>, health: &Health, clock: &Clock) {
        while stirred.recv().await.is_some() {
            let mut read = self.read().await;
            if read.is_err() && clock.timeout(OTHER_WITHIN, stirred.recv()).await.is_ok() {
                read = self.read().await;
            }
            let file = self.files.cert.display();
            match read {
                Ok(identity) => {
                    self.copy_out(&identity.cert).await;
                    self.identity.store(Arc::new(identity));
                    health.clear(self.degradation);
                    tracing::info!(%file, "certificate reloaded: new connections are served with it");
                }
                Err(fault) => {
                    health.raise(self.degradation);
                    tracing::error!(
                        %file, %fault,
                        "certificate not reloaded: the one before stays in force until both files fit together"
                    );
                }
            }
        }
    }

    async fn read(&self) -> Result<Identity, String> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read()).await;
        read.unwrap_or_else(|_| Err("reading it broke".to_owned()))
    }

    async fn copy_out(&self, cert: &str) {
        let Some(copy) = self.copy.clone() else { return };
        let cert = cert.to_owned();
        let written = tokio::task::spawn_blocking(move || write_private(&copy, &cert)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "local commands cannot be told of the renewed certificate, and will not trust it");
        }
    }
}
