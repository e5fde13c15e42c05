//! What is posted and what is answered, whatever the version of HTTP.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{StatusCode, Uri};

use super::faults;
use crate::delivery::Fault;

/// Of an answer's body, no more is read; over HTTP/2 no more may be sent.
pub const BODY: usize = 16 << 10;

/// A request.
pub struct Message {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The beginning of its body, at most [`BODY`].
    pub body: Vec<u8>,
    /// What kept the body from its end; none if the end came, or as much as is read.
    pub broke: Option<Fault>,
}

/// Why there is no answer.
pub enum Failed {
    /// Nothing of the request was sent, since the connection was closed before; or nothing was done for it, as its
    /// receiver says. It may be sent over another connection.
    Unsent(Fault),
    Broke(Fault),
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unsent(fault) | Failed::Broke(fault) => fault,
        }
    }
}

/// The body of an answer as it comes.
pub trait Chunks {
    /// What comes next; none at the end.
    async fn next(&mut self) -> Option<Result<Bytes, Fault>>;
}

impl Chunks for Incoming {
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        let frame = self.frame().await?.map_err(|error| faults::of_body(&error));
        // Trailers are no data.
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }
}

impl Chunks for h2::RecvStream {
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        // What was read is not given back to the stream's window: no more than that may be sent.
        Some(self.data().await?.map_err(|error| faults::of_h2(&error)))
    }
}

impl Reply {
    /// Reads an answer's body, at most [`BODY`] bytes of it.
    pub async fn read(status: StatusCode, headers: HeaderMap, mut chunks: impl Chunks) -> Self {
        let mut reply = Self { status, headers, body: Vec::new(), broke: None };
        while reply.body.len() < BODY
            && let Some(chunk) = chunks.next().await
        {
            match chunk {
                Ok(chunk) => reply.body.extend(chunk.iter().take(BODY - reply.body.len())),
                Err(fault) => {
                    reply.broke = Some(fault);
                    break;
                }
            }
        }
        reply
    }
}
