//! The store is opened. As long as it cannot be read, nothing can be routed but by a guess: both listeners answer that
//! the router starts, and 503 to all else.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::fault::ServiceFault;
use super::super::listener::{Served, serve};
use super::super::protection::Protection;
use super::super::tls::Certificate;
use crate::http::{Vitals, health_alone};
use crate::outbox::{FaultKind, OpenedStore, StoreFault};
use crate::telemetry::{Health, Metrics, Seldom};
use crate::time::Clock;

/// A store that cannot be read is tried again after so long.
const AGAIN: Duration = Duration::from_millis(250);

/// If the store is not open after so long, the listeners answer that the router starts.
const OPENS_WITHIN: Duration = Duration::from_secs(1);

/// The log says so often that it cannot be read.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// A listener that nothing is served at yet, and how many connections it may have.
#[derive(Clone, Copy)]
pub struct Doorstep<'a> {
    pub name: &'static str,
    pub listener: &'a TcpListener,
    pub connections: usize,
}

impl<'a> Doorstep<'a> {
    /// The listeners for events and for the API.
    pub fn both(
        (events, of_events): (&'a TcpListener, usize),
        (api, of_api): (&'a TcpListener, usize),
    ) -> [Self; 2] {
        [
            Self { name: "events", listener: events, connections: of_events },
            Self { name: "api", listener: api, connections: of_api },
        ]
    }
}

/// What is known of a router while it starts.
pub struct Starting {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub vitals: Arc<Vitals>,
}

impl Starting {
    /// Of a router that has just begun to start.
    pub fn new() -> Self {
        let health = Arc::new(Health::default());
        let vitals = Arc::new(Vitals::new(Arc::clone(&health)));
        Self { metrics: Arc::default(), health, vitals }
    }
}

/// Opens the store; waits until it can be read. An answer is given meanwhile, also while opening takes long: a probe that
/// is not answered would have the router killed, and it would begin again from the start.
///
/// # Errors
/// [`ServiceFault`] when it cannot be read, and waiting does not change that.
pub async fn open_store(
    directory: &Path,
    doorsteps: [Doorstep<'_>; 2],
    protection: &Protection,
    starting: &Starting,
    clock: &Clock,
) -> Result<OpenedStore, ServiceFault> {
    let (mut waiting, mut fault) = (None, None);
    let said = Seldom::new(SAY_AGAIN);
    let mut opening = Box::pin(open_after(Duration::ZERO, directory, clock));
    let opened = loop {
        match clock.timeout(OPENS_WITHIN, opening.as_mut()).await {
            Ok(Ok(store)) => break Ok(store),
            Ok(Err(found)) if !found.may_end() => break Err(unusable(directory, &found)),
            Ok(Err(found)) => {
                fault = Some(found);
                opening = Box::pin(open_after(AGAIN, directory, clock));
            }
            Err(_) => {}
        }
        let fault = fault.get_or_insert(StoreFault::Slow);
        if waiting.is_none() {
            let begun = Waiting::begin(doorsteps, protection, starting, clock);
            waiting = Some(begun.map_err(|error| unusable(directory, &StoreFault::Io(error)))?);
        }
        say(directory, &doorsteps, fault, &starting.health, said.admit(clock.now()).is_some());
    };
    if let Some(waiting) = waiting {
        waiting.end().await;
    }
    opened
}

async fn open_after(pause: Duration, directory: &Path, clock: &Clock) -> Result<OpenedStore, StoreFault> {
    clock.sleep(pause).await;
    let (directory, now) = (directory.to_owned(), clock.unix());
    let opening = tokio::task::spawn_blocking(move || OpenedStore::open(&directory, now));
    opening.await.unwrap_or(Err(StoreFault::Closed))
}

/// Both listeners, served while the store is not open.
struct Waiting {
    serving: JoinSet<()>,
    stop: CancellationToken,
}

impl Waiting {
    fn begin(
        doorsteps: [Doorstep<'_>; 2],
        protection: &Protection,
        starting: &Starting,
        clock: &Clock,
    ) -> std::io::Result<Self> {
        let (stop, mut serving) = (CancellationToken::new(), JoinSet::new());
        let certificates = [&protection.certificate, &protection.api_certificate];
        for (doorstep, certificate) in doorsteps.into_iter().zip(certificates) {
            let served = waiting(doorstep, certificate.clone(), starting)?;
            serving.spawn(serve(served, clock.clone(), stop.clone()));
        }
        Ok(Self { serving, stop })
    }

    /// Connections that wait for a last answer get it.
    async fn end(mut self) {
        self.stop.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}

/// What is served at a listener while the store cannot be read.
fn waiting(
    doorstep: Doorstep<'_>,
    certificate: Option<Arc<Certificate>>,
    starting: &Starting,
) -> std::io::Result<Served> {
    let Doorstep { name, listener, connections } = doorstep;
    // Another descriptor of the same socket: what comes later is accepted by the one that stays.
    let listener = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
    let detail = "The router starts: its store cannot be read yet.";
    let router = health_alone(Arc::clone(&starting.vitals), detail);
    Ok(Served {
        name,
        listener: TcpListener::from_std(listener)?,
        when_full: router.clone(),
        router,
        connections,
        certificate,
        metrics: Arc::clone(&starting.metrics),
    })
}

fn say(directory: &Path, doorsteps: &[Doorstep<'_>; 2], fault: &StoreFault, health: &Health, is_due: bool) {
    let kind = fault.kind().unwrap_or(FaultKind::Other);
    if health.store_fails(kind) || is_due {
        let (data, fault_kind, fix) = (directory.display(), kind.as_str(), kind.fix_at_start());
        let [listen, api] =
            doorsteps.map(|doorstep| doorstep.listener.local_addr().ok().map(tracing::field::display));
        match kind {
            FaultKind::Slow => tracing::warn!(
                %data, listen, api,
                "the store is still being opened: the router answers 503 until then. A large database of an older release \
                 takes minutes; if there is none, the disk is slow"
            ),
            _ => tracing::error!(
                %data, listen, api, fault = fault_kind, error = %fault, fix,
                "the store cannot be read: the router waits for it and answers 503 until then"
            ),
        }
    }
}

/// Why a router does not start, with the command that helps.
pub fn unusable(directory: &Path, fault: &StoreFault) -> ServiceFault {
    let data = directory.display().to_string();
    let advice = match fault.kind() {
        Some(FaultKind::Damaged) => format!(
            ".\n  `switchhook store check --data {data}` says where it is damaged, `switchhook store recover --data \
             {data}` saves what can be read"
        ),
        _ => String::new(),
    };
    ServiceFault::Store(data, format!("{fault}{advice}"))
}
