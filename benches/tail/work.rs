//! What the benchmark has a router do beside its events: reload the hook table, and answer lists. It sweeps by itself.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::past;
use crate::Plan;
use crate::shared::event::hooks_file;
use crate::shared::figures::Times;
use crate::shared::router::Router;

const ASK_EVERY: Duration = Duration::from_millis(200);

/// Every so many questions the hooks are replaced, each time a tenth of them; the first time half as long after the
/// begin of a turn.
const ASKED_BETWEEN_RELOADS: usize = 50;
const CHANGED_IN: usize = 10;

pub struct Work {
    /// The two hooks files that replace each other.
    files: [Arc<str>; 2],
    in_force: usize,
    reloads: bool,
    lists: bool,
    /// Older events that were stored before.
    events: usize,
    asked: Vec<Duration>,
    replaced: usize,
}

impl Work {
    /// `url`: where all hooks deliver, without a path.
    pub fn new(plan: &Plan, url: &str) -> Self {
        let changed =
            |hook: usize, generation: usize| if hook.is_multiple_of(CHANGED_IN) { generation } else { 0 };
        let file = |generation| {
            hooks_file(0..plan.hooks, |hook| format!("{url}/{}", changed(hook, generation))).into()
        };
        Self {
            files: [file(0), file(1)],
            in_force: 0,
            reloads: plan.works_on("reloads"),
            lists: plan.works_on("lists"),
            events: plan.seconds * plan.rate,
            asked: Vec::new(),
            replaced: 0,
        }
    }

    /// The hooks file that is in force.
    pub fn hooks(&self) -> Arc<str> {
        Arc::clone(&self.files[self.in_force])
    }

    /// Works until it is dropped. `room`: of a call in progress.
    pub async fn go_on(&mut self, router: &Router, room: &str) -> Infallible {
        let began = Instant::now();
        let paths = [
            "/v1/deliveries".to_owned(),
            "/v1/calls".to_owned(),
            format!("/v1/calls/{room}"),
            "/v1/usage".to_owned(),
            "/v1/deliveries?tenant=calls.tenant0000007.example".to_owned(),
            "/metrics".to_owned(),
        ];
        for (turn, path) in paths.iter().cycle().enumerate() {
            tokio::time::sleep_until((began + ASK_EVERY * turn as u32).into()).await;
            if self.reloads && turn % ASKED_BETWEEN_RELOADS == ASKED_BETWEEN_RELOADS / 2 {
                self.reload(router).await;
            }
            if self.lists {
                self.ask(router, path).await;
            }
        }
        unreachable!("the paths come again and again")
    }

    async fn reload(&mut self, router: &Router) {
        self.in_force = 1 - self.in_force;
        self.replaced += 1;
        let (hooks, path) = (self.hooks(), router.path("hooks.yaml"));
        let next = router.path("logs/hooks.yaml");
        // The load must not wait for a file.
        tokio::task::spawn_blocking(move || replace(&hooks, next, path)).await.expect("replaced");
    }

    async fn ask(&mut self, router: &Router, path: &str) {
        let began = Instant::now();
        let answer = router.ask(Method::GET, path).await;
        assert!(!answer.contains("\"/problems/"), "{path}: {answer}");
        self.asked.push(began.elapsed());
    }

    /// Prints how much was done.
    pub async fn tell(&self, router: &Router) {
        let metrics = router.ask(Method::GET, "/metrics").await;
        let reloaded =
            metrics.lines().find_map(|line| line.strip_prefix("switchhook_reloads_total{result=\"ok\"} "));
        let swept = self.events - past::left(&router.path("data/switchhook.db"), self.events);
        let times = Times::of(self.asked.iter().copied());
        println!(
            "\nswept: {swept} of {} older events; reloaded {} of {} times; asked {} times, median {:.1} ms, longest {:.1} ms",
            self.events,
            reloaded.unwrap_or("0"),
            self.replaced,
            self.asked.len(),
            times.percentile(50),
            times.longest()
        );
    }
}

fn replace(hooks: &str, next: PathBuf, path: PathBuf) {
    std::fs::write(&next, hooks).expect("hooks");
    std::fs::rename(next, path).expect("renamed");
}
