//! A tenant that is dead while a great many deliveries wait for it, and what its return costs its neighbour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deliveries::UNCOUNTED;
use super::drain::{fresh, returns};
use super::offer::{Bodies, FULL_SPEED, Offer};
use super::router::{start, takes};
use super::tenants::{Illness, Tenants};
use crate::Plan;
use crate::shared::event::host;
use crate::shared::figures::mb;
use crate::shared::router::Router;

/// The tenants: the dead one, and its healthy neighbour.
const DEAD: usize = 0;
pub const NEIGHBOUR: usize = 1;

/// What has come is put away for longer in the meantime: each delivery that waits is written once more.
const SETTLING: Duration = Duration::from_secs(120);

/// How long the tenant is then watched while it stays dead.
const STAYING: Duration = Duration::from_secs(30);

/// A filling or a drain that is slower than so many a second, after a minute, is cut short.
const SLOWEST: usize = 500;

/// Fills, watches, restarts, and lets the tenant return.
pub async fn dead(plan: &Plan) {
    println!("\ndead: {} deliveries wait for one tenant", plan.pending);
    let mut tenants = Tenants::open(vec![Some(Illness::Refuses), None], true, false).await;
    let hooks = hooks(&tenants, plan);
    let mut router = start(&plan.program, &tenants, &hooks).await;
    let bodies = Arc::new(Bodies::new(2));
    let most = Duration::from_secs((60 + plan.pending / SLOWEST) as u64);

    let waiting = fill(&router, &bodies, plan.pending, most).await;
    stays_dead("at first", &router).await;
    tokio::time::sleep(SETTLING).await;
    stays_dead("then", &router).await;
    restart(&mut router).await;
    // At once, and then alone for comparison.
    for (when, first) in [("at once", UNCOUNTED), ("later", UNCOUNTED + 10_000)] {
        let alone = fresh(&router, &bodies, first, Duration::from_secs(10)).await;
        println!("  neighbour's fresh events while it is dead, {when}: {}", alone(&tenants));
    }
    returns(&mut tenants, &router, &bodies, waiting, most).await;
}

/// The hook table, with the dead tenant's limit raised as far as this router knows one.
fn hooks(tenants: &Tenants, plan: &Plan) -> String {
    let hooks = tenants.hooks(|_| String::new());
    let raised = |keys: &str| {
        let tenant = host(DEAD);
        format!("{hooks}limits:\n  tenants:\n    {tenant}: {{{keys}}}\n")
    };
    let known = [
        "pending: 2000000, pending_bytes: 8589934592",
        "pending: 2000000, pending_bytes: 8 GiB",
        "pending: 2000000",
    ];
    match known.into_iter().find(|keys| takes(&plan.program, &raised(keys))) {
        Some(keys) => {
            println!("  its limit is raised: {keys}");
            raised(keys)
        }
        None => {
            println!("  its limit is not raised: this router has none to raise");
            hooks
        }
    }
}

/// Posts until so many have been acknowledged; gives how many were.
async fn fill(router: &Router, bodies: &Arc<Bodies>, pending: usize, most: Duration) -> usize {
    let (began, mut first, mut acknowledged) = (Instant::now(), 0, 0);
    while acknowledged < pending && began.elapsed() < most {
        let offer = Offer {
            connections: 64,
            rate: FULL_SPEED,
            first,
            count: (pending - acknowledged).min(50_000),
            lasting: most,
            tenant: Arc::new(|_| DEAD),
            call: |event| event,
        };
        let posted = offer.begin(&router.address, bodies).answered().await;
        first += posted.len();
        acknowledged += posted.iter().filter(|posted| posted.is_acknowledged).count();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "  filled: {acknowledged} of {first} acknowledged in {seconds:.1} s ({:.0}/s), RSS {:.1} MB",
        acknowledged as f64 / seconds,
        mb(router.process.resident())
    );
    acknowledged
}

async fn restart(router: &mut Router) {
    router.restart().await;
    let ready = router.ready_after.as_secs_f64();
    println!(
        "  killed and started again: ready after {ready:.2} s, RSS {:.1} MB",
        mb(router.process.resident())
    );
}

/// What it costs that a tenant is dead.
async fn stays_dead(when: &str, router: &Router) {
    let log = || {
        let text = std::fs::read(router.path("logs/log")).expect("its log");
        (text.len(), text.iter().filter(|byte| **byte == b'\n').count())
    };
    let (cpu, (bytes, lines), began) = (router.process.cpu(), log(), Instant::now());
    tokio::time::sleep(STAYING).await;
    let seconds = began.elapsed().as_secs_f64();
    let share = router.process.cpu().since(&cpu) / 1e4 / seconds;
    let (bytes_after, lines_after) = log();
    println!(
        "  while it stays dead, {when}: CPU {share:.2} %, RSS {:.1} MB, log {:.0} bytes/s, {:.2} lines/s",
        mb(router.process.resident()),
        (bytes_after - bytes) as f64 / seconds,
        (lines_after - lines) as f64 / seconds
    );
}
