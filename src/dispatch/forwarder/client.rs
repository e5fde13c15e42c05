//! The HTTP client of deliveries: what it sends with each request, and over which connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use super::dial::{Dial, Dialled, Extent};
use super::message::{Failed, Message, Reply};
use super::pool::{Endpoint, Link, Pool};
use crate::delivery::Fault;
use crate::network::Network;

/// Idle connections are looked through this often.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections that were kept, and turn out to take no further request, that a request is tried on before one is made.
/// Each of them is closed with that, so that requests together get through those that a receiver's restart has left.
const KEPT_TRIED: usize = 32;

static AGENT: HeaderValue = HeaderValue::from_static(concat!("Switchhook/", env!("CARGO_PKG_VERSION")));
static ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// Posts over pooled connections. Redirects are not followed, nothing is decompressed, no proxy of the environment is
/// used, and nothing is sent twice: the lane does that.
pub struct Client {
    dial: Dial,
    pool: Arc<Pool>,
    /// For hooks that may have private targets.
    private: Extent,
    /// For all others.
    public: Extent,
}

/// A request as a hook makes it.
pub struct Outgoing<'a> {
    pub url: &'a Url,
    /// Its hook may have private targets.
    pub is_private: bool,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    /// Connects through `dial`. `network`: what hooks with private targets may reach.
    pub fn new(dial: Dial, network: Network) -> Self {
        let (private, pool) = (Extent { network, searches: true }, Arc::clone(&dial.pool));
        Self { dial, pool, private, public: Extent::default() }
    }

    /// Posts a body, and reads the answer.
    ///
    /// # Errors
    /// What kept it from coming.
    pub async fn post(&self, outgoing: Outgoing<'_>) -> Result<Reply, Fault> {
        let Outgoing { url, is_private, mut headers, body } = outgoing;
        let extent = if is_private { &self.private } else { &self.public };
        // A removed hook's URL was checked by other settings.
        extent.network.check(url).map_err(|_| Fault::Forbidden)?;
        // Every URL that passes the check is a URI.
        let uri = Uri::try_from(url.as_str()).map_err(|_| Fault::Forbidden)?;
        headers.entry(USER_AGENT).or_insert_with(|| AGENT.clone());
        headers.entry(ACCEPT).or_insert_with(|| ANYTHING.clone());
        let endpoint = Endpoint::of(&uri, is_private);
        let mut message = Message { uri, headers, body };
        let mut kept_left = KEPT_TRIED;
        loop {
            let kept = if kept_left > 0 { self.pool.take(&endpoint) } else { None };
            let is_kept = kept.is_some();
            let link = match kept {
                Some(link) => link,
                // Boxed: each attempt would have room for all that connecting takes, and mostly needs none of it.
                None => Box::pin(self.connect(endpoint.clone(), &message.uri, extent)).await?,
            };
            match self.exchange(endpoint.clone(), link, &mut message).await {
                Err(Failed::Unsent(_)) if is_kept => kept_left -= 1,
                answered => return Ok(answered?),
            }
        }
    }

    async fn connect(&self, endpoint: Endpoint, uri: &Uri, extent: &Extent) -> Result<Link, Fault> {
        Ok(match self.dial.dial(uri, extent).await? {
            Dialled::Http1(connection) => Link::Http1(connection),
            Dialled::Http2(connection) => Link::Http2(self.pool.share(endpoint, connection)),
        })
    }

    async fn exchange(&self, endpoint: Endpoint, link: Link, message: &mut Message) -> Result<Reply, Failed> {
        match link {
            Link::Http1(mut connection) => {
                let reply = connection.exchange(message).await?;
                if connection.is_free().await {
                    self.pool.put(endpoint, connection);
                }
                Ok(reply)
            }
            Link::Http2(connection) => connection.exchange(message).await,
        }
    }

    /// Closes idle connections in time, and all of them at the end.
    pub async fn keep(&self, stop: &CancellationToken) {
        let clock = &self.dial.clock;
        while stop.run_until_cancelled(clock.sleep(SWEEP)).await.is_some() {
            self.pool.sweep();
        }
        self.pool.clear();
        self.dial.drivers.end(clock).await;
    }
}
