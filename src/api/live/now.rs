//! The last hour by ten seconds, for charts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::access::{Bearer, Scope};
use crate::api::input::Params;
use crate::api::state::Api;
use crate::background;
use crate::hooks::Tenant;
use crate::http::Problem;
use crate::outbox::StoreFault;
use crate::telemetry::{LastHour, Ring, RouterSlot, SLOTS, STEP, Slot, Spread, Spreads, begin_of, slot_of};
use crate::time::millis;
use crate::wire::{Limit, Now, NowHour, NowQuery, NowRouter, NowSeries, NowTenant};

/// The last hour in slots of ten seconds: what came, what was delivered, what failed, what waits, and how long it took.
///
/// A tenant sees its own. It is counted since the router's start, in memory; the slot that has not ended is left out.
#[utoipa::path(
    get, path = "/v1/now", operation_id = "now", tag = "live", params(NowQuery),
    responses((status = 200, description = "The series.", body = Now)),
)]
pub async fn now(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<NowQuery>,
) -> Result<Json<Now>, Problem> {
    let counted = Copied::of(&api.metrics.hour, &bearer.scope, &query, slot_of(api.clock.unix()));
    // Not where requests are served: it takes milliseconds.
    let answer = background::run(move || counted.answer()).await;
    answer.map(Json).ok_or_else(|| api.store_faults.problem(&StoreFault::Closed, api.clock.now()))
}

/// What is answered, copied tenant by tenant: events that are counted meanwhile hardly wait.
struct Copied {
    /// The slot that has not ended.
    number: u32,
    router: Option<Ring<RouterSlot>>,
    tenants: Vec<(Tenant, Ring<Slot>)>,
    unlisted: usize,
    others: Option<Ring<Slot>>,
    is_complete: bool,
}

impl Copied {
    fn of(hour: &LastHour, scope: &Scope, query: &NowQuery, number: u32) -> Self {
        let limit = query.limit.map_or(100, Limit::count);
        let others = hour.others(number);
        let named = scope.tenant().cloned().or_else(|| Tenant::new(query.tenant.as_deref()?));
        let is_of_one = scope.tenant().is_some() || query.tenant.is_some();
        let mut names = if is_of_one { named.into_iter().collect() } else { hour.tenants(number) };
        names.retain(|name| query.tenant.as_deref().is_none_or(|wanted| wanted == name.as_str()));
        let unlisted = names.len().saturating_sub(limit);
        names.truncate(limit);
        let ring = |name: Tenant| {
            let ring = hour.of(&name).or_else(|| others.is_none().then(Ring::default))?;
            Some((name, ring))
        };
        Self {
            number,
            router: (!is_of_one).then(|| hour.router()),
            tenants: names.into_iter().filter_map(ring).collect(),
            unlisted,
            is_complete: others.is_none(),
            others: others.filter(|_| !is_of_one),
        }
    }

    fn answer(self) -> Now {
        let number = self.number;
        let tenant = |(tenant, ring): &(Tenant, Ring<Slot>)| NowTenant {
            tenant: tenant.to_string(),
            series: series(&ring.before(number)),
        };
        Now {
            from: begin_of(number.saturating_sub(SLOTS)).to_string(),
            step_ms: millis(STEP),
            router: self.router.as_ref().map(|ring| router(&ring.before(number))),
            tenants: self.tenants.iter().map(tenant).collect(),
            unlisted: self.unlisted,
            others: self.others.as_ref().map(|ring| series(&ring.before(number))),
            is_complete: self.is_complete,
        }
    }
}

fn router(slots: &[RouterSlot]) -> NowRouter {
    let all: Vec<Slot> = slots.iter().map(|slot| slot.all.clone()).collect();
    let hour: Spreads = slots.iter().map(|slot| &slot.acknowledged).collect();
    let of_slots = |percent| slots.iter().map(|slot| percentile(&slot.acknowledged, percent)).collect();
    NowRouter {
        series: series(&all),
        unrouted: slots.iter().map(|slot| slot.unrouted).collect(),
        ack_p50_ms: of_slots(50),
        ack_p99_ms: of_slots(99),
        hour_ack_p50_ms: hour.percentile(50),
        hour_ack_p99_ms: hour.percentile(99),
    }
}

fn series(slots: &[Slot]) -> NowSeries {
    let of = |count: fn(&Slot) -> u32| slots.iter().map(count).collect::<Vec<_>>();
    let sum = |counts: &[u32]| counts.iter().copied().map(u64::from).sum();
    let of_slots = |percent| slots.iter().map(|slot| percentile(&slot.latency, percent)).collect();
    let (received, delivered, failing) =
        (of(|slot| slot.received), of(|slot| slot.delivered), of(|slot| slot.failing));
    let latency: Spreads = slots.iter().map(|slot| &slot.latency).collect();
    NowSeries {
        hour: NowHour {
            received: sum(&received),
            delivered: sum(&delivered),
            failing: sum(&failing),
            p50_ms: latency.percentile(50),
            p99_ms: latency.percentile(99),
        },
        received,
        delivered,
        failing,
        waiting: slots.iter().map(|slot| slot.waiting).collect(),
        p50_ms: of_slots(50),
        p99_ms: of_slots(99),
    }
}

fn percentile(spread: &Spread, percent: u64) -> Option<f64> {
    [spread].into_iter().collect::<Spreads>().percentile(percent)
}
