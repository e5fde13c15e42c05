//! The three tenants' receivers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use tokio::task::JoinSet;

use crate::cli::failure::Failure;
use crate::signature::{Secret, random_secret};

const TENANTS: [(&str, &str); 3] =
    [("acme", "calls.acme.example"), ("globex", "voice.globex.example"), ("initech", "sip.initech.example")];

/// The number dialled in the call that comes over a shared domain.
const SHARED_NUMBER: &str = "+1 555-0102";

/// A delivery as it was received.
#[derive(Clone)]
pub struct TenantReceived {
    pub id: String,
    call: String,
    sequence: u64,
    tenant: usize,
    pub verified: bool,
    pub accepted: bool,
}

/// The receivers; they end with their owner.
pub struct Receivers {
    addresses: Vec<SocketAddr>,
    secrets: Vec<Secret>,
    received: Arc<Mutex<Vec<TenantReceived>>>,
    _tasks: JoinSet<()>,
}

struct ExampleTenant {
    index: usize,
    secret: Secret,
    to_fail: AtomicUsize,
    received: Arc<Mutex<Vec<TenantReceived>>>,
}

impl Receivers {
    /// Opens all three; the last one answers 500 to its first `failing` deliveries.
    pub async fn open(failing: usize) -> Result<Self, Failure> {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (mut addresses, mut secrets, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        for index in 0..TENANTS.len() {
            let secret = Secret::parse(&format!("whsec_{}", *random_secret()))
                .map_err(|fault| Failure::new(fault.to_string()))?;
            let to_fail = AtomicUsize::new(if index + 1 == TENANTS.len() { failing } else { 0 });
            let tenant =
                ExampleTenant { index, secret: secret.clone(), to_fail, received: Arc::clone(&received) };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.map_err(|error| Failure::new(error.to_string()))?;
            addresses.push(listener.local_addr().map_err(|error| Failure::new(error.to_string()))?);
            secrets.push(secret);
            let app = Router::new().fallback(receive).with_state(Arc::new(tenant));
            tasks.spawn(async move {
                // It ends with the demonstration.
                let _ = axum::serve(listener, app).await;
            });
        }
        Ok(Self { addresses, secrets, received, _tasks: tasks })
    }

    /// The hook table that routes to them.
    pub fn hooks(&self) -> String {
        let mut text = String::from("hooks:\n");
        for ((tenant, host), (address, secret)) in
            TENANTS.iter().zip(self.addresses.iter().zip(&self.secrets))
        {
            text += &format!("  - host: {host}\n    tenant: {tenant}\n    url: http://{address}/livekit\n");
            text += &format!("    secret: {}\n", *secret.reveal());
            if *tenant == "acme" {
                text += &format!("    numbers: [\"{SHARED_NUMBER}\"]\n");
            }
        }
        text
    }

    /// All that has come so far.
    pub fn received(&self) -> Vec<TenantReceived> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(State(tenant): State<Arc<ExampleTenant>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let timestamp = text("webhook-timestamp").parse().unwrap_or_default();
    let verified = tenant.secret.verifies(text("webhook-id"), timestamp, &body, text("webhook-signature"));
    let failing =
        tenant.to_fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    let accepted = verified && failing.is_err();
    let received = TenantReceived {
        id: text("webhook-id").to_owned(),
        call: text("switchhook-call").to_owned(),
        sequence: text("switchhook-sequence").parse().unwrap_or_default(),
        tenant: tenant.index,
        verified,
        accepted,
    };
    tenant.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    if accepted { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
}

/// How many deliveries a tenant accepted after a later one of the same call; repeats do not count.
pub fn out_of_order(received: &[TenantReceived]) -> usize {
    let mut last: HashMap<(usize, &str), u64> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    let mut wrong = 0;
    for one in received.iter().filter(|one| one.accepted) {
        if !seen.insert(&*one.id) {
            continue;
        }
        let latest = last.entry((one.tenant, &one.call)).or_default();
        wrong += usize::from(one.sequence < *latest);
        *latest = one.sequence.max(*latest);
    }
    wrong
}
