//! A router that is killed and started again, as those see it who speak to it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::expected::Expected;
use super::script::Script;
use crate::world::{World, livekit_token};

/// The time between two looks.
pub const LOOK: Duration = Duration::from_millis(20);

/// A start of the router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    pub number: usize,
    /// Where LiveKit posts.
    pub address: String,
    pub api_address: String,
    /// Nothing is killed any more: what has begun is finished, and nothing new begins.
    pub is_last: bool,
}

#[derive(Clone)]
pub struct Router {
    world: Arc<World>,
    starts: watch::Receiver<Option<Start>>,
    http: Client,
    pub expected: Arc<Expected>,
}

impl Router {
    pub fn new(world: Arc<World>, starts: watch::Receiver<Option<Start>>, expected: Arc<Expected>) -> Self {
        let http = Client::builder().no_proxy().build().expect("a client");
        Self { world, starts, http, expected }
    }

    /// The latest start.
    pub async fn start(&mut self) -> Start {
        let start = self.starts.wait_for(Option::is_some).await.expect("the loop goes on");
        start.clone().expect("a start")
    }

    /// Waits until the router was started again, unless it was the last time.
    pub async fn next(&mut self, before: &Start) {
        let is_newer = |start: &Option<Start>| start.as_ref() != Some(before);
        if !before.is_last {
            self.starts.wait_for(is_newer).await.expect("the loop goes on");
        }
    }

    /// Posts a whole call, one event after the other.
    pub async fn tell(&mut self, script: &Script) {
        self.expected.add(script);
        for event in &script.events {
            if event.after_start {
                let start = self.start().await;
                self.next(&start).await;
            }
            self.post(&event.body).await;
        }
    }

    /// Posts an event until it is acknowledged: again after the next start if the router was killed.
    pub async fn post(&mut self, body: &str) {
        loop {
            let start = self.start().await;
            let token = livekit_token(body, switchhook::Clock::system().unix().seconds());
            let url = format!("http://{}/webhook", start.address);
            let request = self.http.post(url).header("authorization", token).body(body.to_owned());
            match request.send().await {
                Ok(answer) if answer.status() == 200 => return,
                Ok(answer) => panic!("{} {body}", answer.status()),
                Err(error) => {
                    assert!(!start.is_last, "{error:?}");
                    self.next(&start).await;
                }
            }
        }
    }

    /// What the API of this start answers, and with which status; none if the router was killed, or is not ready for
    /// it: still taking over.
    pub async fn ask(
        &self,
        start: &Start,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let url = format!("http://{}{path}", start.api_address);
        let request = self.http.request(method, url).bearer_auth(self.world.operator_token());
        let request = body.into_iter().fold(request, reqwest::RequestBuilder::json);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        (status != 503).then(|| (status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// The same of a request that changes nothing, from this start or a later one.
    pub async fn get(&mut self, path: &str) -> (u16, Value) {
        loop {
            let start = self.start().await;
            match self.ask(&start, Method::GET, path, None).await {
                Some(answer) => return answer,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// What a replay came to; none if nobody answers, and it may have been carried out or not.
    pub async fn replay(&self, start: &Start, what: &Value) -> Option<Value> {
        let (status, answer) = self.ask(start, Method::POST, "/v1/replays", Some(what)).await?;
        assert_eq!(status, 200, "{what} {answer}");
        Some(answer)
    }

    /// The same, asked for again until it is answered.
    pub async fn replay_surely(&mut self, what: &Value) -> Value {
        loop {
            let start = self.start().await;
            match self.replay(&start, what).await {
                Some(answer) => return answer,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// The ids of a tenant's dead letters.
    pub async fn dead_letters(&mut self, tenant: &str) -> Vec<String> {
        let (_, page) = self.get(&format!("/v1/deliveries?limit=1000&state=dead&tenant={tenant}")).await;
        let letters = page["deliveries"].as_array().cloned().unwrap_or_default();
        letters.iter().map(|letter| letter["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Has a call that was delivered sent again, as the way says; how many of its events are.
    pub async fn resend(&self, start: &Start, script: &Script, way: usize) -> Option<usize> {
        let post = |path: String, body| async move { self.ask(start, Method::POST, &path, body).await };
        let count = |answer: &Value| usize::try_from(answer["replayed"].as_u64().unwrap_or(0)).expect("few");
        match way % 3 {
            0 => post(format!("/v1/calls/{}/resend", script.call), None)
                .await
                .map(|(_, answer)| count(&answer)),
            1 => {
                let mut all = 0;
                for event in &script.events {
                    all += count(&post(format!("/v1/events/{}/resend", event.id), None).await?.1);
                }
                Some(all)
            }
            _ => self
                .replay(start, &json!({ "delivered": true, "call": script.call }))
                .await
                .map(|it| count(&it)),
        }
    }
}
