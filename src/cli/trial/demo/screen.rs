//! What the demonstration shows: one line for each thing the router says of an event.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::summary::Summary;
use crate::cli::terminal::{plain, shorten};
use crate::cli::trial::recording::ms;
use crate::time::{Clock, Moment};
use crate::visible::{plain_json, plain_lines};

/// The table.
pub struct Screen {
    json: bool,
    /// Standard output is closed.
    gone: std::cell::Cell<bool>,
    color: bool,
    clock: Clock,
    began: Moment,
}

impl Screen {
    /// A screen whose times count from now.
    pub fn new(json: bool, clock: Clock) -> Self {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let began = clock.now();
        Self { json, gone: std::cell::Cell::new(false), color, clock, began }
    }

    /// Whether standard output is closed: the reader of a pipe has ended.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    fn say(&self, line: impl std::fmt::Display) {
        self.write(&plain_lines(&line.to_string()));
    }

    fn say_json(&self, line: &Value) {
        self.write(&plain_json(&line.to_string()));
    }

    /// A line in a color.
    fn say_in(&self, color: u8, line: &str) {
        self.write(&self.paint(&plain(line), color));
    }

    fn write(&self, text: &str) {
        use std::io::Write;
        self.gone.set(self.gone.get() || writeln!(std::io::stdout(), "{text}").is_err());
    }

    /// The tenants, and the table's head.
    pub fn title(&self, port: u16) {
        if self.json {
            return;
        }
        self.say(format_args!(
            "LiveKit (example) ──POST──▶ switchhook ──POST──▶ three tenants        SQLite in a temporary folder\n\
             recorded calls              127.0.0.1:{port:<5}          initech fails at first\n"
        ));
        self.say(format_args!(
            " {:>5} {:<18} {:<14} {:<27} {:<8} {:>3} {:>6} {:>8}",
            "time", "event", "call", "route", "tenant", "try", "answer", "total"
        ));
    }

    /// Something that happened to the router itself.
    pub fn note(&self, what: &str) {
        if self.json {
            return self.say_json(&json!({ "time_s": self.seconds(), "note": what }));
        }
        self.say_in(1, &format!(" {:>5.2} ──── {what} ────", self.seconds()));
    }

    /// One line of the router's log.
    pub fn log(&self, line: &Value) {
        if self.json {
            return self.say_json(line);
        }
        let text = |key: &str| line[key].as_str().unwrap_or("-");
        let reason = format!("unrouted: {}", text("reason"));
        let latency = |key: &str| {
            line[key].as_f64().map(|ms_| ms(Duration::from_secs_f64(ms_ / 1000.0))).unwrap_or_default()
        };
        match text("msg") {
            "received" if line["rule"].is_string() => {
                let dialled = if text("rule") == "number" { "dialled" } else { "" };
                let route = format!("{} {}", text("rule"), line["domain"].as_str().unwrap_or(dialled));
                self.row(line, route.trim_end(), "", "", "", 0);
            }
            "held" => self.row(line, "held: no tenant yet", "", "", "", 2),
            "released" => {
                let held = Duration::from_secs_f64(line["held_ms"].as_f64().unwrap_or_default() / 1000.0);
                self.row(line, &format!("{} (held {})", text("rule"), ms(held).trim()), "", "", "", 0);
            }
            "received" => self.row(line, &reason, "", "", "", 2),
            "unrouted" => {
                self.row(line, &reason, "", "", "", 33);
                let nearest = line["nearest"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let nearest: Vec<_> = nearest.collect();
                self.say(plain(&format!("{:>41}{}; nearest: {}", "", text("domain"), nearest.join(", "))));
            }
            "attempt failed" => {
                let again = line["next_in_ms"].as_f64().unwrap_or_default() / 1000.0;
                let (attempt, answer) = (line["attempt"].to_string(), answer(line));
                let route = format!("  failed, again in {again:.1} s");
                self.row(line, &route, &attempt, &answer, &latency("latency_ms"), 33);
            }
            "delivered" => {
                let attempt = line["attempt"].to_string();
                self.row(line, "  delivered", &attempt, &answer(line), &latency("total_ms"), 32);
            }
            _ => {}
        }
    }

    fn row(&self, line: &Value, route: &str, attempt: &str, answer: &str, total: &str, color: u8) {
        let text = |key: &str| line[key].as_str().unwrap_or("-");
        let row = format!(
            " {:>5.2} {:<18} {:<14} {:<27} {:<8} {attempt:>3} {answer:>6} {total:>8}",
            self.seconds(),
            shorten(text("event"), 18),
            shorten(text("call"), 14),
            shorten(route, 27),
            shorten(text("tenant"), 8),
        );
        self.say_in(color, row.trim_end());
    }

    /// What it came to.
    pub fn summary(&self, summary: &Summary) {
        let Summary { events, delivered, unrouted, retried, .. } = summary;
        let lost = summary.lost.len();
        if self.json {
            return self.say_json(&json!({
                "events": events, "acknowledged": summary.acknowledged, "delivered": delivered,
                "lost": summary.lost, "retried": retried, "unrouted": unrouted,
                "unverified": summary.unverified, "out_of_order": summary.out_of_order,
                "ack_p50_ms": summary.p50.as_secs_f64() * 1e3, "ack_p99_ms": summary.p99.as_secs_f64() * 1e3,
            }));
        }
        let order = if summary.out_of_order == 0 { "in order" } else { "OUT OF ORDER" };
        let signed = if summary.unverified == 0 { "every signature verified" } else { "SIGNATURES WRONG" };
        self.say(format_args!(
            "\n {events} events in, {delivered} delivered {order}, {lost} lost, {retried} retried, \
             {unrouted} unrouted"
        ));
        self.say(format_args!(" Acknowledged after {} (p50), {} (p99).", ms(summary.p50), ms(summary.p99)));
        self.say(format_args!(" Killed and restarted once on the way (kill -9): {lost} lost, {signed}."));
        self.say(
            "\n Next: your own hooks.yaml and `switchhook serve --dev` (README.md), or the guide (docs/guide.md)"
        );
    }

    fn seconds(&self) -> f64 {
        self.clock.now().since(self.began).as_secs_f64()
    }

    fn paint(&self, text: &str, code: u8) -> String {
        if self.color && code > 0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn answer(line: &Value) -> String {
    match line["status"].as_u64() {
        Some(status) => status.to_string(),
        None => line["error"].as_str().unwrap_or_default().to_owned(),
    }
}
