//! What became of an event, in words.

use crate::cli::terminal::{lasted, plain};
use crate::delivery::DeadReason;
use crate::route::Reason;
use crate::wire::{EventState, EventStory};

/// The state in at most 22 characters, for a table.
pub fn brief(event: &EventStory) -> String {
    let text = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
    match event.state {
        EventState::Delivered => format!("delivered, {}", text(&event.rule)),
        EventState::Pending if event.paused_since.is_some() => "pending, hook paused".to_owned(),
        EventState::Pending if event.tries > 0 => "pending, tried again".to_owned(),
        EventState::Pending => "pending".to_owned(),
        EventState::Dead => format!("dead letter, {}", text(&event.reason)),
        EventState::Held => "held for its call".to_owned(),
        EventState::Unrouted => format!("unrouted, {}", text(&event.reason)),
    }
}

/// The state as a sentence.
pub fn state(event: &EventStory) -> String {
    match event.state {
        EventState::Delivered => match event.total_ms {
            Some(total) => {
                let is_again = event.before_state == Some(EventState::Delivered);
                let since = if is_again { "was sent again" } else { "came" };
                format!("delivered, {} after it {since}", lasted(total))
            }
            None => "delivered".to_owned(),
        },
        EventState::Pending => pending(event),
        EventState::Dead | EventState::Unrouted | EventState::Held => {
            kept(event.state, event.reason.as_deref().unwrap_or_default(), None)
        }
    }
}

fn pending(event: &EventStory) -> String {
    if event.paused_since.is_some() {
        "pending: its hook is paused".to_owned()
    } else if event.tries == 0 {
        "pending: it waits for its first attempt".to_owned()
    } else {
        format!("pending: attempt {} failed, it is tried again", event.tries)
    }
}

/// What an event is that is not delivered, and why. `at`: since when.
pub fn kept(state: EventState, reason: &str, at: Option<&str>) -> String {
    let named = plain(reason);
    let meaning = match state {
        EventState::Dead => DeadReason::named(reason).map(DeadReason::meaning),
        _ => Reason::named(reason).map(Reason::meaning),
    };
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let meaning = meaning.map(|meaning| format!(": {meaning}")).unwrap_or_default();
    match state {
        EventState::Delivered => "delivered".to_owned(),
        EventState::Held => format!("held{at}{meaning}"),
        EventState::Dead => format!("dead letter ({named}){at}{meaning}"),
        _ => format!("{} ({named}){at}{meaning}", state.as_str()),
    }
}

/// What a replayed event was before, in a few words.
pub fn before(event: &EventStory) -> Option<String> {
    let (state, at) = (event.before_state?, plain(event.replayed_at.as_ref()?));
    let reason = event.before_reason.as_deref().map(|reason| format!(" ({})", plain(reason)));
    let reason = reason.unwrap_or_default();
    Some(match state {
        EventState::Dead => format!("was a dead letter{reason}, replayed at {at}"),
        EventState::Held => format!("was held, replayed at {at}"),
        EventState::Delivered => format!("was delivered, sent again at {at}"),
        _ => format!("was {}{reason}, replayed at {at}", state.as_str()),
    })
}
