//! The clock against LiveKit's: its `Date` header (RFC 9110 §6.6.1) has whole seconds.

use jiff::fmt::rfc2822;

use super::finding::{Finding, Severity, Subject};
use crate::time::UnixMillis;

/// Less is not worth a word: the header is whole seconds, and is read on arrival.
const NOTABLE: i64 = 5;

/// Half of what verifiers allow (60 s): from here on events are lost as soon as the clocks drift on.
const GRAVE: i64 = 30;

/// Seconds by which our clock is ahead of LiveKit's at least; less than 0: behind. `sent` and `received`: when we asked
/// and were answered. None: the header is no date.
pub fn ahead(date: &str, sent: UnixMillis, received: UnixMillis) -> Option<i64> {
    let date = rfc2822::parse(date).ok()?.timestamp().as_millisecond();
    // LiveKit's clock stood somewhere within the second of the header, ours between `sent` and `received`.
    let (least, most) = (sent.0 - date - 999, received.0 - date);
    Some(if least > 0 { least / 1000 } else { most.min(0) / 1000 })
}

/// Whether clocks that differ by this much are a reason for a refused token.
pub fn is_grave(ahead: i64) -> bool {
    ahead.abs() > GRAVE
}

/// What is wrong with clocks that differ by this much.
pub fn finding(ahead: i64) -> Option<Finding> {
    if ahead.abs() <= NOTABLE {
        return None;
    }
    let severity = if is_grave(ahead) { Severity::Problem } else { Severity::Warning };
    let (side, why) = if ahead < 0 {
        (
            "behind",
            "LiveKit's tokens are valid from the moment they are made, and 60 s of difference are allowed: beyond that \
             every event is refused (not_yet_valid), and LiveKit does not post a refused event again",
        )
    } else {
        (
            "ahead of",
            "LiveKit's tokens are valid for 5 min, and 60 s of difference are allowed: events that LiveKit posts again \
             are refused first (expired); tenants refuse deliveries whose time is 5 min off theirs",
        )
    };
    let what = format!("is {} s {side} LiveKit's", ahead.abs());
    let fix =
        "let both machines keep their time by NTP; `timedatectl` on each says which one is off".to_owned();
    Some(Finding::new(
        severity,
        "clocks_differ",
        Subject::the("this machine's clock"),
        [what, why.to_owned(), fix],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the header below says.
    const DATE: i64 = 1_795_240_012_000;

    #[test]
    fn clocks_differ_only_by_what_the_answers_way_does_not_explain() {
        let header = "Sat, 21 Nov 2026 05:46:52 GMT";
        let table = [
            (0, 10, 0),
            (0, 4_000, 0),
            (900, 950, 0),
            (-3_000, 100, 0),
            // Answered at once, our clock says 10 s later.
            (10_000, 10_001, 9),
            (-40_000, -39_500, -39),
            // A slow answer makes it less certain.
            (5_000, 9_000, 4),
        ];
        for (sent, received, expected) in table {
            let at = |after: i64| UnixMillis(DATE + after);
            assert_eq!(ahead(header, at(sent), at(received)), Some(expected), "{sent} {received}");
        }
        for text in ["", "now", "2026-11-21T05:46:52Z", "Sat, 99 Nov 2026 05:46:52 GMT"] {
            assert_eq!(ahead(text, UnixMillis(DATE), UnixMillis(DATE)), None, "{text}");
        }
    }

    #[test]
    fn five_seconds_are_nothing_and_more_than_thirty_a_problem() {
        let severity = |ahead| finding(ahead).map(|finding| finding.severity);
        for (ahead, expected) in [(0, None), (5, None), (-5, None), (6, Some(Severity::Warning))] {
            assert_eq!(severity(ahead), expected, "{ahead}");
        }
        assert_eq!((severity(-30), severity(31)), (Some(Severity::Warning), Some(Severity::Problem)));
        assert!(finding(-90).is_some_and(|finding| finding.what == "is 90 s behind LiveKit's"));
        assert!(finding(90).is_some_and(|finding| finding.what == "is 90 s ahead of LiveKit's"));
    }
}
