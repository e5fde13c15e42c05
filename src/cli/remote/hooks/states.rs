//! How hooks and tenants are doing, in words.

use crate::cli::terminal::{ago, grouped, plain, since, span, until};
use crate::wire::{HookLayer, HookState, LaneState, LastAnswer, PauseCause, TenantState};

/// Who wrote a hook, in a word.
pub fn layer(layer: HookLayer) -> &'static str {
    match layer {
        HookLayer::File => "file",
        HookLayer::Api => "api",
    }
}

/// A hook's state.
pub fn of_hook(hook: &HookState) -> String {
    if hook.shadowed {
        return "shadowed by the hooks file".to_owned();
    }
    let slow = if hook.slow > 0 { format!(", {} slow", hook.slow) } else { String::new() };
    format!("{}{slow}", told(hook.state, hook.since.as_deref(), hook.paused_by))
}

/// How many attempts its lane makes at once, which of them are slow, and whether it only probes. None: it has no lane.
pub fn lane(hook: &HookState) -> Option<String> {
    let mut told = format!("{} in flight of {} that may be", hook.in_flight, hook.window?);
    if hook.slow > 0 {
        told += &format!(", {} for over a second", hook.slow);
    }
    if hook.breaker_open {
        told += "; the breaker is open: five or more attempts in a row have failed";
    }
    Some(told)
}

/// A tenant's state.
pub fn of_tenant(tenant: &TenantState) -> String {
    told(tenant.state, tenant.since.as_deref(), tenant.paused_by)
}

fn told(state: LaneState, began: Option<&str>, by: Option<PauseCause>) -> String {
    match state {
        LaneState::Delivering => "delivering".to_owned(),
        LaneState::Failing => {
            let lasted = began.and_then(since).map(|ms| format!(" since {}", span(ms)));
            format!("failing{}", lasted.unwrap_or_default())
        }
        LaneState::Paused => paused(by, began),
    }
}

/// What paused a hook, and since when.
pub fn paused(by: Option<PauseCause>, began: Option<&str>) -> String {
    let by = match by {
        Some(PauseCause::Gone) => " by 410",
        Some(PauseCause::File) => " by the hooks file",
        Some(PauseCause::Api) => " over the API",
        None => "",
    };
    let since = began.map(|began| format!(" since {}", clock_time(began))).unwrap_or_default();
    format!("paused{by}{since}")
}

/// The time of the day in UTC, or the date of what is older than a day.
fn clock_time(time: &str) -> String {
    let is_recent = since(time).is_some_and(|ms| ms < 86_400_000);
    match (time.get(..10), time.get(11..16)) {
        (Some(_), Some(of_day)) if is_recent => format!("{}Z", plain(of_day)),
        (Some(day), _) => plain(day),
        (None, _) => plain(time),
    }
}

/// How many deliveries wait.
pub fn waiting(count: usize) -> String {
    if count == 0 { "-".to_owned() } else { grouped(count) }
}

/// How long the oldest delivery has waited.
pub fn oldest(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), span)
}

/// What a receiver answered last.
pub fn last(last: Option<&LastAnswer>) -> String {
    let Some(last) = last else { return "-".to_owned() };
    format!("{}, {}", outcome(last), ago(&last.at))
}

fn outcome(last: &LastAnswer) -> String {
    match (last.status, &last.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => plain(error),
        (None, None) => "-".to_owned(),
    }
}

/// What a hook's receiver answered last, and what follows or is to be done.
pub fn last_of_hook(hook: &HookState) -> String {
    let told = last(hook.last.as_ref());
    let resume = || format!("switchhook hooks resume {}", plain(&hook.host));
    match (hook.state, hook.paused_by) {
        _ if hook.shadowed => told,
        (LaneState::Paused, Some(PauseCause::Gone)) => format!("410: {}", resume()),
        (LaneState::Paused, Some(PauseCause::Api)) if hook.last.is_none() => resume(),
        (LaneState::Paused, Some(PauseCause::Api)) => format!("{told}; {}", resume()),
        (LaneState::Failing, _) if hook.waiting > 0 => {
            let next = hook.next_probe.as_deref().and_then(until).filter(|ms| *ms > 0);
            let next = next.map_or_else(|| "now".to_owned(), |ms| format!("in {}", span(ms)));
            format!("{told}; next probe {next}")
        }
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Clock, UnixMillis};

    fn before(seconds: i64) -> String {
        UnixMillis(Clock::system().unix().0 - seconds * 1000).to_string()
    }

    fn hook(state: LaneState, paused_by: Option<PauseCause>) -> HookState {
        HookState {
            host: "a.example".to_owned(),
            tenant: "acme".to_owned(),
            layer: HookLayer::Api,
            state,
            since: (state != LaneState::Delivering).then(|| before(250)),
            paused_by,
            shadowed: false,
            waiting: 1204,
            oldest_ms: Some(250_000),
            last: Some(LastAnswer { status: None, error: Some("refused".to_owned()), at: before(2) }),
            next_probe: None,
            breaker_open: false,
            window: Some(32),
            in_flight: 4,
            slow: 0,
        }
    }

    #[test]
    fn a_state_says_since_when_and_why_and_what_to_do() {
        let delivering = hook(LaneState::Delivering, None);
        let failing = HookState { next_probe: Some(before(-60)), ..hook(LaneState::Failing, None) };
        let slow = HookState { slow: 3, ..hook(LaneState::Delivering, None) };
        let gone = hook(LaneState::Paused, Some(PauseCause::Gone));
        let api = hook(LaneState::Paused, Some(PauseCause::Api));
        let file = hook(LaneState::Paused, Some(PauseCause::File));
        let shadowed = HookState { shadowed: true, ..hook(LaneState::Delivering, None) };
        for (hook, state, last) in [
            (delivering, "delivering", "refused, "),
            (failing, "failing since 4 min", "; next probe in "),
            (slow, "delivering, 3 slow", "refused, "),
            (gone, "paused by 410 since ", "410: switchhook hooks resume a.example"),
            (api, "paused over the API since ", "; switchhook hooks resume a.example"),
            (file, "paused by the hooks file since ", "refused, "),
            (shadowed, "shadowed by the hooks file", "refused, "),
        ] {
            let told = (of_hook(&hook), last_of_hook(&hook));
            assert!(told.0.starts_with(state) && told.1.contains(last), "{told:?}");
        }
        assert_eq!((waiting(1204), oldest(Some(250_000))), ("1 204".to_owned(), "4 min".to_owned()));
    }

    #[test]
    fn a_lane_says_what_is_in_flight_and_what_is_slow_and_that_only_probes_go() {
        let hook = hook(LaneState::Failing, None);
        assert_eq!(lane(&hook).as_deref(), Some("4 in flight of 32 that may be"));
        let slow = HookState { slow: 3, breaker_open: true, ..hook.clone() };
        let told = "4 in flight of 32 that may be, 3 for over a second; the breaker is open: five or more attempts \
            in a row have failed";
        assert_eq!(lane(&slow).as_deref(), Some(told));
        assert_eq!(lane(&HookState { window: None, ..hook }), None);
    }

    #[test]
    fn what_began_before_today_is_told_by_its_date() {
        assert!(paused(None, Some("2020-01-02T09:12:00.000Z")).ends_with("since 2020-01-02"));
        let recent = paused(None, Some(&before(60)));
        assert!(recent.ends_with('Z') && recent.len() == "paused since 09:12Z".len(), "{recent}");
    }
}
