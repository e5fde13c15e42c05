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
        1_048_576..10_485_760 => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
        _ => format!("{} MiB", grouped(usize::try_from(bytes >> 20).unwrap_or(usize::MAX))),
    }
}

/// What a database holds, in one line.
pub fn held(contents: &Contents) -> String {
    let Contents { bytes, events, pending, newest, calls, hooks } = contents;
    let newest = newest.as_ref().map_or(String::new(), |at| format!("; the newest event came {at}"));
    let (events, calls) = (counted(grouped(*events), "event"), counted(grouped(*calls), "call"));
    let hooks = counted(grouped(*hooks), "hook");
    let pending = grouped(*pending);
    format!("{}: {events} ({pending} pending), {calls}, {hooks}{newest}", mebibytes(*bytes))
}
