//! All that the engine in memory stores, as texts.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::Rows;
use super::row::Row;

impl Rows {
    /// A text for each row.
    pub(super) fn texts(&self) -> BTreeSet<String> {
        let Self { events, sessions, chains, complete, numbers, hooks, pauses, audit } = self;
        let of_event = |row: &Row| {
            // An event that was delivered before it was stored may be stored without its body.
            let Row { post, session, shelf, reason, body, numbered, is_kept } = row;
            format!("{} {session:?} {shelf:?} {reason:?} {body:?} {numbered:?} {is_kept}", post.key)
        };
        let events = events.iter().map(|(id, row)| format!("{id:?} {}", of_event(row)));
        events
            .chain(named("session", sessions))
            .chain(named("chain", chains))
            .chain(named("number", numbers))
            .chain(named("hook", hooks))
            .chain(named("pause", pauses))
            .chain(named("audit", audit))
            .chain([format!("complete {complete}")])
            .collect()
    }
}

fn named<T: Debug>(table: &str, rows: impl IntoIterator<Item = T>) -> impl Iterator<Item = String> {
    rows.into_iter().map(move |row| format!("{table} {row:?}"))
}
