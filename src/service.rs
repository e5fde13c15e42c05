//! The composition root: builds the router, starts it, supervises it, and ends it in order.
//!
//! The only place that starts long-lived tasks. Each has a name; one that ends before its time ends
//! the service with that name.

mod listener;
mod reload;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::reload::Reloader;
use crate::api::{Api, ApiSecret};
use crate::config::{Config, HooksSource, KeysSource, around};
use crate::dispatch::{Dispatch, Forwarder};
use crate::hooks::HookTable;
use crate::http::{Phase, Vitals, health_routes};
use crate::ingress::{Ingress, KeyRing, Keys};
use crate::outbox::Outbox;
use crate::telemetry::{Degradation, Health, Metrics};
use crate::time::Clock;
use crate::watch::Watch;

/// What is past its time is removed this often.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Between two rounds while much is to be removed.
const SWEEP_AGAIN: Duration = Duration::from_millis(125);

/// Connections that wait to be accepted: a burst must not wait for a lost SYN to be sent again.
const BACKLOG: u32 = 4096;

/// The writer gets this long to write what is left.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Why the router could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFault {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The database cannot be opened.
    #[error("cannot use the database in {0}: {1}")]
    Store(String, String),
    /// The system's certificates cannot be read.
    #[error("cannot use the system's TLS roots: {0}")]
    Tls(#[from] reqwest::Error),
    /// A task ended before its time.
    #[error("{0} ended; the router cannot go on without it")]
    Ended(&'static str),
}

/// A running router.
pub struct Service {
    /// Where LiveKit posts.
    pub address: SocketAddr,
    /// Where the API listens.
    pub api_address: SocketAddr,
    vitals: Arc<Vitals>,
    outbox: Arc<Outbox>,
    clock: Clock,
    tasks: Tasks,
    stop_dispatch: CancellationToken,
    stop_doors: CancellationToken,
    /// Keeps other routers off the data directory.
    _lock: std::fs::File,
}

impl Service {
    /// Builds and starts a router.
    ///
    /// # Errors
    /// [`ServiceFault`], with nothing left running.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, ServiceFault> {
        let listener = listen(config.listen)?;
        let api_listener = listen(config.api_listen)?;
        let address = local(&listener, config.listen)?;
        let api_address = local(&api_listener, config.api_listen)?;

        let metrics = Arc::new(Metrics::default());
        let health = Arc::new(Health::default());
        let directory = config.outbox.directory.clone();
        let HooksSource { path: hooks_path, hooks, wrong } = config.hooks;
        // Of a faulty or absent file nothing is known: whatever comes is a change.
        let known = if wrong.is_some() { String::new() } else { hooks.read.text.to_string() };
        if let Some(faults) = &wrong {
            health.raise(Degradation::Hooks);
            tracing::error!(%faults, "hooks file unusable: the last good table is in force");
        }
        let outbox = Outbox::open(config.outbox, hooks, config.master, clock.clone(), Arc::clone(&health));
        let outbox = Arc::new(
            outbox
                .map_err(|error| ServiceFault::Store(directory.display().to_string(), error.to_string()))?,
        );
        metrics.hooks(outbox.table().len());
        let vitals = Arc::new(Vitals::new(Arc::clone(&health), Arc::clone(&outbox)));
        let ring = Arc::new(KeyRing::new(&config.keys.all()));
        let platform = Arc::clone(&ring);
        let around = around(&hooks_path, config.network.clone()).beside_keys(move |key| platform.has(key));
        let around = Arc::new(around);
        let forwarder = Forwarder::new(Arc::new(config.network), clock.clone())?;
        let (dispatch, handle) = Dispatch::new(
            config.dispatch,
            Arc::clone(&outbox),
            forwarder,
            clock.clone(),
            Arc::clone(&metrics),
        );
        let ingress = Ingress::new(
            Arc::clone(&ring),
            Arc::clone(&outbox),
            Arc::clone(&metrics),
            clock.clone(),
            config.limits,
        );
        // Whoever asks for more at once waits.
        let (rotations, to_rotate) = mpsc::channel(1);
        let api = Api {
            secret: ApiSecret::new(config.api_secret),
            outbox: Arc::clone(&outbox),
            dispatch: handle.clone(),
            metrics: Arc::clone(&metrics),
            vitals: Arc::clone(&vitals),
            clock: clock.clone(),
            rotations,
            metrics_open: config.metrics_open,
        };

        let (stop_dispatch, stop_doors) = (CancellationToken::new(), CancellationToken::new());
        let health_routes = health_routes(Arc::clone(&vitals));
        let posts = Arc::new(ingress).routes().merge(health_routes.clone());
        let api = Arc::new(api).routes().merge(health_routes);
        let mut tasks = Tasks::default();
        tasks.start("the dispatcher", dispatch.run(stop_dispatch.clone()));
        tasks.start(
            "the listener for events",
            listener::serve(listener, posts, config.connections, clock.clone(), stop_doors.clone()),
        );
        tasks.start(
            "the listener of the API",
            listener::serve(api_listener, api, config.connections, clock.clone(), stop_doors.clone()),
        );
        tasks.start("the sweeper", sweep(Arc::clone(&outbox), clock.clone(), stop_doors.clone()));
        tasks.start(
            "the keeper of held events",
            expire_held(Arc::clone(&outbox), Arc::clone(&metrics), clock.clone(), stop_doors.clone()),
        );
        tasks.start("the pulse", pulse(clock.clone(), stop_doors.clone()));
        tasks.start(
            "the watcher of keys",
            watch_keys(config.keys, ring, Arc::clone(&outbox), clock.clone(), stop_doors.clone()),
        );
        let reloader = Reloader {
            path: hooks_path,
            around,
            outbox: Arc::clone(&outbox),
            dispatch: handle,
            metrics,
            health,
            rotations: to_rotate,
        };
        tasks.start("the watcher of hooks", reloader.watch(known, clock.clone(), stop_doors.clone()));
        vitals.enter(Phase::Serving);
        Ok(Self {
            address,
            api_address,
            vitals,
            outbox,
            clock,
            tasks,
            stop_dispatch,
            stop_doors,
            _lock: config.lock,
        })
    }

    /// Works until `ended`, then ends in order: what is in flight finishes while LiveKit's events
    /// are still acknowledged; the doors close after that, the store last.
    ///
    /// # Errors
    /// [`ServiceFault::Ended`] when a task ended before its time.
    pub async fn run_until(mut self, ended: impl Future<Output = ()>) -> Result<(), ServiceFault> {
        let fault = tokio::select! {
            () = ended => None,
            name = self.tasks.next() => Some(name),
            () = self.outbox.writer_ended() => Some("the writer of the store"),
        };
        self.stop().await;
        fault.map_or(Ok(()), |name| Err(ServiceFault::Ended(name)))
    }

    async fn stop(mut self) {
        self.vitals.enter(Phase::Draining);
        tracing::info!("stopping: what is in flight finishes, events are still acknowledged");
        self.stop_dispatch.cancel();
        self.tasks.wait_for("the dispatcher").await;
        self.stop_doors.cancel();
        self.tasks.wait_for_all().await;
        self.outbox.close();
        if self.clock.timeout(CLOSE_WITHIN, self.outbox.writer_ended()).await.is_err() {
            let events = self.outbox.unwritten();
            tracing::error!(events, "stopped before the store took everything");
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServiceFault> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart must not wait for the old connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| ServiceFault::Listen(address, error))
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, ServiceFault> {
    listener.local_addr().map_err(|error| ServiceFault::Listen(address, error))
}

/// The service's tasks, by name.
#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    fn start(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the next task to end; a panic is said in the log.
    async fn next(&mut self) -> &'static str {
        let id = match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(%error, "a task broke");
                error.id()
            }
            None => return "every task",
        };
        self.names.remove(&id).unwrap_or("a task")
    }

    async fn wait_for(&mut self, name: &'static str) {
        while self.names.values().any(|running| *running == name) {
            self.next().await;
        }
    }

    async fn wait_for_all(&mut self) {
        while !self.names.is_empty() {
            self.next().await;
        }
    }
}

async fn sweep(outbox: Arc<Outbox>, clock: Clock, stop: CancellationToken) {
    let mut pause = SWEEP_EVERY;
    while stop.run_until_cancelled(clock.sleep(pause)).await.is_some() {
        pause = match stop.run_until_cancelled(outbox.sweep()).await {
            None => return,
            Some(Ok(true)) => SWEEP_AGAIN,
            Some(Ok(false)) => SWEEP_EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "nothing old was removed this time");
                SWEEP_EVERY
            }
        };
    }
}

/// Sooner than a request's patience with a store that is well.
const PULSE: Duration = Duration::from_millis(250);

/// Keeps a timer running that fires before those the requests set. A timer that would be the next to fire
/// interrupts the runtime's wait: a system call and a wake-up for every event.
async fn pulse(clock: Clock, stop: CancellationToken) {
    while stop.run_until_cancelled(clock.sleep(PULSE)).await.is_some() {}
}

/// Held events are looked after this often.
const HOLD_EVERY: Duration = Duration::from_secs(1);

async fn expire_held(outbox: Arc<Outbox>, metrics: Arc<Metrics>, clock: Clock, stop: CancellationToken) {
    while stop.run_until_cancelled(clock.sleep(HOLD_EVERY)).await.is_some() {
        match stop.run_until_cancelled(outbox.expire_held()).await {
            // Rooms that never see SIP are normal: counted, not told one by one.
            Some(Ok(count)) => metrics.given_up(count),
            Some(Err(error)) => tracing::warn!(%error, "held events cannot be read"),
            None => return,
        }
    }
}

/// Keys that could not be put in force are tried again after this time.
const KEYS_AGAIN: Duration = Duration::from_millis(500);

/// A key that is a tenant's own.
fn taken(keys: &Keys, table: &HookTable) -> Option<String> {
    keys.names().into_iter().find(|key| table.owner_of_key(key).is_some()).map(str::to_owned)
}

/// Puts a changed keys file in force. A faulty one changes nothing.
async fn watch_keys(
    source: KeysSource,
    ring: Arc<KeyRing>,
    outbox: Arc<Outbox>,
    clock: Clock,
    stop: CancellationToken,
) {
    let Some((path, text)) = &source.file else { return stop.cancelled().await };
    let put_in_force = |text: &str| match Keys::parse(text) {
        Ok(keys) if source.with_file(keys.clone()).is_empty() => {
            tracing::error!(file = %path.display(), "keys file is empty: the old keys stay in force");
            true
        }
        Ok(keys) => match taken(&keys, &outbox.table()) {
            Some(key) => {
                tracing::error!(
                    file = %path.display(), key,
                    "keys file holds a tenant's own key (`livekit` in the hooks file): the old keys stay in \
                     force until one of the two files lets it go"
                );
                false
            }
            None => {
                let all = source.with_file(keys);
                ring.replace(&all);
                tracing::info!(file = %path.display(), keys = all.names().join(","), "keys reloaded");
                true
            }
        },
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            tracing::error!(
                file = %path.display(), faults = faults.join("; "),
                "keys file is faulty: the old keys stay in force"
            );
            true
        }
    };
    let mut watch = Watch::new(path, text, clock.clone());
    // A key that moves from the hooks file to this one may be seen here first.
    let mut refused: Option<String> = None;
    loop {
        let mut changed = std::pin::pin!(watch.changed());
        let text = loop {
            tokio::select! {
                text = &mut changed => break text,
                () = clock.sleep(KEYS_AGAIN), if refused.is_some() => {
                    let free = |text: &String| {
                        Keys::parse(text).is_ok_and(|keys| taken(&keys, &outbox.table()).is_none())
                    };
                    if let Some(text) = refused.take_if(|text| free(text)) {
                        put_in_force(&text);
                    }
                }
                () = stop.cancelled() => return,
            }
        };
        refused = (!put_in_force(&text)).then_some(text);
    }
}
