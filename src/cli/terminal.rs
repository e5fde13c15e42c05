//! What a person is shown and asked, and the signals that end a command.

use super::failure::Failure;
use crate::visible::{plain_json, plain_lines};

pub use crate::visible::plain;

/// Columns of a line; commands, which are to be copied, stand on one line of their own.
pub const WIDTH: usize = 100;

/// Waits for Ctrl-C or SIGTERM, which are noticed from this call on.
pub fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let [interrupt, terminate] = kinds.map(|kind| signal(kind).ok());
    // Many expect it to reload; files are reloaded anyway, so it must not end the process.
    let hangup = signal(SignalKind::hangup()).ok();
    async move {
        let _hangup = hangup;
        let (Some(mut interrupt), Some(mut terminate)) = (interrupt, terminate) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Asks before something is changed; `yes` answers beforehand.
///
/// # Errors
/// When the answer is no, or nobody is there to answer.
pub fn confirmed(question: &str, yes: bool) -> Result<(), Failure> {
    use std::io::IsTerminal;
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(format!(
            "{question} Standard input is no terminal, so nothing was asked: give --yes"
        )));
    }
    ask(question);
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" if read.is_ok() => Ok(()),
        _ => Err(Failure::new("nothing was changed")),
    }
}

/// Prints to standard output; a reader that has gone (`| head`) ends the process quietly. Whatever the text quotes,
/// it steers no terminal. Its lines stay: what is quoted is made [`plain`] before.
pub fn say(text: impl std::fmt::Display) {
    write_out(&plain_lines(&text.to_string()));
}

/// Prints one line of JSON to standard output.
pub fn say_json<T: serde::Serialize + ?Sized>(value: &T) {
    match serde_json::to_string(value) {
        Ok(line) => write_out(&plain_json(&line)),
        // Nothing that commands print has a map whose keys are not text.
        Err(error) => aside(format_args!("switchhook: {error}")),
    }
}

fn write_out(text: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints to standard error, as [`say`] does: what is not to be piped on.
#[expect(clippy::print_stderr, reason = "the one place that does")]
pub fn aside(text: impl std::fmt::Display) {
    eprintln!("{}", plain_lines(&text.to_string()));
}

#[expect(clippy::print_stderr, reason = "the answer stands on the question's line")]
fn ask(question: &str) {
    eprint!("{} [y/N] ", plain_lines(question));
}

/// How long ago a time was, for people.
pub fn ago(time: &str) -> String {
    since(time).map_or_else(|| "-".to_owned(), |ms| format!("{} ago", span(ms / 1000 * 1000)))
}

/// Milliseconds since a time; 0: it is yet to come. None: it is no time.
pub fn since(time: &str) -> Option<i64> {
    until(time).map(|ms| (-ms).max(0))
}

/// Milliseconds until a time; less than 0: it is past. None: it is no time.
pub fn until(time: &str) -> Option<i64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_millisecond() - crate::time::Clock::system().unix().0)
}

/// A span of time in its largest fitting unit, for people.
pub fn span(ms: i64) -> String {
    match ms / 1000 {
        0 if ms > 0 => format!("{ms} ms"),
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A number with a space between its thousands: `1 204`.
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(" ")
}

/// A table: each column as wide as its widest cell. The columns `right` are flush right, as numbers are.
pub fn columns<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    right: &[usize],
) -> Vec<String> {
    let rows = std::iter::once(heading.map(str::to_owned)).chain(rows);
    let rows: Vec<_> = rows.map(|row| row.map(|cell| plain(&cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
            if right.contains(&at) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A number of things: "1 event", "2 events".
pub fn counted(count: impl std::fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// How long something lasted, for people.
pub fn lasted(ms: i64) -> String {
    match ms {
        ..10_000 => format!("{ms} ms"),
        10_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// A text cut to `width` characters. Its middle is left out, since names often differ at their ends.
pub fn shorten(text: &str, width: usize) -> String {
    let text = plain(text);
    let length = text.chars().count();
    if length <= width {
        return text;
    }
    let head: String = text.chars().take(width / 2).collect();
    let tail: String = text.chars().skip(length - (width - width / 2 - 1)).collect();
    format!("{head}…{tail}")
}

/// A text in lines of the screen's width, behind `begin` and then as far in.
pub fn paragraph(begin: &str, text: &str) -> Vec<String> {
    let inner = begin.chars().count();
    let mut lines = vec![begin.to_owned()];
    for word in plain(text).split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > inner && line + 1 + word.chars().count() > WIDTH {
            lines.push(" ".repeat(inner));
        }
        if let Some(line) = lines.last_mut() {
            if line.chars().count() > inner {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long".to_owned(), "1 204".to_owned()]];
        assert_eq!(columns(["name", "n"], rows, &[1]), ["name      n", "a         1", "long  1 204"]);
    }

    #[test]
    fn numbers_and_spans_are_told_as_people_read_them() {
        for (count, told) in [(0, "0"), (999, "999"), (1204, "1 204"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(count), told);
        }
        for (ms, told) in [(0, "0 s"), (40, "40 ms"), (8_000, "8 s"), (240_000, "4 min"), (7_200_000, "2 h")]
        {
            assert_eq!(span(ms), told);
        }
    }
}
