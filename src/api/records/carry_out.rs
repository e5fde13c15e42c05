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

/// Carries a plan out, unless it is only asked for. `action`: for the audit log; `told`: for the log.
pub async fn carried_out(
    api: &Api,
    asker: &Asker,
    plan: ReplayPlan,
    dry_run: bool,
    (action, told): (&str, &str),
) -> Result<Json<ReplayAnswer>, Problem> {
    let (matched, without_hook, damaged, next) = (plan.matched(), plan.homeless, plan.damaged, plan.next);
    let (mut replayed, possible) = (0, matched - without_hook - damaged);
    if !dry_run && possible > 0 {
        let target = format!("{possible} deliveries");
        let own = asker.scope().tenant().map(Tenant::as_str);
        let record = asker.record(api.clock.unix(), action, &target, own);
        replayed = api.ask(ANSWER_WITHIN, api.views.of(asker.scope()).replay(plan, record)).await?;
        tracing::info!(deliveries = replayed, by = asker.bearer.actor(), "{told}");
    }
    Ok(Json(ReplayAnswer { matched, calls: None, replayed, without_hook, damaged, dry_run, next }))
}
