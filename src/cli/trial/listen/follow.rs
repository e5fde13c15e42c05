//! Follows a router's stream, and comes back when the connection breaks.

use std::time::Duration;

use reqwest::{Response, Url};

use super::sse::{EventReader, ServerSent};
use crate::cli::failure::{Failure, root_cause};
use crate::cli::remote::client::{self, refused};
use crate::cli::terminal::{aside, plain};
use crate::time::{Clock, UnixMillis};
use crate::wire::{LiveEnd, LiveEvent, LiveLoss, LiveQuery};

/// A stream says something every 15 s.
const SILENT: Duration = Duration::from_secs(45);

/// Between two attempts to connect: at first, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// A stream that is followed.
pub struct Follower<'f> {
    router: &'f client::Router,
    query: LiveQuery,
    clock: Clock,
    /// When something came last.
    last: UnixMillis,
}

/// How a connection ended.
enum Ended {
    /// It may be made again.
    Broken(String),
    /// It may not.
    For(Failure),
}

impl<'f> Follower<'f> {
    pub fn new(router: &'f client::Router, query: LiveQuery, clock: Clock) -> Self {
        let last = clock.unix();
        Self { router, query, clock, last }
    }

    /// Gives every event to `take`, until the router refuses. `begun`: once the stream is there for the first time.
    pub async fn follow(mut self, begun: impl FnOnce(), mut take: impl FnMut(LiveEvent)) -> Failure {
        let mut response = match self.connect().await {
            Ok(response) => response,
            Err(Ended::Broken(why)) => return Failure::new(why),
            Err(Ended::For(failure)) => return failure,
        };
        begun();
        loop {
            match self.read(response, &mut take).await {
                Ended::Broken(why) => aside(format_args!("the connection is gone ({why}): trying again")),
                Ended::For(failure) => return failure,
            }
            response = match self.connect_again().await {
                Ok(response) => response,
                Err(failure) => return failure,
            };
        }
    }

    async fn connect(&mut self) -> Result<Response, Ended> {
        let asked = self.router.follow(&["v1", "stream"], SILENT).query(&self.query);
        let response = match asked.try_begun().await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) if refusal.0.is_server_error() => {
                return Err(Ended::Broken(refused(&refusal).message));
            }
            Ok(Err(refusal)) => return Err(Ended::For(refused(&refusal))),
            Err(failure) if failure.code == 1 => return Err(Ended::Broken(failure.message)),
            Err(failure) => return Err(Ended::For(failure)),
        };
        Ok(response)
    }

    async fn connect_again(&mut self) -> Result<Response, Failure> {
        let mut pause = AGAIN;
        loop {
            self.clock.sleep(pause).await;
            match self.connect().await {
                Ok(response) => {
                    self.say_what_is_missing();
                    return Ok(response);
                }
                Err(Ended::For(failure)) => return Err(failure),
                Err(Ended::Broken(_)) => pause = (pause * 2).min(AGAIN_AT_MOST),
            }
        }
    }

    /// Says what was not seen, and which command lists it.
    fn say_what_is_missing(&self) {
        let (since, until) = (self.last, self.clock.unix());
        let url = self.router.url.as_ref().map(Url::as_str).unwrap_or_default();
        let tenant = self.query.tenant.as_deref();
        let tenant = tenant.map(|tenant| format!(" --tenant {}", plain(tenant))).unwrap_or_default();
        aside(format_args!(
            "connected again: what came meanwhile is not repeated here, but listed by\n  \
             switchhook deliveries --url {url} --since {since} --until {until}{tenant}"
        ));
    }

    async fn read(&mut self, mut response: Response, take: &mut impl FnMut(LiveEvent)) -> Ended {
        let mut reader = EventReader::default();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ended::Broken("the router has closed it".to_owned()),
                Err(error) => return Ended::Broken(root_cause(&error)),
            };
            self.last = self.clock.unix();
            let events = match reader.read(&chunk) {
                Ok(events) => events,
                Err(error) => return Ended::Broken(error.to_string()),
            };
            for event in events {
                if let Some(ended) = on_event(&event, take) {
                    return ended;
                }
            }
        }
    }
}

/// Takes an event; how the stream ended, if it says so.
fn on_event(event: &ServerSent, take: &mut impl FnMut(LiveEvent)) -> Option<Ended> {
    match &*event.name {
        "end" => Some(match serde_json::from_str(&event.data) {
            Ok(LiveEnd { reason }) if reason != "stopping" => {
                Ended::For(Failure::new(format!("the router accepts the token no more: {}", plain(&reason))))
            }
            _ => Ended::Broken("the router stops".to_owned()),
        }),
        "lost" => {
            let LiveLoss { count } = serde_json::from_str(&event.data).unwrap_or(LiveLoss { count: 0 });
            aside(format_args!(
                "the router has left out {count}: this command, or its connection, is too slow"
            ));
            None
        }
        _ => {
            // What a newer router sends besides is of no use here.
            serde_json::from_str(&event.data).ok().map(take);
            None
        }
    }
}
