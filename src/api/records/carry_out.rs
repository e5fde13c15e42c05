//! What is planned to be sent again is sent again.

use axum::Json;

use crate::api::audit::Asker;
use crate::api::state::{ANSWER_WITHIN, Api};
use crate::hooks::Tenant;
use crate::http::Problem;
use crate::outbox::ReplayPlan;
use crate::time::UnixMillis;
use crate::wire::ReplayAnswer;

/// One replay takes at most this many events; `next` says where the rest begins.
pub const REPLAYS: usize = 10_000;

/// A time as the store has it.
pub fn time(time: Option<jiff::Timestamp>) -> Option<UnixMillis> {
    time.map(|time| UnixMillis(time.as_millisecond()))
}

/// What the logs say of a replay.
pub struct Recorded<'r> {
    /// The action in the audit log, and what it concerned.
    pub action: &'r str,
    pub target: String,
    /// The line in the log.
    pub told: &'r str,
}

/// Carries a plan out, unless it is only asked for.
pub async fn carried_out(
    api: &Api,
    asker: &Asker,
    plan: ReplayPlan,
    dry_run: bool,
    recorded: Recorded<'_>,
) -> Result<Json<ReplayAnswer>, Problem> {
    let (matched, without_hook, damaged, next) = (plan.matched(), plan.homeless, plan.damaged, plan.next);
    let mut replayed = 0;
    if !dry_run && plan.possible() > 0 {
        let Recorded { action, target, told } = recorded;
        let own = asker.scope().tenant().map(Tenant::as_str);
        let record = asker.record(api.clock.unix(), action, &target, own.or_else(|| plan.tenant()));
        replayed = api.ask(ANSWER_WITHIN, api.views.of(asker.scope()).replay(plan, record)).await?;
        tracing::info!(deliveries = replayed, by = asker.bearer.actor(), "{told}");
    }
    Ok(Json(ReplayAnswer { matched, calls: None, replayed, without_hook, damaged, dry_run, next }))
}
