//! What a router consists of, built and put together; nothing runs yet.

mod begin;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use tokio::sync::mpsc;

pub use self::begin::Doorstep;

use self::begin::{Starting, open_store, unusable};
use super::fault::ServiceFault;
use super::keys::KeyWatcher;
use super::protection::Protection;
use super::reload::Reloader;
use crate::api::{Api, RecordedRefusals, StoreFaults, Trials};
use crate::config::{Config, HooksSource, around};
use crate::dispatch::{Dispatch, Forwarder, Handle, Tester};
use crate::hooks::Around;
use crate::http::{Vitals, health_routes};
use crate::ingress::{Ingress, KeyRing};
use crate::network::{Listeners, Network};
use crate::outbox::{self, Hooks, OpenedStore, Outbox, Views};
use crate::signature::MasterSecret;
use crate::telemetry::{Degradation, Health, Metrics};
use crate::time::Clock;

/// Edits of the hook table that wait in their queue; further ones wait in front of it.
const EDITS: usize = 16;

/// The parts of a router.
pub struct Parts {
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
    pub vitals: Arc<Vitals>,
    pub dispatch: Dispatch,
    pub dispatch_handle: Handle,
    pub forwarder: Arc<Forwarder>,
    pub ingress: Arc<Ingress>,
    /// Where LiveKit posts.
    pub posts: Router,
    /// The API.
    pub api: Router,
    pub keys: KeyWatcher,
    pub protection: Protection,
    pub health: Arc<Health>,
    pub hooks: Reloader,
    /// What the hooks file is known to hold.
    pub hooks_text: String,
    /// Keeps other routers off the data directory.
    pub lock: File,
}

impl Parts {
    /// Opens the store and builds the other parts. `own`: where the router listens.
    ///
    /// # Errors
    /// [`ServiceFault::Store`] and [`ServiceFault::Reach`].
    pub async fn build(
        config: Config,
        doorsteps: [Doorstep<'_>; 2],
        own: &Listeners,
        clock: &Clock,
    ) -> Result<Self, ServiceFault> {
        let starting = Starting::new();
        let protection = Protection::new(config.exposure, &config.outbox.directory, clock);
        let store = open_store(&config.outbox.directory, doorsteps, &protection, &starting, clock).await?;
        let hooks_text = text_in_force(&config.hooks, &starting.health);
        let HooksSource { path, hooks, .. } = config.hooks;
        let tokens = Arc::clone(&protection.secret.tokens);
        tokens.revoke(&store.revocations);
        let outbox = begin(store, config.outbox, hooks, (config.master, clock.clone()), &starting)?;
        let Starting { metrics, health, vitals } = starting;
        let ring = Arc::new(KeyRing::new(&config.keys.all()));
        let around = around_keys(&path, config.reach.network.clone(), Arc::clone(&ring));
        let forwarder = Arc::new(Forwarder::new(config.reach, own, config.dispatch.attempts, clock.clone())?);
        let (store, sender, metered) = (Arc::clone(&outbox), Arc::clone(&forwarder), Arc::clone(&metrics));
        let (dispatch, handle) = Dispatch::new(config.dispatch, store, sender, clock.clone(), metered);
        let (posts, metered) = (Arc::clone(&outbox), Arc::clone(&metrics));
        let ingress = Ingress::new(Arc::clone(&ring), posts, metered, clock.clone(), config.limits).into();
        // One edit at a time: others wait.
        let (edits, to_edit) = mpsc::channel(EDITS);
        let api = Api {
            tokens,
            guard: Arc::clone(&protection.guard),
            views: Views::new(Arc::clone(&outbox)),
            dispatch: handle.clone(),
            refusals: RecordedRefusals::default(),
            store_faults: StoreFaults::default(),
            trials: Trials::new(Tester { forwarder: Arc::clone(&forwarder), clock: clock.clone() }),
            metrics: Arc::clone(&metrics),
            vitals: Arc::clone(&vitals),
            clock: clock.clone(),
            edits,
            metrics_open: config.metrics_open,
        };
        let hooks = Reloader {
            path,
            around,
            outbox: Arc::clone(&outbox),
            dispatch: handle.clone(),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            edits: to_edit,
        };
        let health_routes = health_routes(Arc::clone(&vitals));
        Ok(Self {
            posts: Ingress::routes(Arc::clone(&ingress)).merge(health_routes.clone()),
            // Health is told to everybody: a probe must not be turned away.
            api: protection.guard.protect(Arc::new(api).routes()).merge(health_routes),
            protection,
            health,
            keys: KeyWatcher { source: config.keys, ring, outbox: Arc::clone(&outbox) },
            lock: config.lock,
            ingress,
            outbox,
            metrics,
            vitals,
            dispatch,
            dispatch_handle: handle,
            forwarder,
            hooks,
            hooks_text,
        })
    }
}

/// Begins with a store that is open.
fn begin(
    store: OpenedStore,
    config: outbox::Config,
    hooks: Hooks,
    secrets: (MasterSecret, Clock),
    Starting { metrics, health, vitals }: &Starting,
) -> Result<Arc<Outbox>, ServiceFault> {
    let (directory, traffic) = (config.directory.clone(), Arc::clone(&metrics.traffic));
    let begun = Outbox::begin(store, config, hooks, secrets, Arc::clone(health), traffic);
    let outbox = Arc::new(begun.map_err(|fault| unusable(&directory, &fault))?);
    metrics.hooks(outbox.table().len());
    vitals.opened(Arc::clone(&outbox));
    Ok(outbox)
}

/// What the hooks file is read against: no tenant may have one of the platform's keys.
fn around_keys(path: &Path, network: Network, ring: Arc<KeyRing>) -> Arc<Around<'static>> {
    Arc::new(around(path, network).beside_keys(move |key| ring.has(key)))
}

/// The text of the hooks file if it is in force; empty if the last good table is used instead, so that any text
/// counts as a change.
fn text_in_force(source: &HooksSource, health: &Health) -> String {
    let Some(faults) = &source.wrong else { return source.hooks.read.text.to_string() };
    health.raise(Degradation::Hooks);
    tracing::error!(%faults, "hooks file unusable: the last good table is in force");
    String::new()
}
