//! What these commands say alike.

use crate::cli::failure::{Failure, root_cause};
use crate::cli::terminal::{counted, grouped};
use crate::outbox::care::{CareFault, Contents};

/// The command failed for this reason.
pub fn failed(fault: &CareFault) -> Failure {
    match fault {
        CareFault::Store(_) => Failure::new(format!("the database cannot be used: {}", root_cause(fault))),
        _ => Failure::new(fault.to_string()),
    }
}

/// A size, for people.
pub fn mebibytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", grouped(usize::try_from(bytes >> 20).unwrap_or(usize::MAX))),
    }
}

/// What a database holds, in one line.
pub fn held(contents: &Contents) -> String {
    let Contents { bytes, events, pending, calls, hooks, .. } = contents;
    let newest = contents.newest().map_or(String::new(), |at| format!("; the newest event came {at}"));
    let (events, calls) = (counted(grouped(*events), "event"), counted(grouped(*calls), "call"));
    let hooks = counted(grouped(*hooks), "hook");
    let pending = grouped(*pending);
    format!("{}: {events} ({pending} pending), {calls}, {hooks}{newest}", mebibytes(*bytes))
}
