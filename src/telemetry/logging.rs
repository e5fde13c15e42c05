//! The log: one line per thing that happened, as JSON or as text.
//!
//! Lines are gathered in memory and written by a thread of their own, so that a slow terminal or a
//! full pipe never delays an answer to LiveKit. What does not fit is dropped and counted.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::time::Clock;
use crate::visible::{is_hostile, json_escape, plain};

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

impl LogFormat {
    /// Text on a terminal, JSON elsewhere.
    pub fn fitting() -> Self {
        if std::io::stdout().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Writes the log to standard output from here on, for the whole process. Dropping the result
/// writes what is left.
pub fn start(format: LogFormat, level: LevelFilter, color: bool, clock: Clock) -> Flush {
    let sink = Arc::new(Sink::default());
    let writer = Arc::clone(&sink);
    // It ends with `Flush`; without it lines are dropped and counted.
    let _ = std::thread::Builder::new().name("log".into()).spawn(move || writer.run());
    let lines = Lines { sink: Arc::clone(&sink), format, level, color, clock };
    // A second router in one process shares the first one's log.
    let _ = tracing::subscriber::set_global_default(lines);
    Flush { sink }
}

/// Writes what is left when it is dropped.
pub struct Flush {
    sink: Arc<Sink>,
}

impl Drop for Flush {
    fn drop(&mut self) {
        // A log that cannot be written delays the end of the process by at most a second.
        self.sink.close(Duration::from_secs(1));
    }
}

/// Lines that wait to be written.
#[derive(Default)]
struct Sink {
    state: Mutex<WaitingLine>,
    wake: Condvar,
}

#[derive(Default)]
struct WaitingLine {
    text: Vec<u8>,
    dropped: u64,
    closed: bool,
    /// Closed, and nothing is left.
    written: bool,
}

impl Sink {
    /// Bytes that may wait.
    const ROOM: usize = 8 << 20;
    /// Lines gather this long, so that a busy router makes few system calls.
    const GATHER: Duration = Duration::from_millis(50);

    fn push(&self, line: &[u8]) {
        let mut waiting = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.text.len() + line.len() > Self::ROOM {
            waiting.dropped += 1;
            return;
        }
        let was_empty = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// Ends the thread and waits until it has written everything, at most for `patience`.
    fn close(&self, patience: Duration) {
        let mut waiting = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.closed = true;
        self.wake.notify_all();
        drop(self.wake.wait_timeout_while(waiting, patience, |waiting| !waiting.written));
    }

    fn run(&self) {
        let mut text = Vec::new();
        loop {
            let waiting = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = |waiting: &mut WaitingLine| waiting.text.is_empty() && !waiting.closed;
            let waiting = self.wake.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
            let gathered = self.wake.wait_timeout_while(waiting, Self::GATHER, |waiting| !waiting.closed);
            let mut waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
            std::mem::swap(&mut text, &mut waiting.text);
            let (dropped, closed) = (std::mem::take(&mut waiting.dropped), waiting.closed);
            drop(waiting);
            let mut out = std::io::stdout().lock();
            // If the log cannot be written, there is nowhere to report it.
            let _ = out.write_all(&text).and_then(|()| out.flush());
            text.clear();
            if dropped > 0 {
                tracing::warn!(lines = dropped, "log lines dropped: its reader is too slow");
            }
            if closed {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).written = true;
                self.wake.notify_all();
                return;
            }
        }
    }
}

/// Turns events into lines. There are no spans: every line stands for itself.
struct Lines {
    sink: Arc<Sink>,
    format: LogFormat,
    level: LevelFilter,
    color: bool,
    clock: Clock,
}

thread_local! {
    static LINE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What nameservers answer must not fill the log: the resolver's warnings are for debugging.
        let level = if metadata.target().starts_with("hickory") { LevelFilter::DEBUG } else { self.level };
        metadata.is_event() && *metadata.level() <= self.level && level <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            let level = *event.metadata().level();
            match self.format {
                LogFormat::Json => {
                    let (now, level) = (self.clock.unix(), lower_case(level));
                    let _ = write!(line, "{{\"ts\":\"{now}\",\"level\":\"{level}\"");
                    event.record(&mut Json(line));
                    line.push('}');
                }
                LogFormat::Text => {
                    let (now, level) = (self.clock.unix(), self.colored(level));
                    let _ = write!(line, "{now} {level}");
                    event.record(&mut EscapedText(line));
                }
            }
            line.push('\n');
            self.sink.push(line.as_bytes());
        });
    }

    // No span is enabled, so this is never called.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Lines {
    fn colored(&self, level: Level) -> String {
        let code = match level {
            Level::ERROR => 31,
            Level::WARN => 33,
            Level::INFO => 32,
            _ => 2,
        };
        let name = level.as_str();
        if self.color { format!("\x1b[{code}m{name:<5}\x1b[0m") } else { format!("{name:<5}") }
    }
}

fn lower_case(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Whether a field's value is a list, recorded by its Debug form, which for plain names is JSON.
fn is_list(field: &Field) -> bool {
    matches!(field.name(), "nearest" | "reasons")
}

struct Json<'a>(&'a mut String);

impl Json<'_> {
    fn key(&mut self, field: &Field) {
        self.0.push_str(",\"");
        self.0.push_str(if field.name() == "message" { "msg" } else { field.name() });
        self.0.push_str("\":");
    }
}

impl Visit for Json<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.key(field);
        if is_list(field) {
            let list = format!("{value:?}");
            // What Debug has escaped is no JSON: such a list is told as a text.
            if !list.contains('\\') {
                return self.0.push_str(&list);
            }
        }
        self.0.push('"');
        let _ = write!(Escaping(self.0), "{value:?}");
        self.0.push('"');
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        self.0.push('"');
        let _ = Escaping(self.0).write_str(value);
        self.0.push('"');
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field);
        let _ = write!(self.0, "{value}");
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field);
        let _ = write!(self.0, "{value}");
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field);
        let _ = write!(self.0, "{value}");
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field);
        let _ = write!(self.0, "{value}");
    }
}

/// The inside of a JSON string (RFC 8259 §7), as it comes; what would steer a terminal is escaped, too.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(may_be_escaped) {
            let (before, from) = rest.split_at(at);
            self.0.push_str(before);
            let mut chars = from.chars();
            match chars.next() {
                Some(c @ ('"' | '\\')) => self.0.extend(['\\', c]),
                Some('\n') => self.0.push_str("\\n"),
                Some('\r') => self.0.push_str("\\r"),
                Some('\t') => self.0.push_str("\\t"),
                Some(c) if is_hostile(c) => self.0.push_str(&json_escape(c)),
                c => self.0.extend(c),
            }
            rest = chars.as_str();
        }
        self.0.push_str(rest);
        Ok(())
    }
}

/// Whether a character that begins with this byte may have to be escaped. Of most text, no byte does.
fn may_be_escaped(byte: u8) -> bool {
    !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')
}

struct EscapedText<'a>(&'a mut String);

impl Visit for EscapedText<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        self.record_str(field, &value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        // What is quoted needs no other mark of where it ends.
        let is_bare = |c: char| !c.is_whitespace() && c != '"' && !is_hostile(c);
        let _ = match field.name() {
            "message" => write!(self.0, " {:<16}", plain(value)),
            name if !value.is_empty() && value.chars().all(is_bare) => write!(self.0, " {name}={value}"),
            name => write!(self.0, " {name}={}", plain(&format!("{value:?}"))),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::UnixMillis;

    /// What is written while `log` runs.
    fn written(format: LogFormat, level: LevelFilter, log: impl FnOnce()) -> String {
        let sink = Arc::new(Sink::default());
        let clock = Clock::manual(UnixMillis(1_795_240_012_110));
        let lines = Lines { sink: Arc::clone(&sink), format, level, color: false, clock };
        tracing::subscriber::with_default(lines, log);
        let text = sink.state.lock().expect("the lines").text.clone();
        String::from_utf8(text).expect("text")
    }

    /// A text with more of what is hostile than chance would give.
    fn text() -> impl Strategy<Value = String> {
        let hostile: Vec<char> =
            (0..0x11_0000).filter_map(char::from_u32).filter(|c| is_hostile(*c)).collect();
        let any = prop_oneof![
            any::<char>(),
            prop::sample::select(hostile),
            "[\"\\\\{} =]".prop_map(|one| one.chars().next().unwrap_or(' '))
        ];
        prop::collection::vec(any, 0..24).prop_map(|all| all.into_iter().collect())
    }

    proptest! {
        #[test]
        fn whatever_is_logged_is_one_line_without_hostile_characters(text in text(), list in prop::collection::vec(text(), 0..3)) {
            for format in [LogFormat::Json, LogFormat::Text] {
                let line = written(format, LevelFilter::INFO, || {
                    tracing::info!(who = &*text, error = ?text, nearest = ?list, "said {text}");
                });
                let line = line.strip_suffix('\n').expect("a line");
                prop_assert!(!line.chars().any(is_hostile), "{line:?}");
                if format == LogFormat::Json {
                    let read: serde_json::Value = serde_json::from_str(line).expect("JSON");
                    prop_assert_eq!(&read["who"], &text);
                    prop_assert_eq!(&read["msg"], &format!("said {text}"));
                    prop_assert_eq!(&read["error"], &format!("{text:?}"));
                    prop_assert!(!read["nearest"].is_null());
                }
            }
        }
    }

    #[test]
    fn lines_of_the_level_and_above_are_written_whole() {
        let text = written(LogFormat::Json, LevelFilter::WARN, || {
            tracing::info!("too low");
            tracing::warn!(room = "a\"b", lag_ms = 3, durable = false, latency_ms = 0.5, "said {}", "\n");
        });
        assert_eq!(
            text,
            "{\"ts\":\"2026-11-21T05:46:52.110Z\",\"level\":\"warn\",\"msg\":\"said \\n\",\"room\":\"a\\\"b\",\
             \"lag_ms\":3,\"durable\":false,\"latency_ms\":0.5}\n"
        );
    }

    #[test]
    fn lines_beyond_the_room_of_the_log_are_dropped_and_counted() {
        let (sink, line) = (Sink::default(), vec![b'x'; Sink::ROOM / 4]);
        (0..6).for_each(|_| sink.push(&line));
        let waiting = sink.state.lock().expect("the lines");
        assert_eq!((waiting.text.len(), waiting.dropped), (Sink::ROOM, 2));
    }
}
