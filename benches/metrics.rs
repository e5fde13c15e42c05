//! What a scrape of the metrics costs while many hooks are busy.
//!
//! `cargo bench --bench metrics [-- --hooks 20000 --tenants 20000 --deliveries 1 --program OTHER]`
//!
//! Every hook has deliveries that wait, since no receiver listens at its URL. Measured is the time of `GET /metrics` as a
//! scraper sees it, after the store has put aside what waits (it does so with the events that follow). The router
//! has one core; this program has the other.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use shared::args::Args;
use shared::event::{Event, Template, host};
use shared::figures::Times;
use shared::load::Load;
use shared::process;
use shared::router::{BUILT, Router};

mod shared;

const CONNECTIONS: usize = 16;
const RATE: u64 = 2500;
const SCRAPES: usize = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    process::step_aside();
    let args = Args::of_this_process();
    let hooks = args.number("--hooks", 20_000);
    let (tenants, deliveries) = (args.number("--tenants", hooks), args.number("--deliveries", 1));
    let program = Path::new(args.text("--program").unwrap_or(BUILT));
    runtime.block_on(measure(program, hooks, tenants, deliveries));
}

async fn measure(program: &Path, hooks: usize, tenants: usize, deliveries: usize) {
    let nowhere = process::free_address();
    let entry = |hook| {
        let (host, tenant) = (host(hook), hook % tenants);
        format!("  - host: {host}\n    tenant: t{tenant}\n    url: http://{nowhere}/\n")
    };
    let table = format!(
        "defaults: {{retry: {{initial: 1h, max: 1h}}}}\nlimits: {{hooks: {hooks}}}\nhooks:\n{}",
        (0..hooks).map(entry).collect::<String>()
    );
    let router = Router::start(program, &table, &["--metrics-open"]).await;
    let template = Template::new();
    let requests = (0..hooks * deliveries).map(|number| {
        let (room, host) = (format!("RM_{number}"), host(number % hooks));
        template.request(&Event { number, room, host, web: false })
    });
    let load = Load { connections: CONNECTIONS, rate: RATE, start: Instant::now() };
    load.offer(&router.address, requests.collect()).answered().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut times = Vec::new();
    for _ in 0..SCRAPES {
        let began = Instant::now();
        let text = router.metrics().await;
        times.push(began.elapsed());
        assert!(text.ends_with("# EOF\n"), "all of it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let times = Times::of(times);
    println!(
        "{hooks} busy hooks of {tenants} tenants, {deliveries} deliveries each: GET /metrics takes p50 {:.2} ms, \
         p90 {:.2} ms ({SCRAPES} scrapes)",
        times.percentile(50),
        times.percentile(90)
    );
}
