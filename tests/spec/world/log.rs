//! What routers of this process log: warnings and errors are kept, and every line is searched for secrets.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::secrets;

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Lines that are kept.
const KEPT: usize = 10_000;

/// From here on warnings and errors are kept, and what is logged is searched.
pub fn keep() {
    // The second world of a process finds it kept already.
    let _ = tracing::subscriber::set_global_default(Keeper);
}

/// Whether one line has all these texts.
pub fn has(texts: &[&str]) -> bool {
    let lines = LINES.lock().expect("the log");
    lines.iter().any(|line| texts.iter().all(|text| line.contains(text)))
}

struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.is_event() && metadata.target().starts_with("switchhook");
        *metadata.level() <= if own { Level::DEBUG } else { Level::WARN }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        secrets::note("a log line", &line.0);
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut lines = LINES.lock().expect("the log");
        lines.push_back(line.0);
        let over = lines.len().saturating_sub(KEPT);
        lines.drain(..over);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
