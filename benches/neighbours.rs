//! What sick tenants cost their healthy neighbours, and how the router bears a backlog and a flood, through
//! real sockets.
//!
//! `cargo bench --bench neighbours [-- --scenario NAME --rounds 5 --seconds 20 --router PATH --pending 1000000]`
//!
//! - `mixed`: 100 tenants, of whom 70 are sick in seven ways. `hanging`: 600 that hang beside 30.
//! - `grown`: 16 receivers answer quickly until each has 32 attempts in flight, and then all stop answering at once.
//! - `poison`: one event of a tenant is always answered 500.
//! - `dead`: a million deliveries wait for one tenant; the router is restarted; the tenant comes back.
//! - `fair`: a flood; what acknowledging and delivering keep of what each does alone.
//!
//! The router is a process of its own on one core; load and receivers share the other. In the first four,
//! runs in which the sick ones are well (the same events are offered) alternate with runs in which they are
//! sick. Latency is from the post to the tenant's receipt. A ratio is the median of the rounds' own ratios.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

mod shared;

mod neighbours {
    pub mod backlog;
    pub mod beside;
    pub mod deliveries;
    pub mod drain;
    pub mod fair;
    pub mod latency;
    pub mod nameserver;
    pub mod offer;
    pub mod router;
    pub mod scenario;
    pub mod tenants;
}

use std::path::PathBuf;

use neighbours::{backlog, beside, fair};
use shared::args::Args;
use shared::process;
use shared::router::BUILT;

/// What is measured, and how long.
pub struct Plan {
    /// The router.
    pub program: PathBuf,
    /// Each scenario is measured so often.
    pub rounds: usize,
    /// Of one run.
    pub seconds: u64,
    /// Deliveries that wait for the dead tenant.
    pub pending: usize,
}

const SCENARIOS: [&str; 6] = ["mixed", "hanging", "grown", "poison", "dead", "fair"];

fn main() {
    let args = Args::of_this_process();
    // The router runs in a folder of its own: the path is to be whole.
    let program = args.text("--router").unwrap_or(BUILT);
    let plan = Plan {
        program: std::fs::canonicalize(program).expect("--router names a router"),
        rounds: args.number("--rounds", 5).max(1),
        seconds: args.number("--seconds", 20) as u64,
        pending: args.number("--pending", 1_000_000),
    };
    let wanted = args.text("--scenario");
    assert!(wanted.is_none_or(|name| SCENARIOS.contains(&name)), "scenarios: {}", SCENARIOS.join(", "));
    process::step_aside();
    allow_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for name in SCENARIOS.into_iter().filter(|name| wanted.is_none_or(|wanted| wanted == *name)) {
        runtime.block_on(async {
            match name {
                "dead" => backlog::dead(&plan).await,
                "fair" => fair::fair(&plan).await,
                _ => beside::compare(name, &plan).await,
            }
        });
    }
}

/// As many open sockets as the system permits; the router inherits it.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}
