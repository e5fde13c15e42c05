//! The systems that are compared.

use std::path::{Path, PathBuf};

use crate::shared::event::hooks_file;
use crate::shared::forward::sqlite::Prototype;
use crate::shared::process::Process;
use crate::shared::router::{BUILT, Router};

/// A router or a forwarder, and what it is offered.
pub struct System {
    pub name: &'static str,
    kind: Kind,
    /// Most of the rooms are without SIP.
    pub mixed: bool,
    /// Which system of the line-up is the older build of this one.
    pub older: Option<usize>,
}

enum Kind {
    Bare,
    Floor,
    Sqlite,
    Router(PathBuf),
}

/// Where `bare`, `floor` and `sqlite` stand in the line-up.
pub const BARE: usize = 0;
pub const FLOOR: usize = 1;
pub const SQLITE: usize = 2;

/// All systems of a comparison; `against`: the other router. Each of its runs stands beside the one it
/// is compared with, for the machine changes. `mixed`: also with a LiveKit of which most rooms are without SIP.
pub fn line_up(against: Option<&Path>, mixed: bool) -> Vec<System> {
    let system = |name, kind, mixed| System { name, kind, mixed, older: None };
    let forwarders = [("bare", Kind::Bare), ("floor", Kind::Floor), ("sqlite", Kind::Sqlite)];
    let mut systems: Vec<_> = forwarders.into_iter().map(|(name, kind)| system(name, kind, false)).collect();
    let loads = [(false, "switchhook", "old"), (true, "… 95 % web", "old … 95 % web")];
    for (mixed, name, older_name) in loads.into_iter().take(if mixed { 2 } else { 1 }) {
        let newer = systems.len();
        systems.push(system(name, Kind::Router(BUILT.into()), mixed));
        if let Some(program) = against {
            systems[newer].older = Some(systems.len());
            systems.push(system(older_name, Kind::Router(program.to_owned()), mixed));
        }
    }
    systems
}

/// A system that runs.
pub enum Running {
    Forwarder(Process, String),
    Prototype(Prototype),
    Router(Box<Router>),
}

impl Running {
    pub fn process(&self) -> &Process {
        match self {
            Self::Forwarder(process, _) => process,
            Self::Prototype(prototype) => &prototype.process,
            Self::Router(router) => &router.process,
        }
    }

    /// Where events are posted.
    pub fn address(&self) -> &str {
        match self {
            Self::Forwarder(_, address) => address,
            Self::Prototype(prototype) => &prototype.address,
            Self::Router(router) => &router.address,
        }
    }
}

impl System {
    /// Starts it; it delivers to `target`.
    pub async fn start(&self, target: &str) -> Running {
        let forwarder = |role: &str| {
            let (process, address) = Process::in_role(&format!("{role} {target}"));
            Running::Forwarder(process, address)
        };
        match &self.kind {
            Kind::Bare => forwarder("bare"),
            Kind::Floor => forwarder("floor"),
            Kind::Sqlite => Running::Prototype(Prototype::start(&one_hook(target))),
            Kind::Router(program) => {
                let router = Router::start(program, &one_hook(target), &["--hold", "1s"]).await;
                Running::Router(Box::new(router))
            }
        }
    }

    /// The router, for one with nothing but calls.
    pub fn router(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Router(program) if !self.mixed => Some(program),
            _ => None,
        }
    }
}

/// The hook table of the comparison: one hook, at `target`, for the host of number 0.
pub fn one_hook(target: &str) -> String {
    hooks_file(0..1, |_| target.to_owned())
}
