//! Hooks that are edited over the API while the router is killed: what was answered is in force after the next start,
//! what was not is in force whole or not at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::Value;

use super::receiver::{Arrival, Signed};
use super::router::{LOOK, Router};
use super::script::{At, Script};
use crate::world::joined;

/// A hook as the API shows it: the end of its URL, whether it is paused, and how many secrets sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    pub path: &'static str,
    pub is_paused: bool,
    pub secrets: usize,
}

/// A request of the API: method, path and body.
pub type Request = (Method, String, Option<Value>);

/// Where a call's events must arrive, and what must sign them.
struct Promised {
    tenant: String,
    path: &'static str,
    /// The secret in force when its first event was posted.
    secret: String,
}

/// What has been promised of all the hooks that were edited, and what has arrived of it.
pub struct Edits {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    calls: HashMap<String, Promised>,
    /// All secrets that each tenant has had, the newest first.
    secrets: HashMap<String, Vec<String>>,
}

impl Edits {
    pub fn new(arrivals: Arc<Mutex<Vec<Arrival>>>) -> Self {
        Self { arrivals, noted: Mutex::default() }
    }

    /// What has arrived of a call.
    fn of(&self, call: &str) -> Vec<Arrival> {
        let arrivals = self.arrivals.lock().expect("arrivals");
        arrivals.iter().filter(|one| one.call == call).cloned().collect()
    }

    /// All that is wrong with where deliveries arrived and with what signed them.
    pub fn faults(&self) -> Vec<String> {
        let (arrivals, noted) = (self.arrivals.lock().expect("arrivals"), self.noted.lock().expect("noted"));
        let mut first = HashMap::new();
        let mut faults = Vec::new();
        for one in arrivals.iter() {
            let (Some(promised), Some(signed)) = (noted.calls.get(&one.call), &one.signed) else { continue };
            if !noted.is_signed(promised, one, signed) {
                faults.push(format!("signed by the wrong secrets: {one:?}"));
            }
            // One that comes again after a crash may go to the URL of that time.
            let is_first = first.insert(&one.id, ()).is_none();
            if is_first && !signed.path.ends_with(promised.path) {
                faults.push(format!("at another URL than {}: {one:?}", promised.path));
            }
        }
        faults
    }
}

impl Noted {
    /// Whether the tenant's secrets signed it, and nothing else, and among them the one in force when its call began.
    fn is_signed(&self, promised: &Promised, one: &Arrival, signed: &Signed) -> bool {
        let secrets = self.secrets.get(&promised.tenant).map(Vec::as_slice).unwrap_or_default();
        signed.is_only_by(&one.id, secrets) && signed.is_by(&one.id, &promised.secret)
    }
}

/// The life of one hook.
pub struct Life {
    name: String,
    router: Router,
    edits: Arc<Edits>,
    is: Option<Shape>,
    calls: Vec<Script>,
}

impl Life {
    pub fn new(name: String, router: Router, edits: Arc<Edits>) -> Self {
        Self { name, router, edits, is: None, calls: Vec::new() }
    }

    pub fn host(&self) -> String {
        format!("edited{}.example", self.name)
    }

    pub fn tenant(&self) -> String {
        format!("edited{}", self.name)
    }

    /// Makes an edit, again and again until it is answered or found to be in force. `waits`: the next start is waited for,
    /// too.
    pub async fn edit(&mut self, (method, path, body): Request, after: Option<Shape>, waits: bool) {
        loop {
            let start = self.router.start().await;
            let answer = self.router.ask(&start, method.clone(), &path, body.as_ref()).await;
            let is_done = answer.as_ref().is_some_and(|(status, _)| (200..300).contains(status));
            let found = self.found().await;
            assert!(
                found == after || (!is_done && found == self.is),
                "{method} {path}: {answer:?}, but {found:?}"
            );
            if found == after {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.is = after;
        if waits {
            let start = self.router.start().await;
            self.router.next(&start).await;
            assert_eq!(self.found().await, self.is, "after the next start: {}", self.host());
        }
    }

    /// The hook as the API shows it; what secrets sign is noted.
    async fn found(&mut self) -> Option<Shape> {
        let (status, hook) = self.router.get(&format!("/v1/hooks/{}", self.host())).await;
        if status == 404 {
            return None;
        }
        let (_, answer) = self.router.get(&format!("/v1/tenants/{}/secret", self.tenant())).await;
        let secrets = answer["secrets"].as_array().expect("secrets").iter();
        let secrets: Vec<_> = secrets.map(|one| one.as_str().expect("a secret").to_owned()).collect();
        let url = hook["url"].as_str().expect("a URL");
        let path = ["a", "b"].into_iter().find(|path| url.ends_with(&format!("/{path}"))).expect("a path");
        let is_paused = !hook["paused_since"].is_null();
        let count = secrets.len();
        self.edits.noted.lock().expect("noted").secrets.insert(self.tenant(), secrets);
        Some(Shape { path, is_paused, secrets: count })
    }

    /// A call whose events arrive at this URL.
    pub async fn call(&mut self, path: &'static str) {
        self.begin(path).await;
        self.arrived().await;
    }

    /// A call of which nothing arrives while its hook is paused.
    pub async fn call_that_waits(&mut self, path: &'static str) {
        self.begin(path).await;
        let start = self.router.start().await;
        self.router.next(&start).await;
        let call = &self.calls.last().expect("a call").call;
        let came = self.edits.of(call);
        assert!(came.is_empty(), "its hook is paused: {came:?}");
    }

    async fn begin(&mut self, path: &'static str) {
        let name = format!("edited-{}-{}", self.name, self.calls.len());
        let script = Script::of_one(&name, At::Edited, &self.host());
        {
            let mut noted = self.edits.noted.lock().expect("noted");
            let secret = noted.secrets[&self.tenant()][0].clone();
            noted.calls.insert(script.call.clone(), Promised { tenant: self.tenant(), path, secret });
        }
        self.router.tell(&script).await;
        self.calls.push(script);
    }

    /// Waits until the last call's events have arrived.
    pub async fn arrived(&mut self) {
        let script = self.calls.last().expect("a call");
        let has = |came: &[Arrival], id: &str| came.iter().any(|one| one.id == id && one.taken);
        loop {
            let came = self.edits.of(&script.call);
            if script.events.iter().all(|event| has(&came, &event.id)) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A caller of a host that no hook has any more.
    pub async fn call_of_nobody(&mut self) {
        let id = format!("EV_nobody-{}", self.name);
        self.router.expected.add_nobodys();
        self.router.post(&joined(&id, &format!("nobody-{}", self.name), &self.host())).await;
    }
}
