//! The systems that take events in turns.

use std::path::Path;

use super::figures::Figures;
use super::past;
use super::work::Work;
use crate::Plan;
use crate::shared::event::host;
use crate::shared::forward::sqlite::Prototype;
use crate::shared::process::Process;
use crate::shared::router::{BUILT, Router};
use crate::shared::sink::Sink;

/// Caches and memory warm up for so many seconds, which are not counted.
const WARM_UP: usize = 2;

pub struct System {
    pub name: &'static str,
    pub figures: Figures,
    running: Running,
}

enum Running {
    Router(Box<Router>, Option<Work>),
    Prototype(Prototype),
}

impl System {
    /// The router without work in the background, the one with it, and the prototype; all are stopped.
    pub async fn start_all(plan: &Plan, url: &str) -> Vec<Self> {
        let system = |name, running| Self { name, figures: Figures::default(), running };
        let work = Work::new(plan, url);
        let alone = start_router(plan, &work.hooks(), false).await;
        let beside = start_router(plan, &work.hooks(), plan.works_on("sweeps")).await;
        let prototype = plan.has_prototype.then(|| Prototype::start(&work.hooks()));
        let mut systems = vec![
            system("switchhook alone", Running::Router(alone, None)),
            system("switchhook beside work", Running::Router(beside, Some(work))),
        ];
        systems.extend(prototype.map(|prototype| system("sqlite", Running::Prototype(prototype))));
        systems.iter().for_each(|system| system.running.process().pause());
        systems
    }

    /// Events that are not counted, without work in the background.
    pub async fn warm_up(&self, plan: &Plan, sink: &Sink) {
        let prepared = sink.prepare(plan.rate * WARM_UP, |room| (host(room % plan.hooks), false));
        self.running.process().go_on();
        sink.offer(self.running.address(), plan.rate as u64, prepared).await;
        self.running.process().pause();
    }

    /// Its turn: it goes on, takes events, and is stopped again.
    pub async fn turn(&mut self, plan: &Plan, sink: &Sink) {
        let count = plan.rate * plan.slice;
        let prepared = sink.prepare(count, |room| (host(room % plan.hooks), false));
        let room = prepared.room().to_owned();
        let before = self.running.process().whole_cpu();
        self.running.process().go_on();
        let address = self.running.address().to_owned();
        let offering = sink.offer(&address, plan.rate as u64, prepared);
        let offered = match &mut self.running {
            Running::Router(router, Some(work)) => tokio::select! {
                offered = offering => offered,
                never = work.go_on(router, &room) => match never {},
            },
            Running::Router(..) | Running::Prototype(_) => offering.await,
        };
        self.running.process().pause();
        self.figures.add(&offered, count, self.running.process().whole_cpu() - before);
    }

    /// Prints how much of the work was done.
    pub async fn tell_work(&self) {
        if let Running::Router(router, Some(work)) = &self.running {
            router.process.go_on();
            work.tell(router).await;
        }
    }
}

impl Running {
    fn process(&self) -> &Process {
        match self {
            Self::Router(router, _) => &router.process,
            Self::Prototype(prototype) => &prototype.process,
        }
    }

    fn address(&self) -> &str {
        match self {
            Self::Router(router, _) => &router.address,
            Self::Prototype(prototype) => &prototype.address,
        }
    }
}

/// A router that has stored older events, which get past their time during the run or long after it.
async fn start_router(plan: &Plan, hooks: &str, is_swept: bool) -> Box<Router> {
    let mut router = Router::start(Path::new(BUILT), hooks, &[]).await;
    router.process.kill();
    past::fill(&router.path("data/switchhook.db"), plan, is_swept);
    router.restart().await;
    router.until_indexed().await;
    router.process.pause();
    Box::new(router)
}
