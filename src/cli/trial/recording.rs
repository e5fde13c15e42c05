//! Recorded LiveKit webhooks: one JSON object per line and POST, and how LiveKit would send them.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::cli::failure::{Failure, root_cause};
use crate::event::Event;
use crate::ids::BodyHash;
use crate::signature;
use crate::time::{Clock, Moment};

/// One recorded POST.
#[derive(Clone, Debug, Deserialize)]
pub struct Posted {
    /// Seconds since the recording's first POST.
    #[serde(default)]
    pub at: f64,
    /// The `Authorization` header, as it was.
    #[serde(default)]
    pub authorization: String,
    /// The body, exactly.
    pub body: String,
}

/// Reads a recording.
///
/// # Errors
/// Names the line that is no recorded POST.
pub fn read(name: &str, text: &str) -> Result<Vec<Posted>, Failure> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line)
                .map_err(|error| Failure::new(format!("{name}:{}: no recorded POST: {error}", number + 1)))
        })
        .collect()
}

/// Who signs.
#[derive(Clone, Debug)]
pub enum SignedWith {
    /// Anew, with this API key and secret.
    Anew { key: String, secret: String },
    /// With the recorded tokens.
    AsRecorded,
}

/// What became of one POST.
#[derive(Clone, Debug)]
pub struct Sent {
    pub event: String,
    pub room: String,
    pub id: String,
    /// Since the sending began.
    pub at: Duration,
    /// The last answer, or why there was none.
    pub outcome: Result<u16, String>,
    /// The reason of a refusal.
    pub reason: Option<String>,
    /// Of the last try.
    pub took: Duration,
    pub tries: usize,
}

/// Waits between tries (hashicorp/go-retryablehttp, as LiveKit uses it).
const RETRIES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Posts as LiveKit does: in order within a room, an egress or an ingress; side by side otherwise;
/// again after a fault, a 429 or a 5xx.
pub struct Sender {
    pub url: String,
    pub signing: SignedWith,
    pub clock: Clock,
    /// How fast the recorded times pass; none: as fast as the answers come.
    pub speed: Option<f64>,
    client: reqwest::Client,
}

impl Sender {
    /// A sender to `url`.
    ///
    /// # Errors
    /// When the system's TLS roots cannot be used.
    pub fn new(url: &str, signing: SignedWith, speed: Option<f64>) -> Result<Self, Failure> {
        let http = reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !http {
            return Err(Failure::usage(format!("--url {url} is no http or https URL")));
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .user_agent("LiveKit")
            .build()
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self { url: url.to_owned(), signing, clock: Clock::system(), speed, client })
    }

    /// Sends all of `posts`; calls `told` with each that is done.
    pub async fn send(self, posts: Vec<Posted>, mut told: impl FnMut(Sent)) {
        let began = self.clock.now();
        let mut queues: HashMap<String, Vec<Posted>> = HashMap::new();
        for post in posts {
            queues.entry(queue_of(&post.body)).or_default().push(post);
        }
        let sender = std::sync::Arc::new(self);
        let (done, mut results) = tokio::sync::mpsc::channel(64);
        let mut tasks = JoinSet::new();
        for queue in queues.into_values() {
            let (sender, done) = (std::sync::Arc::clone(&sender), done.clone());
            tasks.spawn(async move {
                for post in queue {
                    let sent = sender.post(post, began).await;
                    if done.send(sent).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        while let Some(sent) = results.recv().await {
            told(sent);
        }
    }

    async fn post(&self, post: Posted, began: Moment) -> Sent {
        if let Some(speed) = self.speed {
            self.clock.sleep_until(began + Duration::from_secs_f64((post.at / speed).max(0.0))).await;
        }
        let body = Bytes::from(post.body);
        // As LiveKit: signed once, and the same token again with every try.
        let token = match &self.signing {
            SignedWith::Anew { key, secret } => {
                signature::livekit_token(key, secret, &BodyHash::of(&body), self.clock.unix())
            }
            SignedWith::AsRecorded => post.authorization,
        };
        let mut tries = 0;
        loop {
            let started = self.clock.now();
            let (outcome, reason, wait) = self.try_once(&body, &token).await;
            let now = self.clock.now();
            match (wait, RETRIES.get(tries)) {
                (Some(asked), Some(usual)) => self.clock.sleep(asked.unwrap_or(*usual)).await,
                _ => {
                    let event = Event::parse(&body).unwrap_or_default();
                    return Sent {
                        event: event.name.to_string(),
                        room: event.room_name.as_deref().unwrap_or("-").to_owned(),
                        id: event.id.as_deref().unwrap_or("-").to_owned(),
                        at: started.since(began),
                        outcome,
                        reason,
                        took: now.since(started),
                        tries: tries + 1,
                    };
                }
            }
            tries += 1;
        }
    }

    /// One try, and whether to come again: after the time asked for, or the usual one.
    async fn try_once(
        &self,
        body: &Bytes,
        token: &str,
    ) -> (Result<u16, String>, Option<String>, Option<Option<Duration>>) {
        let request = self
            .client
            .post(&self.url)
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/webhook+json")
            .body(body.clone());
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let after = after.and_then(|value| value.parse().ok()).map(Duration::from_secs);
                let again = status == 429 || (status >= 500 && status != 501);
                // Reading it to the end keeps the connection, and a refusal says why.
                let body = answer.bytes().await.unwrap_or_default();
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                (Ok(status), problem["reason"].as_str().map(str::to_owned), again.then_some(after))
            }
            Err(error) => (Err(root_cause(&error)), None, Some(None)),
        }
    }
}

/// LiveKit's queue of an event (livekit/protocol, `webhook/notifier.go`): its egress's, else its
/// ingress's, else its room's.
fn queue_of(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let keys = [&value["egressInfo"]["egressId"], &value["ingressInfo"]["ingressId"], &value["room"]["name"]];
    keys.into_iter().find_map(|key| key.as_str()).unwrap_or_default().to_owned()
}

/// The times at 50 and 99 of 100.
pub fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    (at(50).copied().unwrap_or_default(), at(99).copied().unwrap_or_default())
}

/// Milliseconds, for people.
pub fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}
