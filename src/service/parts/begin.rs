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

/// Opens the store; waits until it can be read.
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
    let mut fault = match open(directory, clock).await {
        Ok(store) => return Ok(store),
        Err(fault) => fault,
    };
    let (stop, said) = (CancellationToken::new(), Seldom::new(SAY_AGAIN));
    let certificates = [&protection.certificate, &protection.api_certificate];
    let mut serving = JoinSet::new();
    for (doorstep, certificate) in doorsteps.into_iter().zip(certificates) {
        let served = waiting(doorstep, certificate.clone(), starting)
            .map_err(|error| unusable(directory, &StoreFault::Io(error)))?;
        serving.spawn(serve(served, clock.clone(), stop.clone()));
    }
    let opened = loop {
        if !fault.may_end() {
            break Err(unusable(directory, &fault));
        }
        say(directory, &doorsteps, &fault, &starting.health, said.admit(clock.now()).is_some());
        clock.sleep(AGAIN).await;
        match open(directory, clock).await {
            Ok(store) => break Ok(store),
            Err(again) => fault = again,
        }
    };
    stop.cancel();
    // Connections that wait for a last answer get it.
    while serving.join_next().await.is_some() {}
    opened
}

async fn open(directory: &Path, clock: &Clock) -> Result<OpenedStore, StoreFault> {
    let (directory, now) = (directory.to_owned(), clock.unix());
    let opening = tokio::task::spawn_blocking(move || OpenedStore::open(&directory, now));
    opening.await.unwrap_or(Err(StoreFault::Closed))
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
        let (data, fault_kind, fix) = (directory.display(), kind.as_str(), kind.fix());
        let [listen, api] =
            doorsteps.map(|doorstep| doorstep.listener.local_addr().ok().map(tracing::field::display));
        tracing::error!(
            %data, listen, api, fault = fault_kind, error = %fault, fix,
            "the store cannot be read: the router waits for it and answers 503 until then"
        );
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
