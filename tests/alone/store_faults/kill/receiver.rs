//! A tenant's receiver that notes what comes, and takes it or fails as a rule says.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A delivery as it arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub id: String,
    pub call: String,
    pub sequence: i64,
    pub attempt: u32,
    /// The hash of its body.
    pub body: u64,
    /// Whether it was answered with 200, else with the receiver's refusal.
    pub taken: bool,
}

type Rule = dyn Fn(&Arrival) -> bool + Send + Sync;

pub struct Receiver {
    url: String,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Shared {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    takes: Arc<Rule>,
    refusal: StatusCode,
}

impl Receiver {
    /// A receiver that takes what `takes` says, and is ill with the rest: 500.
    pub async fn open(takes: impl Fn(&Arrival) -> bool + Send + Sync + 'static) -> Self {
        Self::refusing(StatusCode::INTERNAL_SERVER_ERROR, takes).await
    }

    /// The same with another refusal.
    pub async fn refusing(
        refusal: StatusCode,
        takes: impl Fn(&Arrival) -> bool + Send + Sync + 'static,
    ) -> Self {
        let arrivals = Arc::default();
        let shared = Shared { arrivals: Arc::clone(&arrivals), takes: Arc::new(takes), refusal };
        let app = Router::new().fallback(receive).with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self { url, arrivals, _tasks: tasks }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What has come so far, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().expect("arrivals").clone()
    }
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut arrival = Arrival {
        id: header("webhook-id").to_owned(),
        call: header("switchhook-call").to_owned(),
        sequence: header("switchhook-sequence").parse().expect("a number"),
        attempt: header("switchhook-attempt").parse().expect("a number"),
        body: hash(&body),
        taken: false,
    };
    // Under the lock: what is noted is in the order it was taken.
    let mut arrivals = shared.arrivals.lock().expect("arrivals");
    arrival.taken = (shared.takes)(&arrival);
    let status = if arrival.taken { StatusCode::OK } else { shared.refusal };
    arrivals.push(arrival);
    status
}

/// Bodies are compared by their hash: there are hundreds of thousands of them.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
