//! The keys file, reloaded while events come. A faulty one changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::KeysSource;
use crate::hooks::HookTable;
use crate::ingress::{ApiKeys, KeyRing};
use crate::outbox::Outbox;
use crate::time::Clock;
use crate::watch::Watch;

/// Keys that could not be put in force are tried again after this time.
const KEYS_AGAIN: Duration = Duration::from_millis(500);

/// What a change of the keys file touches.
pub struct KeyWatcher {
    pub source: KeysSource,
    pub ring: Arc<KeyRing>,
    pub outbox: Arc<Outbox>,
}

impl KeyWatcher {
    /// Watches the file, if there is one, until `stop`.
    pub async fn watch(self, clock: Clock, stop: CancellationToken) {
        let Some((path, text)) = &self.source.file else { return stop.cancelled().await };
        let mut watch = Watch::new(path, text, clock.clone());
        // A key may move from the hooks file to this one, and this change may be seen first: it is tried again.
        let mut refused: Option<String> = None;
        loop {
            let mut changed = std::pin::pin!(watch.changed());
            let text = loop {
                tokio::select! {
                    text = &mut changed => break text,
                    () = clock.sleep(KEYS_AGAIN), if refused.is_some() => {
                        if let Some(text) = refused.take_if(|text| self.is_free(text)) {
                            self.put_in_force(path, &text);
                        }
                    }
                    () = stop.cancelled() => return,
                }
            };
            refused = (!self.put_in_force(path, &text)).then_some(text);
        }
    }

    /// Whether the text's keys are all the platform's own.
    fn is_free(&self, text: &str) -> bool {
        ApiKeys::parse(text).is_ok_and(|keys| taken(&keys, &self.outbox.table()).is_none())
    }

    /// Puts the file's keys in force, or says why not; false if that may change without the file.
    fn put_in_force(&self, path: &Path, text: &str) -> bool {
        match ApiKeys::parse(text) {
            Ok(keys) if self.source.with_file(keys.clone()).is_empty() => {
                tracing::error!(file = %path.display(), "keys file is empty: the old keys stay in force");
            }
            Ok(keys) => {
                if let Some(key) = taken(&keys, &self.outbox.table()) {
                    tracing::error!(
                        file = %path.display(), key,
                        "keys file holds a tenant's own key (`livekit` in the hooks file): the old keys stay in \
                         force until one of the two files lets it go"
                    );
                    return false;
                }
                let all = self.source.with_file(keys);
                self.ring.replace(&all);
                tracing::info!(file = %path.display(), keys = all.names().join(","), "keys reloaded");
            }
            Err(faults) => {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                tracing::error!(
                    file = %path.display(), faults = faults.join("; "),
                    "keys file is faulty: the old keys stay in force"
                );
            }
        }
        true
    }
}

/// A key that is a tenant's own.
fn taken(keys: &ApiKeys, table: &HookTable) -> Option<String> {
    keys.names().into_iter().find(|key| table.owner_of_key(key).is_some()).map(str::to_owned)
}
