//! What became of an event, in words.

use serde_json::Value;

use crate::cli::terminal::{lasted, plain};
use crate::delivery::DeadReason;
use crate::route::Reason;

/// The state in at most 22 characters, for a table.
pub fn brief(event: &Value) -> String {
    let text = |key: &str| plain(event[key].as_str().unwrap_or("-"));
    let tries = event["tries"].as_u64().unwrap_or_default();
    match event["state"].as_str() {
        Some("delivered") => format!("delivered, {}", text("rule")),
        Some("pending") if !event["paused_since"].is_null() => "pending, hook paused".to_owned(),
        Some("pending") if tries > 0 => "pending, tried again".to_owned(),
        Some("dead") => format!("dead letter, {}", text("reason")),
        Some("held") => "held for its call".to_owned(),
        Some("unrouted") => format!("unrouted, {}", text("reason")),
        _ => text("state"),
    }
}

/// The state as a sentence.
pub fn state(event: &Value) -> String {
    let reason = event["reason"].as_str().unwrap_or_default();
    let total = event["total_ms"].as_i64();
    match event["state"].as_str() {
        Some("delivered") => match total {
            Some(total) => format!("delivered, {} after it came", lasted(total)),
            None => "delivered".to_owned(),
        },
        Some("pending") => pending(event),
        Some(state) => kept(state, reason, None),
        None => "-".to_owned(),
    }
}

fn pending(event: &Value) -> String {
    let tries = event["tries"].as_u64().unwrap_or_default();
    if !event["paused_since"].is_null() {
        "pending: its hook is paused".to_owned()
    } else if tries == 0 {
        "pending: it waits for its first attempt".to_owned()
    } else {
        format!("pending: attempt {tries} failed, it is tried again")
    }
}

/// What an event is that is not delivered, and why. `state`: `held`, `unrouted` or `dead`; `at`: since when.
pub fn kept(state: &str, reason: &str, at: Option<&str>) -> String {
    let named = plain(reason);
    let meaning = match state {
        "dead" => DeadReason::named(reason).map(DeadReason::meaning),
        _ => Reason::named(reason).map(Reason::meaning),
    };
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let meaning = meaning.map(|meaning| format!(": {meaning}")).unwrap_or_default();
    match state {
        "held" => format!("held{at}{meaning}"),
        "dead" => format!("dead letter ({named}){at}{meaning}"),
        _ => format!("{} ({named}){at}{meaning}", plain(state)),
    }
}

/// What a replayed event was before, in a few words.
pub fn before(event: &Value) -> Option<String> {
    let text = |key: &str| event[key].as_str().map(plain);
    let (state, at) = (text("before_state")?, text("replayed_at")?);
    let reason = text("before_reason").map(|reason| format!(" ({reason})")).unwrap_or_default();
    Some(match &*state {
        "dead" => format!("was a dead letter{reason}, replayed at {at}"),
        "held" => format!("was held, replayed at {at}"),
        _ => format!("was {state}{reason}, replayed at {at}"),
    })
}
