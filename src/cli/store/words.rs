//! What these commands say alike.

use super::data::DataFlags;
use crate::cli::failure::{Failure, root_cause};
use crate::cli::terminal::{counted, grouped, say};
use crate::outbox::care::{self, CareFault, Contents};
use crate::visible::shown;

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

/// Names all files of a database that was set aside: each may hold events' bodies.
pub fn tell_aside(data: &DataFlags, name: Option<&str>) {
    let Some(name) = name else { return };
    let parts: Vec<_> = care::parts(&data.data.join(name)).filter(|part| part.exists()).collect();
    parts.iter().for_each(|part| say(format_args!("set aside: {}", shown(part))));
    let what = if parts.len() == 1 { "Delete it once it is" } else { "Delete them once they are" };
    say(format_args!("{what} not needed"));
}

/// Says that the log is another database's. `aside`: its new name in the data directory.
pub fn tell_anothers_log(data: &DataFlags, aside: Option<&str>) {
    if let Some(aside) = aside {
        let aside = data.data.join(aside);
        say(format_args!("set aside: {}, another database's log, of which nothing was read", shown(&aside)));
    }
}

/// How many rows are damaged; none: there is no such row. `of`: of what.
pub fn damaged_rows(count: usize, of: &str) -> Option<String> {
    let (rows, are) = (counted(grouped(count), "row"), if count == 1 { "is" } else { "are" });
    (count > 0).then(|| {
        format!(
            "{rows}{of} {are} damaged: keep older backups. `switchhook store check FILE` names what of a backup is damaged"
        )
    })
}
