//! The body of a stream: one frame after another, made when the connection has room for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};

use super::line;
use crate::api::auth::LastingBearer;
use crate::api::state::Api;
use crate::telemetry::{StreamReader, Told};
use crate::time::Moment;

/// A comment is sent, and the token verified again, at least this often.
const BEAT: Duration = Duration::from_secs(15);

/// At its expiry a token is verified again, but not more often than this.
const AT_LEAST: Duration = Duration::from_millis(10);

/// Somebody who reads.
pub struct Stream {
    api: Arc<Api>,
    bearer: LastingBearer,
    reader: StreamReader,
    beat: Moment,
    next: Next,
}

enum Next {
    Greeting,
    Happenings,
    Nothing,
}

impl Stream {
    pub fn new(api: Arc<Api>, bearer: LastingBearer, reader: StreamReader) -> Self {
        let beat = api.clock.now();
        let mut stream = Self { api, bearer, reader, beat, next: Next::Greeting };
        stream.plan_beat();
        stream
    }

    /// The next beat; at the token's expiry, if that is sooner.
    fn plan_beat(&mut self) {
        let left = self.bearer.bearer.expires.since(self.api.clock.unix());
        self.beat = self.api.clock.now() + left.clamp(AT_LEAST, BEAT);
    }

    /// What is sent next; none: the stream has ended.
    async fn frame(&mut self) -> Option<Bytes> {
        match self.next {
            Next::Greeting => {
                self.next = Next::Happenings;
                Some(line::greeting())
            }
            Next::Happenings => Some(self.happening().await),
            Next::Nothing => None,
        }
    }

    async fn happening(&mut self) -> Bytes {
        tokio::select! {
            biased;
            () = self.reader.ended() => self.end("stopping"),
            () = self.api.clock.sleep_until(self.beat) => self.on_beat(),
            told = self.reader.next() => self.line(told),
        }
    }

    /// What happened; the end instead, if the token was revoked meanwhile.
    fn line(&mut self, told: Told) -> Bytes {
        match self.bearer.check_if_changed(&self.api) {
            Ok(()) => line::of(&self.api, self.reader.wanted(), told),
            Err(refused) => self.end(refused.as_str()),
        }
    }

    fn on_beat(&mut self) -> Bytes {
        if let Err(refused) = self.bearer.check(&self.api) {
            return self.end(refused.as_str());
        }
        self.plan_beat();
        line::beat()
    }

    fn end(&mut self, reason: &str) -> Bytes {
        self.next = Next::Nothing;
        line::end(reason)
    }
}

type Making = Pin<Box<dyn Future<Output = (Stream, Option<Bytes>)> + Send>>;

/// A stream as a body.
pub struct Frames {
    making: Making,
}

impl Frames {
    pub fn of(stream: Stream) -> Self {
        Self { making: make(stream) }
    }
}

fn make(mut stream: Stream) -> Making {
    Box::pin(async move {
        let frame = stream.frame().await;
        (stream, frame)
    })
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (stream, frame) = ready!(self.making.as_mut().poll(context));
        self.making = make(stream);
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }
}
