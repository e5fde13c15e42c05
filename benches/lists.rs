//! First pages of every list, a timeline and an export, over the API of a router with millions of stored deliveries.
//!
//! `cargo bench --bench lists [-- --deliveries 5000000 --rounds 20 --program OTHER --export false]`
//!
//! The store is filled by SQL while the router is stopped: five events a call, 100 calls at once, over 20 hours; one
//! tenant has more than half of all, 990 share a tenth, one has twenty events, and one call lasts all the time. The
//! router then indexes all of it, as it does after an update. It has one core; this program has the other.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::path::Path;
use std::time::Instant;

use reqwest::Method;
use shared::args::Args;
use shared::figures::{Times, mb};
use shared::process;
use shared::router::{BUILT, Router};

#[path = "lists/export.rs"]
mod export;
mod shared;
#[path = "lists/stored.rs"]
mod stored;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    process::step_aside();
    let args = Args::of_this_process();
    let deliveries = args.number("--deliveries", 5_000_000);
    let rounds = args.number("--rounds", 20);
    let program = Path::new(args.text("--program").unwrap_or(BUILT));
    let exports = args.text("--export") != Some("false");
    runtime.block_on(measure(program, deliveries, rounds, exports));
}

async fn measure(program: &Path, deliveries: usize, rounds: usize, exports: bool) {
    let mut router = Router::start(program, &stored::hooks(), &[]).await;
    router.process.kill();
    let began = Instant::now();
    stored::fill(&router.path("data/switchhook.db"), deliveries);
    println!("{deliveries} deliveries are stored after {:.0} s", began.elapsed().as_secs_f64());
    router.restart().await;
    let began = Instant::now();
    router.until_indexed().await;
    let size = std::fs::metadata(router.path("data/switchhook.db")).map_or(0, |file| file.len());
    println!(
        "indexed within {:.0} s; the database has {size} bytes, {} of them the index",
        began.elapsed().as_secs_f64(),
        stored::index_bytes(&router.path("data/switchhook.db"))
    );
    for path in stored::lists() {
        let (mut times, mut count) = (Vec::new(), String::new());
        for _ in 0..rounds {
            let began = Instant::now();
            let page = router.ask(Method::GET, &path).await;
            times.push(began.elapsed());
            count = listed(&page);
        }
        let times = Times::of(times);
        println!(
            "{path}: {count} listed, median {:.1} ms, longest {:.1} ms",
            times.percentile(50),
            times.longest()
        );
    }
    println!("the router has {:.0} MB", mb(router.process.resident()));
    if exports {
        for list in ["deliveries", "calls"] {
            export::measure(program, &router, list).await;
        }
    }
}

/// How many things a page holds, and whether it says that there are more.
fn listed(page: &str) -> String {
    let page: serde_json::Value = serde_json::from_str(page).expect("JSON");
    let lists = ["deliveries", "calls", "events", "unrouted"];
    let count = lists.iter().find_map(|list| page[*list].as_array()).map_or(0, Vec::len);
    let more = if page["next"].is_null() { "" } else { "+" };
    format!("{count}{more}")
}
