//! The composition root: builds the router, starts it, supervises it, and ends it in order.
//!
//! The only place that starts long-lived tasks. Each has a name; one that ends before its time ends
//! the service with that name.

mod chores;
mod descriptors;
mod directory;
mod fault;
mod keys;
mod listener;
mod parts;
mod protection;
mod reload;
mod secret;
mod tasks;
mod tls;

use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::fault::ServiceFault;

use self::chores::{
    copy_history, count_unrouted, digest, erase, expire_held, look_after_files, note_waiting, pulse, sweep,
};
use self::descriptors::{Descriptors, raise_limit};
use self::directory::{DataDirectory, DirectoryLock};
use self::listener::{Served, listen, serve};
use self::parts::{Doorstep, Parts};
use self::protection::Protection;
use self::tasks::Tasks;
use self::tls::Certificate;
use crate::config::Config;
use crate::dispatch;
use crate::http::{Phase, Vitals, health_alone};
use crate::network::Listeners;
use crate::outbox::Outbox;
use crate::telemetry::Metrics;
use crate::time::Clock;

/// The task that LiveKit's requests come to.
const EVENTS_DOOR: &str = "the listener for events";

/// What a connection beyond those that are served at once is told.
const ALL_OPEN: &str = "All connections that are served at once are open.";

/// From the signal to the end of the process at most ten seconds pass, whatever hangs: these, 0.2 s for the threads of
/// the runtime, and 1 s for the log.
const STOP_WITHIN: Duration = Duration::from_millis(8500);

/// Of these, the tasks have so many: the dispatcher's drain of 5 s, then a second for connections that are busy. The rest
/// is the writer's, and all that the tasks did not need.
const FINISH_WITHIN: Duration = Duration::from_millis(6500);

/// A running router.
pub struct Service {
    /// Where LiveKit posts.
    pub address: SocketAddr,
    /// Where the API listens.
    pub api_address: SocketAddr,
    vitals: Arc<Vitals>,
    metrics: Arc<Metrics>,
    outbox: Arc<Outbox>,
    clock: Clock,
    tasks: Tasks,
    stop_dispatch: CancellationToken,
    stop_doors: CancellationToken,
    stop_answers: CancellationToken,
    /// Keeps other routers off the data directory.
    _lock: DirectoryLock,
}

impl Service {
    /// Builds and starts a router.
    ///
    /// # Errors
    /// [`ServiceFault`], with nothing left running.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, ServiceFault> {
        let (listener, address) = listen(config.listen)?;
        let (api_listener, api_address) = listen(config.api_listen)?;
        let descriptors = Descriptors::divide(raise_limit(), config.connections, config.dispatch.attempts);
        descriptors.say(config.connections);
        let dispatch = dispatch::Config { attempts: descriptors.attempts, ..config.dispatch };
        let config = Config { dispatch, ..config };
        let doorsteps = Doorstep::both((&listener, descriptors.events), (&api_listener, descriptors.api));
        let own = Listeners(vec![address, api_address]);
        let parts = Parts::build(config, doorsteps, &own, &clock).await?;
        let Parts { outbox, metrics, vitals, dispatch, ingress, posts, api, keys, .. } = parts;
        let Parts { hooks, hooks_text, lock, protection, health, forwarder, dispatch_handle, .. } = parts;
        let Protection { certificate, api_certificate, secret, .. } = protection;
        warn_if_exposed(api_address, api_certificate.is_some());
        let certificates = [&certificate, &api_certificate].map(Clone::clone);
        let doors = Doors { metrics: Arc::clone(&metrics), vitals: Arc::clone(&vitals) };
        let events_door = doors.served("events", (listener, descriptors.events), posts, certificate);
        let api_door = doors.served("api", (api_listener, descriptors.api), api, api_certificate);

        let [stop_dispatch, stop_doors, stop_answers] = std::array::from_fn(|_| CancellationToken::new());
        let (time, stop) = (|| clock.clone(), || stop_doors.clone());
        let mut tasks = Tasks::default();
        tasks.start("the dispatcher", dispatch.run(stop_dispatch.clone()));
        tasks.start("the keeper of connections", forwarder.keep_connections(stop()));
        tasks.start(EVENTS_DOOR, serve(events_door, time(), stop()));
        tasks.start("the listener of the API", serve(api_door, time(), stop()));
        for certificate in certificates.into_iter().flatten() {
            tasks
                .start("the watcher of certificates", certificate.watch(Arc::clone(&health), time(), stop()));
        }
        let lock = look_after(&mut tasks, (secret.data.clone(), lock), &outbox, (&clock, &stop_doors));
        tasks.start("the watcher of the API secret", secret.watch(time(), stop()));
        tasks.start("the answerer of LiveKit's requests", ingress.answer(stop_answers.clone()));
        tasks.start("the sweeper", sweep(Arc::clone(&outbox), time(), stop()));
        tasks.start("the digester", digest(Arc::clone(&outbox), time(), stop()));
        tasks.start("the counter of unrouted events", count_unrouted(Arc::clone(&outbox), time(), stop()));
        tasks.start("the eraser", erase(Arc::clone(&outbox), time(), stop()));
        tasks.start("the copier of history", copy_history(Arc::clone(&outbox), time(), stop()));
        let held = expire_held(Arc::clone(&outbox), Arc::clone(&metrics), time(), stop());
        tasks.start("the keeper of held events", held);
        let noting = note_waiting(dispatch_handle, Arc::clone(&metrics), time(), stop());
        tasks.start("the keeper of the last hour", noting);
        tasks.start("the pulse", pulse(time(), stop()));
        tasks.start("the watcher of keys", keys.watch(time(), stop()));
        tasks.start("the watcher of hooks", hooks.watch(hooks_text, time(), stop()));
        vitals.enter(Phase::Serving);
        Ok(Self {
            address,
            api_address,
            vitals,
            metrics,
            outbox,
            clock,
            tasks,
            stop_dispatch,
            stop_doors,
            stop_answers,
            _lock: lock,
        })
    }

    /// Starts one more task under the service's supervision.
    #[doc(hidden)]
    pub fn start_task(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.start(name, task);
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
        let end = self.clock.now() + STOP_WITHIN;
        self.vitals.enter(Phase::Draining);
        tracing::info!("stopping: what is in flight finishes, events are still acknowledged");
        let clock = self.clock.clone();
        if clock.timeout(FINISH_WITHIN, self.finish()).await.is_err() {
            tracing::error!(tasks = self.tasks.names(), "stopped before these tasks ended");
            self.stop_doors.cancel();
        }
        self.outbox.close();
        if clock.timeout(end.since(clock.now()), self.outbox.writer_ended()).await.is_err() {
            let events = self.outbox.unwritten();
            tracing::error!(events, "stopped before the store took everything");
        }
    }

    /// Waits until what is in flight has finished, while events are still acknowledged, and then until the doors are
    /// closed.
    async fn finish(&mut self) {
        self.stop_dispatch.cancel();
        self.tasks.wait_for("the dispatcher").await;
        // Streams have no end of their own, and the doors wait for answers.
        self.metrics.live.end();
        self.stop_doors.cancel();
        // Requests that came before the doors closed are answered.
        self.tasks.wait_for(EVENTS_DOOR).await;
        self.stop_answers.cancel();
        self.tasks.wait_for_all().await;
    }
}

/// Starts what looks after the data directory and the database in it.
fn look_after(
    tasks: &mut Tasks,
    (data, lock): (PathBuf, File),
    outbox: &Arc<Outbox>,
    (clock, stop): (&Clock, &CancellationToken),
) -> DirectoryLock {
    let lock = DirectoryLock::new(lock.into());
    let directory = DataDirectory::new(data, Arc::clone(&lock));
    tasks.start("the keeper of the data directory", directory.keep(clock.clone(), stop.clone()));
    let files = look_after_files(Arc::clone(outbox), clock.clone(), stop.clone());
    tasks.start("the watcher of the database's files", files);
    lock
}

/// What both listeners have.
struct Doors {
    metrics: Arc<Metrics>,
    vitals: Arc<Vitals>,
}

impl Doors {
    /// What is served at a listener, on so many connections at once.
    fn served(
        &self,
        name: &'static str,
        (listener, connections): (TcpListener, usize),
        router: Router,
        certificate: Option<Arc<Certificate>>,
    ) -> Served {
        let (metrics, when_full) =
            (Arc::clone(&self.metrics), health_alone(Arc::clone(&self.vitals), ALL_OPEN));
        Served { name, listener, router, when_full, connections, certificate, metrics }
    }
}

/// Says that tokens can be read on the way, if they can.
fn warn_if_exposed(api: SocketAddr, is_encrypted: bool) {
    if !is_encrypted && !api.ip().is_loopback() {
        tracing::warn!(
            api = %api,
            "THE API IS SERVED WITHOUT TLS on an address other machines may reach: whoever can listen on the way \
             reads operators' and tenants' tokens, secrets and what is told of calls. Serve it over TLS \
             (--api-tls-cert and --api-tls-key), or let it listen on loopback (--api-listen 127.0.0.1:7891) behind \
             a proxy on this machine that ends TLS"
        );
    }
}
