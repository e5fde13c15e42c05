//! The hook table, reloaded while calls run. A file with any fault changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::HookRequest;
use crate::background;
use crate::config::check_hooks;
use crate::dispatch::Handle;
use crate::hooks::Around;
use crate::outbox::{Carried, ChangedHook, Difference, Hooks, Outbox};
use crate::registry::{EditRequest, Edited};
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
    /// Edits that the API asks for: made here, between two reloads.
    pub edits: mpsc::Receiver<HookRequest>,
}

impl Reloader {
    /// Watches the file, whose content is known to be `text`, until `stop`.
    pub async fn watch(mut self, text: String, clock: Clock, stop: CancellationToken) {
        let mut watch = Watch::new(&self.path, &text, clock);
        loop {
            // Not dropped while the table is edited: the future has seen changes that a new one would miss.
            let mut changed = std::pin::pin!(watch.changed());
            let text = loop {
                tokio::select! {
                    text = &mut changed => break text,
                    Some(request) = self.edits.recv() => {
                        stop.run_until_cancelled(self.edit(request)).await;
                    }
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
        let difference = self.put_in_force(hooks).await?;
        self.metrics.reloaded("ok");
        self.health.clear(Degradation::Hooks);
        // A large table's lists take a while to join and drop.
        let naming = background::run(move || Named::of(&difference));
        let Named { added, changed, removed, resigned, unsigned, shadowed, returned, keep_url } =
            naming.await.unwrap_or_default();
        if let Some(hosts) = resigned {
            tracing::warn!(hosts, "secrets changed: the ones before sign beside them for 24 h");
        }
        if let Some(hosts) = unsigned {
            tracing::warn!(
                hosts,
                "secrets changed again and again: the oldest sign no longer, since 8 at most do"
            );
        }
        if let Some(hosts) = shadowed {
            tracing::warn!(hosts, "the file has hosts of the API, too: the file's hooks are in force");
        }
        let hooks = self.outbox.table().len();
        tracing::info!(hooks, added, changed, removed, returned, calls_keep_url = keep_url, "hooks reloaded");
        Ok(())
    }

    /// Edits the table as the API asked for, to its end: also if the caller has stopped waiting.
    async fn edit(&self, HookRequest { scope, edit, audit, done }: HookRequest) {
        // Who has given up was told that it may not be done: what has not begun is not begun.
        if done.is_closed() {
            return;
        }
        let carried = self.outbox.edit_hook(&scope, &edit, &self.around, audit).await;
        let answer = match carried {
            Ok(Ok(carried)) => {
                self.tell_lanes(&carried).await;
                tell_edit(&edit, &carried.edited);
                self.metrics.hooks(self.outbox.table().len());
                Ok(Ok(carried.edited))
            }
            Ok(Err(refusal)) => Ok(Err(refusal)),
            Err(error) => {
                tracing::error!(?edit, %error, "hook not edited");
                Err(error)
            }
        };
        // The caller may have stopped waiting.
        let _ = done.send(answer);
    }

    async fn tell_lanes(&self, carried: &Carried) {
        for hook in &carried.lanes {
            self.dispatch.configure_one(*hook).await;
        }
        for hook in &carried.paused {
            self.dispatch.pause(*hook).await;
        }
        for hook in &carried.resumed {
            self.dispatch.resume(*hook).await;
        }
        if let Some((hooks, up_to)) = &carried.erased {
            self.dispatch.forget(hooks.clone(), *up_to).await;
        }
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

/// An edit of the API, for the log.
fn tell_edit(edit: &EditRequest, edited: &Edited) {
    let Some(hook) = edited.after.as_ref().or(edited.before.as_ref()).filter(|_| edited.is_change) else {
        return;
    };
    let (tenant, parts) = (hook.tenant.as_str(), edited.parts.join(","));
    let parts = (!parts.is_empty()).then_some(parts);
    if let EditRequest::Rotate(_) = edit {
        tracing::warn!(tenant, "secret rotated: the one before signs beside it for 24 h");
    } else {
        let (action, host, url) = (edit.action(), hook.host.to_string(), hook.loggable_url());
        tracing::info!(action, host, tenant, url, changed = parts, "hook edited over the API");
    }
}

/// What a reload changed, for the log; of many, the first and their number.
#[derive(Default)]
struct Named {
    added: Option<String>,
    changed: Option<String>,
    removed: Option<String>,
    resigned: Option<String>,
    unsigned: Option<String>,
    shadowed: Option<String>,
    returned: Option<String>,
    /// Calls in progress that keep the URL they were bound to.
    keep_url: Option<usize>,
}

impl Named {
    fn of(difference: &Difference) -> Self {
        let Difference { added, changed, removed, resigned, unsigned, shadowed, returned } = difference;
        let calls = changed.iter().map(|changed| changed.calls).sum();
        Self {
            added: named(added, String::clone),
            changed: named(changed, spell),
            removed: named(removed, String::clone),
            resigned: named(resigned, String::clone),
            unsigned: named(unsigned, String::clone),
            shadowed: named(shadowed, String::clone),
            returned: named(returned, String::clone),
            keep_url: changed.iter().any(|changed| changed.keeps_calls).then_some(calls),
        }
    }
}

/// A changed hook: `calls.acme.com (url, timeout; 3 calls keep the old url)`.
fn spell(changed: &ChangedHook) -> String {
    let parts = changed.parts.join(", ");
    match changed.calls {
        0 => format!("{} ({parts})", changed.host),
        1 => format!("{} ({parts}; 1 call keeps the old url)", changed.host),
        calls => format!("{} ({parts}; {calls} calls keep the old url)", changed.host),
    }
}

fn named<T>(all: &[T], spell: impl Fn(&T) -> String) -> Option<String> {
    let shown = all.iter().take(NAMED).map(spell).collect::<Vec<_>>().join(",");
    match all.len() {
        0 => None,
        count if count > NAMED => Some(format!("{shown} and {} more", count - NAMED)),
        _ => Some(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_changed_hosts_twenty_are_named_and_the_rest_are_counted() {
        let named = |count: usize| named(&vec!["a.example"; count], ToString::to_string);
        assert_eq!((named(0), named(1)), (None, Some("a.example".to_owned())));
        let many = named(NAMED + 3).expect("names");
        assert!(
            many.ends_with("a.example and 3 more") && many.matches("a.example").count() == NAMED,
            "{many}"
        );
    }
}
