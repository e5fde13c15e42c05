//! File descriptors: how many there are, and how many of them connections from outside may have.

use rustix::process::{Resource, getrlimit, setrlimit};

use super::listener::HEALTH_PLACES;
use crate::dispatch::SOCKETS_OF_AN_ATTEMPT;

/// For the store (its writer, reader and long looks have three files each), the log, files that are watched, and the
/// runtime.
const FILES: usize = 128;

/// For sockets of name look-ups, beyond those of deliveries.
const LOOK_UPS: usize = 128;

/// How the descriptors are divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptors {
    /// All that the process may have.
    pub limit: usize,
    /// Those that are kept for the store, deliveries, name look-ups and files.
    pub reserved: usize,
    /// Attempts to deliver that may be in flight at once.
    pub attempts: usize,
    /// So many more were asked for.
    pub attempts_cut: usize,
    /// Connections that the listener for events serves at once.
    pub events: usize,
    /// Connections that the API's listener serves at once.
    pub api: usize,
}

impl Descriptors {
    /// Divides so many descriptors: `connections` for each listener, as far as they are there beside what `attempts`
    /// deliveries at once need. Of what is left in a small limit, the listener for events has three quarters.
    pub fn divide(limit: usize, connections: usize, attempts: usize) -> Self {
        let wanted = FILES + LOOK_UPS + SOCKETS_OF_AN_ATTEMPT * attempts;
        let reserved = wanted.min(limit / 8 * 5);
        let asked_for = attempts;
        let attempts =
            attempts.min((reserved.saturating_sub(FILES + LOOK_UPS) / SOCKETS_OF_AN_ATTEMPT).max(1));
        let left = (limit - reserved).saturating_sub(2 * HEALTH_PLACES);
        let api = connections.min((left / 4).max(1));
        let events = connections.min(left.saturating_sub(api).max(1));
        let api = connections.min(left.saturating_sub(events).max(1));
        Self { limit, reserved, attempts, attempts_cut: asked_for - attempts, events, api }
    }

    /// Says how they are divided, and warns if fewer `connections` are served, or deliveries go on at once, than were
    /// asked for.
    pub fn say(self, connections: usize) {
        let Self { limit, reserved, attempts, attempts_cut, events, api } = self;
        if events.min(api) < connections || attempts_cut > 0 {
            tracing::warn!(
                descriptors = limit,
                reserved,
                connections,
                attempts,
                attempts_cut,
                events,
                api,
                "fewer connections than --connections are served, or fewer deliveries go on at once: file descriptors \
                 are few, and some are kept for the store, deliveries and name look-ups. Raise the limit of open files \
                 (ulimit -n, LimitNOFILE=) of this process"
            );
        } else {
            tracing::info!(
                descriptors = limit,
                reserved,
                attempts,
                events,
                api,
                "connections each listener serves at once"
            );
        }
    }
}

/// Raises the limit of descriptors as far as the system permits, and gives what is in force.
pub fn raise_limit() -> usize {
    let limits = getrlimit(Resource::Nofile);
    let mut raised = limits;
    raised.current = limits.maximum;
    // If the limit cannot be raised, fewer connections are possible.
    let _ = setrlimit(Resource::Nofile, raised);
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_what_is_left_beside_the_store_and_deliveries() {
        // The limit, connections asked for, and what is reserved, attempts, events' and the API's connections.
        let cases = [
            (usize::MAX, 4096, (1792, 768, 4096, 4096)),
            (1 << 20, 65_535, (1792, 768, 65_535, 65_535)),
            (20_000, 4096, (1792, 768, 4096, 4096)),
            (8192, 4096, (1792, 768, 4096, 2240)),
            (4096, 4096, (1792, 768, 1680, 560)),
            (1024, 4096, (640, 192, 240, 80)),
            (1024, 100, (640, 192, 100, 100)),
            (256, 4096, (160, 1, 24, 8)),
            (0, 4096, (0, 1, 1, 1)),
        ];
        for (limit, connections, divided) in cases {
            let divided_now = Descriptors::divide(limit, connections, 768);
            let Descriptors { reserved, attempts, attempts_cut, events, api, .. } = divided_now;
            assert_eq!((reserved, attempts, events, api), divided, "{connections} of {limit}");
            assert_eq!(attempts + attempts_cut, 768);
            assert!(limit < 256 || reserved + events + api + 2 * HEALTH_PLACES <= limit);
        }
    }
}
