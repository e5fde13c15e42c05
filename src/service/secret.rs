//! The API secret, reloaded while the API is used. A faulty one changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::access::{Tokens, check_secret};
use crate::config::{ApiSecret, leave_operator_token};
use crate::time::Clock;
use crate::watch::Watch;

/// What a change of the API secret touches.
pub struct SecretWatcher {
    pub source: ApiSecret,
    pub tokens: Arc<Tokens>,
    /// The data directory: its operator's token must be signed with a secret that is in force.
    pub data: PathBuf,
}

impl SecretWatcher {
    /// Watches the file, if there is one, until `stop`.
    pub async fn watch(self, clock: Clock, stop: CancellationToken) {
        let Some(path) = &self.source.file else { return stop.cancelled().await };
        let mut watch = Watch::new(path, &self.source.text, clock.clone());
        let file = path.display();
        while let Some(text) = stop.run_until_cancelled(watch.changed()).await.map(Zeroizing::new) {
            if let Err(weak) = check_secret(&text) {
                tracing::error!(%file, "the API secret is faulty: the file {weak}; the old secret stays in force");
                continue;
            }
            self.tokens.replace_secrets(&text);
            if let Err(error) = leave_operator_token(&self.data, &self.tokens, clock.unix()) {
                tracing::error!(%error, "operator.token is not renewed: commands may be refused from now on");
            }
            tracing::warn!(%file, "API secret reloaded: tokens of secrets that the file no longer has are refused");
        }
    }
}
