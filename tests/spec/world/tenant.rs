//! Tenants' receivers: one that records what comes and answers as told, and ones that misbehave.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::PATIENCE;
use super::secrets::{self, Kind};

/// How a tenant answers one delivery.
#[derive(Clone)]
pub enum Reply {
    Status(u16),
    With(u16, &'static str, String),
    Body(u16, usize),
    /// Holds the answer until [`Tenant::release`].
    Hang,
}

/// A delivery as a tenant received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// With its query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }
}

/// A tenant's receiver: records what comes and answers as told, 200 when nothing is told.
pub struct Tenant {
    address: SocketAddr,
    inner: Arc<Inner>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<Reply>>,
    came: Notify,
    release: Notify,
}

impl Tenant {
    pub async fn open() -> Self {
        Self::answering([]).await
    }

    /// A tenant that answers the first deliveries so, the rest with 200.
    pub async fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        let inner =
            Arc::new(Inner { replies: Mutex::new(replies.into_iter().collect()), ..Inner::default() });
        let app = Router::new().fallback(receive).with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self { address, inner, tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.received.lock().expect("received").clone()
    }

    pub fn ids(&self) -> Vec<String> {
        self.received().iter().map(|received| received.id().to_owned()).collect()
    }

    pub fn count(&self) -> usize {
        self.inner.received.lock().expect("received").len()
    }

    pub fn reply(&self, reply: Reply) {
        self.inner.replies.lock().expect("replies").push_back(reply);
    }

    /// Lets hanging answers go.
    pub fn release(&self) {
        self.inner.release.notify_waiters();
    }

    /// Waits until `count` deliveries have come, and gives them all.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let began = Instant::now();
        while self.count() < count {
            assert!(began.elapsed() < PATIENCE, "{} of {count} came: {:?}", self.count(), self.ids());
            let _ = tokio::time::timeout(Duration::from_millis(50), self.inner.came.notified()).await;
        }
        self.received()
    }

    /// Ends the server: connections to it are refused from here on.
    pub async fn close(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// A tenant gets its fixed headers, the fields that it does not redact, and no other secret.
impl Drop for Tenant {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for Received { headers, body, .. } in self.received() {
                let but = [Kind::HeaderValue, Kind::BodyField, Kind::UrlQuery];
                secrets::search("a delivery's headers", format!("{headers:?}"), &but);
                secrets::search("a delivery's body", body, &but);
            }
        }
    }
}

async fn receive(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    // Taken before anybody is told: what a test says after a delivery came is for the next one.
    let reply = inner.replies.lock().expect("replies").pop_front();
    inner.received.lock().expect("received").push(Received { path: uri.to_string(), headers, body });
    inner.came.notify_one();
    let status = |code| StatusCode::from_u16(code).expect("a status");
    match reply {
        None => StatusCode::OK.into_response(),
        Some(Reply::Status(code)) => status(code).into_response(),
        Some(Reply::With(code, name, value)) => (status(code), [(name, value)]).into_response(),
        Some(Reply::Body(code, bytes)) => (status(code), vec![b'x'; bytes]).into_response(),
        Some(Reply::Hang) => {
            inner.release.notified().await;
            StatusCode::OK.into_response()
        }
    }
}

/// A receiver that treats connections as `treat` says: for what no HTTP server would do.
pub async fn misbehaving<F, R>(treat: F) -> (String, JoinSet<()>)
where
    F: Fn(TcpStream) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(treat.clone()(stream));
        }
    });
    (url, tasks)
}

/// A listener that takes no more connections: whoever connects waits. Its address, and what keeps it full.
pub async fn full(at: SocketAddr) -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(at).expect("a port");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    let within = Duration::from_millis(200);
    while let Ok(stream) = tokio::time::timeout(within, TcpStream::connect(address)).await {
        waiting.push(stream.expect("a connection"));
    }
    (address, (listener, waiting))
}
