//! HTTP/1.1 (RFC 9112). A connection belongs to one attempt at a time, which drives it: an attempt that ends early
//! takes its connection with it, and with the connection all that was not sent.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;

use super::conduit::{Conduit, Credit};
use super::faults;
use super::message::{Failed, Message, Reply};
use crate::delivery::Fault;
use crate::time::Moment;

/// Bytes of an answer's head.
const HEAD: usize = 64 << 10;

type Running = http1::Connection<TokioIo<Box<dyn Conduit>>, Full<Bytes>>;

/// A connection.
pub struct Http1 {
    send: http1::SendRequest<Full<Bytes>>,
    /// None once it has ended.
    running: Option<Running>,
    credit: Credit,
}

impl Http1 {
    /// Speaks HTTP/1.1 over `conduit`.
    ///
    /// # Errors
    /// What broke it.
    pub async fn over(conduit: Box<dyn Conduit>) -> Result<Self, Fault> {
        let credit = conduit.credit();
        let made = http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(conduit)).await;
        let (send, running) = made.map_err(|error| faults::of_request(&error))?;
        Ok(Self { send, running: Some(running), credit })
    }

    /// Posts, and reads the answer. The message loses its headers, unless it is unsent: it would take time to copy them.
    ///
    /// # Errors
    /// [`Failed`], and the connection is of no further use.
    pub async fn exchange(&mut self, message: &mut Message) -> Result<Reply, Failed> {
        let Self { send, running, credit } = self;
        let mut exchange = pin!(async {
            let response = match send.try_send_request(request(message)).await {
                Ok(response) => response,
                Err(mut error) => {
                    let unsent = error.take_message();
                    let fault = faults::of_request(&error.into_error());
                    let Some(request) = unsent else { return Err(Failed::Broke(fault)) };
                    message.headers = request.into_parts().0.headers;
                    message.headers.remove(HOST);
                    return Err(Failed::Unsent(fault));
                }
            };
            credit.extend();
            let (head, body) = response.into_parts();
            Ok(Reply::read(head.status, head.headers, body).await)
        });
        if let Some(connection) = running {
            tokio::select! {
                biased;
                reply = &mut exchange => return reply,
                // What has come before its end can still be read.
                _ = connection => {}
            }
        }
        *running = None;
        exchange.await
    }

    /// Whether it can take another request: its peer has read the last one and sent the whole answer.
    pub async fn is_free(&mut self) -> bool {
        let Self { send, running: Some(running), credit } = self else { return false };
        let is_ready = poll_fn(|context| {
            let goes_on = Pin::new(&mut *running).poll(context).is_pending();
            Poll::Ready(goes_on && matches!(send.poll_ready(context), Poll::Ready(Ok(()))))
        });
        is_ready.await && !credit.is_stuck()
    }

    /// Whether it is too old for another request.
    pub fn is_over(&self, now: Moment) -> bool {
        self.credit.is_over(now)
    }
}

fn request(message: &mut Message) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(message.body.clone()));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = std::mem::take(&mut message.headers);
    let authority = message.uri.authority().map_or("", |authority| authority.as_str());
    // An authority is visible ASCII.
    if let Ok(host) = HeaderValue::from_str(authority) {
        request.headers_mut().insert(HOST, host);
    }
    // The origin form (RFC 9112 §3.2.1).
    *request.uri_mut() = message.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    request
}
