//! What a person is shown and asked, and the signals that end a command.

use super::failure::Failure;

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
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" if read.is_ok() => Ok(()),
        _ => Err(Failure::new("nothing was changed")),
    }
}

/// Prints to standard output; a reader that has gone (`| head`) ends the process quietly.
pub fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// Prints one line of JSON to standard output.
pub fn say_json<T: serde::Serialize + ?Sized>(value: &T) {
    match serde_json::to_string(value) {
        Ok(line) => say(line),
        // Nothing that commands print has a map whose keys are not text.
        Err(error) => eprintln!("switchhook: {error}"),
    }
}

/// How long ago a time was, for people.
pub fn ago(time: &str) -> String {
    let Ok(time) = time.parse::<jiff::Timestamp>() else { return "-".to_owned() };
    let now = crate::time::Clock::system().unix();
    let seconds = (now.0 - time.as_millisecond()).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
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

/// A text from outside, safe for a terminal: control characters are escaped.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// A text cut to `width` characters. Its middle is left out, since names often differ at their ends.
pub fn shorten(text: &str, width: usize) -> String {
    let text = &plain(text);
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width / 2).collect();
    let tail: String = text.chars().skip(length - (width - width / 2 - 1)).collect();
    format!("{head}…{tail}")
}
