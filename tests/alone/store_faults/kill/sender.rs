//! Who speaks to a router that is killed again and again: senders as LiveKit's, and an operator.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::expected::Expected;
use super::script::{At, Script};
use crate::world::{World, livekit_token};

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

/// The host that comes into the table with the start after `number`.
pub fn late_host(number: usize) -> String {
    format!("late{number}.example")
}

/// A router that is killed and started again.
#[derive(Clone)]
pub struct Router {
    world: Arc<World>,
    starts: watch::Receiver<Option<Start>>,
    http: Client,
    expected: Arc<Expected>,
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
    async fn next(&mut self, before: &Start) {
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
    async fn post(&mut self, body: &str) {
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

    /// What the API answers; none if the router was killed, or is still taking over.
    async fn ask(&self, request: RequestBuilder) -> Option<Value> {
        let answer = request.bearer_auth(self.world.operator_token()).send().await.ok()?;
        let status = answer.status();
        assert!(status == 200 || status == 503, "{status}");
        let body = answer.json().await.ok()?;
        (status == 200).then_some(body)
    }

    async fn replay(&self, start: &Start, what: &Value) -> Option<Value> {
        self.ask(self.http.post(format!("http://{}/v1/replays", start.api_address)).json(what)).await
    }

    /// The ids of a tenant's dead letters.
    async fn dead_letters(&self, start: &Start, tenant: &str) -> Vec<String> {
        let url = format!("http://{}/v1/deliveries?limit=1000&state=dead&tenant={tenant}", start.api_address);
        let page = self.ask(self.http.get(url)).await.unwrap_or_default();
        let letters = page["deliveries"].as_array().cloned().unwrap_or_default();
        letters.iter().map(|letter| letter["id"].as_str().expect("an id").to_owned()).collect()
    }
}

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// One call after the other, of all kinds.
pub async fn calls(mut router: Router, line: usize) {
    for number in 0.. {
        let start = router.start().await;
        if start.is_last {
            return;
        }
        let name = format!("{line}-{number}");
        let late = late_host(start.number);
        let script = match (line + number) % 5 {
            0 => Script::of_one(&name, At::One, "one.example"),
            1 => Script::of_two(&name, (At::One, "one.example"), (At::Two, "two.example")),
            2 => Script::of_one(&name, At::Failing, "failing.example"),
            3 => Script::of_one(&name, At::Late, &late),
            _ => Script::of_two(&name, (At::Failing, "failing.example"), (At::Late, &late)),
        };
        router.tell(&script).await;
    }
}

/// Calls whose callers come right after a start, when the router takes over what was pending: one a start.
pub async fn early_callers(mut router: Router, line: usize) {
    for number in 0.. {
        if router.start().await.is_last {
            return;
        }
        let name = format!("early-{line}-{number}");
        let script = match (line + number) % 2 {
            0 => Script::of_one_after_a_start(&name, At::Two, "two.example"),
            _ => Script::of_one_after_a_start(&name, At::Failing, "failing.example"),
        };
        router.tell(&script).await;
    }
}

/// Replays what was unrouted of each late host, right after the start that brings it.
pub async fn late_hosts(mut router: Router) {
    let mut replayed = 0;
    loop {
        let start = router.start().await;
        while replayed < start.number && router.start().await == start {
            let what = json!({ "unrouted": true, "domain": late_host(replayed) });
            match router.replay(&start, &what).await {
                Some(_) => replayed += 1,
                None => tokio::time::sleep(LOOK).await,
            }
        }
        if start.is_last && replayed == start.number {
            return;
        }
        router.next(&start).await;
    }
}

/// Calls that become dead letters, all of them, and are replayed.
pub async fn letters(mut router: Router, open: Arc<dyn Fn(&str) + Send + Sync>) {
    for cycle in 0.. {
        if router.start().await.is_last {
            return;
        }
        let script = |n: usize| Script::of_one(&format!("dead-{cycle}-{n}"), At::Letters, "dead.example");
        let scripts: Vec<_> = (0..3).map(script).collect();
        for script in &scripts {
            router.tell(script).await;
        }
        let ids: Vec<_> = scripts.iter().flat_map(|script| &script.events).map(|event| &event.id).collect();
        loop {
            let start = router.start().await;
            let dead = router.dead_letters(&start, "dead.example").await;
            if ids.iter().all(|id| dead.contains(id)) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        scripts.iter().for_each(|script| open(&script.call));
        // A replay that was killed may have been carried out or not: it is asked for again.
        while let start = router.start().await
            && router.replay(&start, &json!({ "tenant": "dead.example" })).await.is_none()
        {
            tokio::time::sleep(LOOK).await;
        }
    }
}
