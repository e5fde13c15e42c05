//! The HTTP client of deliveries: what it sends with each request, and the bounds of what it reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::Url;

use super::conduit::Credit;
use super::dial::{Connector, Dial};
use super::faults;
use crate::delivery::Fault;

/// An idle connection is kept this long: shorter than servers commonly do (Node.js: 5 s), so that a delivery
/// does not use a connection that its server is closing.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections to one host.
const IDLE_PER_HOST: usize = 32;

/// Bytes of an answer's head. HTTP/2 has its own bound, 16 KiB.
const HEAD: usize = 64 << 10;

/// Of an answer's body, no more is read; over HTTP/2 no more may be sent.
pub const BODY: usize = 16 << 10;

/// Bytes of bodies that an HTTP/2 peer may send ahead, over all requests in flight.
const AHEAD: u32 = 1 << 20;

/// An HTTP/2 peer that keeps requests waiting is asked after this time whether it is there, and again.
const PING_AFTER: Duration = Duration::from_secs(5);

/// Without an answer to that, the connection is closed.
const PONG_WITHIN: Duration = Duration::from_secs(3);

static AGENT: HeaderValue = HeaderValue::from_static(concat!("Switchhook/", env!("CARGO_PKG_VERSION")));
static ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// Posts to what a network permits, over connections of its own.
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    dial: Arc<Dial>,
}

impl Client {
    /// Connects through `dial`. Redirects are not followed, nothing is decompressed, no proxy of the environment is
    /// used, and nothing is sent twice: the lane does that. (A request of which nothing was sent yet takes another
    /// connection if its idle one turns out to be closed.)
    pub fn new(dial: Dial) -> Self {
        let dial = Arc::new(dial);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            // A connection that has silently died under its requests must not swallow those that follow.
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PONG_WITHIN)
            .http1_max_buf_size(HEAD)
            .http2_initial_stream_window_size(BODY as u32)
            .http2_initial_connection_window_size(AHEAD)
            .build(Connector(Arc::clone(&dial)));
        Self { http, dial }
    }

    /// Posts a body, and gives the head of the answer.
    ///
    /// # Errors
    /// What kept it from coming.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Fault> {
        // A removed hook's URL was checked by other settings.
        self.dial.network.check(url).map_err(|_| Fault::Forbidden)?;
        // Every URL that passes the check is a URI.
        let uri = Uri::try_from(url.as_str()).map_err(|_| Fault::Forbidden)?;
        let mut request = request(uri, headers, body);
        let connection = capture_connection(&mut request);
        let response = self.http.request(request).await.map_err(|error| faults::of_request(&error))?;
        if let Some(credit) = response.extensions().get() {
            self.answered(credit, &connection);
        }
        Ok(response)
    }

    /// Lets the peer send more, or makes its connection take no further request if it is too old.
    fn answered(&self, credit: &Credit, connection: &CaptureConnection) {
        credit.extend();
        if credit.is_over(self.dial.clock.now())
            && let Some(connection) = &*connection.connection_metadata()
        {
            connection.poison();
        }
    }
}

fn request(uri: Uri, mut headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    headers.entry(USER_AGENT).or_insert_with(|| AGENT.clone());
    headers.entry(ACCEPT).or_insert_with(|| ANYTHING.clone());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// Reads an answer's body, so that the connection can be used again; beyond 16 KiB the connection is dropped.
///
/// # Errors
/// What broke it.
pub async fn drain(mut body: Incoming) -> Result<(), Fault> {
    let mut read = 0;
    while read < BODY
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| faults::of_body(&error))?;
        read += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
}

/// The beginning of an answer's body, at most `most` bytes; if it breaks, what came before.
pub async fn beginning(mut body: Incoming, most: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < most
        && let Some(Ok(frame)) = body.frame().await
    {
        let data = frame.data_ref().map_or(&[][..], |data| data);
        read.extend_from_slice(&data[..data.len().min(most - read.len())]);
    }
    read
}
