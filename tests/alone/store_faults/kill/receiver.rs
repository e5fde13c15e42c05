//! A tenant's receiver that notes what comes, and takes it or fails as a rule says.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use standardwebhooks::Webhook;
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
    /// Whether the receiver's secret signed it, and nothing else did. Of a receiver without one: see `signed`.
    pub is_genuine: bool,
    /// Of a receiver whose secrets are learnt later: what they must verify.
    pub signed: Option<Signed>,
}

/// A signed delivery.
#[derive(Clone, Debug)]
pub struct Signed {
    pub path: String,
    timestamp: i64,
    /// Its signatures, `v1,…` each.
    signatures: Vec<String>,
    body: Bytes,
}

impl Signed {
    /// Whether one of the signatures is this secret's.
    pub fn is_by(&self, id: &str, secret: &str) -> bool {
        self.signatures.contains(&signature(secret, id, self.timestamp, &self.body))
    }

    /// Whether each of the signatures is by one of these secrets.
    pub fn is_only_by(&self, id: &str, secrets: &[String]) -> bool {
        let own: Vec<_> =
            secrets.iter().map(|secret| signature(secret, id, self.timestamp, &self.body)).collect();
        !self.signatures.is_empty() && self.signatures.iter().all(|signature| own.contains(signature))
    }
}

fn signature(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> String {
    let webhook = Webhook::new(secret).expect("a secret");
    webhook.sign(id, timestamp, body).expect("a signature")
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
    secret: Option<String>,
}

impl Receiver {
    /// A receiver that takes what `takes` says, and answers the rest so. `secret`: what signs its deliveries; none: that
    /// is judged later.
    pub async fn open(
        secret: Option<String>,
        refusal: StatusCode,
        takes: impl Fn(&Arrival) -> bool + Send + Sync + 'static,
    ) -> Self {
        let arrivals = Arc::default();
        let shared = Shared { arrivals: Arc::clone(&arrivals), takes: Arc::new(takes), refusal, secret };
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

    /// The same, for whoever waits for something.
    pub fn shared(&self) -> Arc<Mutex<Vec<Arrival>>> {
        Arc::clone(&self.arrivals)
    }
}

async fn receive(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let id = header("webhook-id").to_owned();
    let signed = Signed {
        path: uri.path().to_owned(),
        timestamp: header("webhook-timestamp").parse().expect("seconds"),
        signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
        body: body.clone(),
    };
    let is_genuine = |secret: &String| signed.is_only_by(&id, std::slice::from_ref(secret));
    let mut arrival = Arrival {
        call: header("switchhook-call").to_owned(),
        sequence: header("switchhook-sequence").parse().expect("a number"),
        attempt: header("switchhook-attempt").parse().expect("a number"),
        body: hash(&body),
        taken: false,
        is_genuine: shared.secret.as_ref().is_none_or(is_genuine),
        signed: shared.secret.is_none().then_some(signed),
        id,
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
