//! The reasons of `/readyz` in sentences: what is so, why it matters, what to do.

use crate::cli::terminal::{paragraph, plain};
use crate::wire::{Readiness, ReadinessStatus, StoreTrouble};

/// One thing that is degraded.
pub struct Reason<'r> {
    name: &'r str,
    /// What the router says of its store, if that is the reason.
    store: Option<&'r StoreTrouble>,
}

impl<'r> Reason<'r> {
    /// Everything that is degraded, in the router's order.
    pub fn all_of(readiness: &'r Readiness) -> impl Iterator<Item = Self> {
        let full = readiness.status == ReadinessStatus::Full;
        let is_named = readiness.reasons.iter().any(|reason| reason == "full");
        let names = readiness.reasons.iter().map(String::as_str).chain((full && !is_named).then_some("full"));
        names.map(|name| {
            let is_meant = |store: &&StoreTrouble| {
                name == if store.unreadable.is_empty() { "store" } else { "unreadable" }
            };
            Self { name, store: readiness.store.as_ref().filter(is_meant) }
        })
    }

    /// Whether this program knows it: a newer router may have others.
    pub fn is_known(&self) -> bool {
        meaning(self.name).is_some()
    }

    /// What the router does or has done, without a subject.
    pub fn what(&self) -> String {
        let fault = self.store.map(|store| {
            let separator = if store.unreadable.is_empty() { "" } else { ": " };
            format!(" ({}{separator}{})", plain(&store.fault), plain(&store.unreadable.join(", ")))
        });
        let fault = fault.unwrap_or_default();
        match meaning(self.name) {
            Some([what, ..]) => format!("{what}{fault}"),
            None => format!("is degraded: {}", plain(self.name)),
        }
    }

    /// Why that matters.
    pub fn why(&self) -> &'static str {
        meaning(self.name).map_or("it serves, but worse than it should", |[_, why, _]| why)
    }

    /// What to do.
    pub fn fix(&self) -> String {
        let fix = || meaning(self.name).map_or("the log says why", |[_, _, fix]| fix).to_owned();
        self.store.map_or_else(fix, |store| plain(&store.fix))
    }

    /// The whole of it in lines of the screen's width.
    pub fn lines(&self) -> Vec<String> {
        let said = format!("{}: the router {}; {}", plain(self.name), self.what(), self.why());
        let mut lines = paragraph("  ", &said);
        lines.extend(paragraph("  → ", &self.fix()));
        lines
    }
}

fn meaning(reason: &str) -> Option<[&'static str; 3]> {
    Some(match reason {
        "store" => [
            "cannot write to its store; it acknowledges events from memory",
            "events that are not stored are lost if it ends now",
            "is the disk full or broken? The log says why each commit fails",
        ],
        "full" => [
            "refuses events: its store is at its limit, and all of it is still to be delivered",
            "LiveKit tries for 15 s, then each event is lost",
            "see which tenants are down (`switchhook tenants`), or raise --store-limit",
        ],
        "new_database" => [
            "began with a new database: the one of the data directory was missing or empty",
            "pending deliveries, calls in progress, hooks of the API and history are lost",
            "stop the router and run `switchhook store restore FILE`; or restart it to go on without them",
        ],
        "hooks" => [
            "runs with an older hook table: the hooks file is faulty or gone",
            "changes to it are not in force",
            "`switchhook check` says every fault with its place",
        ],
        "unreadable_hooks" => [
            "has hooks whose stored settings it cannot read: they are not in force",
            "calls of these hosts go to nobody",
            "was the master secret replaced? The log names the hooks and what to do",
        ],
        "damaged" => [
            "has met damaged rows in its store",
            "events that they belong to are dead letters or unrouted: nobody gets anything by a damaged row",
            "the log names the rows; `switchhook store check` finds all of them, then `switchhook store recover`",
        ],
        "unreadable" => [
            "stores events, but cannot read some of its store",
            "lists and commands about that fail, and what is to be delivered may be there",
            "the log says what; `switchhook store check` finds all that is damaged, then `switchhook store recover`",
        ],
        "certificate" | "api_certificate" => [
            "serves an old certificate: the files of the new one cannot be used",
            "when the old one expires, nobody connects any more",
            "the log says what is wrong with the files",
        ],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::WIDTH;
    use crate::telemetry::Degradation;

    #[test]
    fn every_reason_that_a_router_gives_has_a_sentence_and_a_fix_that_fit_on_the_screen() {
        let (fault, fix) = ("damaged".to_owned(), "The database is damaged.".repeat(20));
        let store = StoreTrouble { fault, unreadable: Vec::new(), fix };
        for name in Degradation::ALL.map(Degradation::as_str) {
            let reason = Reason { name, store: (name == "store").then_some(&store) };
            let lines = reason.lines();
            assert!(reason.is_known(), "{name}");
            assert!(lines[0].starts_with(&format!("  {name}: the router ")), "{lines:?}");
            assert!(lines.iter().any(|line| line.starts_with("  → ")), "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        }
        let newer = Reason { name: "newer", store: None };
        let told = "  newer: the router is degraded: newer; it serves, but worse than it should";
        assert_eq!(newer.lines(), [told, "  → the log says why"]);
    }
}
