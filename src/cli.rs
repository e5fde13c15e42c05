//! The command line: one file per command. Commands about a running router speak to its API.

mod calls;
mod check;
mod client;
mod deliveries;
mod demo;
mod events;
mod explain;
mod hooks;
mod listen;
mod recording;
mod replay;
mod secret;
mod send;
mod serve;
mod unrouted;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Flags;

/// The webhook tenant router for LiveKit: every tenant gets its own calls' events, signed, in order.
///
/// Without a command: serve.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Run the router
    Serve(Box<Flags>),
    /// Check a hook table: every fault, with line and column
    Check(check::Flags),
    /// Say where an event would go, step by step
    Explain(explain::Flags),
    /// See it work: an example LiveKit, three tenants, a failing receiver and a kill -9
    Demo(demo::Flags),
    /// Post events as LiveKit does: recorded calls, or one event
    Send(send::Flags),
    /// Receive as a tenant does: verify, print and, if you like, pass on
    Listen(listen::Flags),
    /// List what was given up, with its attempts
    Deliveries(deliveries::Flags),
    /// List what had nowhere to go, by reason and domain, and how to mend it
    Unrouted(unrouted::Flags),
    /// List calls, or tell one event by event
    Calls(calls::Flags),
    /// Send again what was given up, or route again what had nowhere to go
    Replay(replay::Flags),
    /// Print a tenant's signing secret, or renew it
    Secret(secret::Flags),
    /// Tell an event's whole story
    Events(events::Flags),
    /// Resume a hook that is paused
    Hooks(hooks::Flags),
}

/// A command that did not succeed: its exit code and what standard error says.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Refused or failed: exit code 1.
    fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// Refused or failed, and all is said already.
    fn silent() -> Self {
        Self::new("")
    }

    /// Bad configuration: exit code 78 (`EX_CONFIG` of sysexits.h).
    fn configuration(message: impl Into<String>) -> Self {
        Self { code: 78, message: message.into() }
    }

    /// Bad usage: exit code 2.
    fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command.unwrap_or_else(|| Command::Serve(Box::new(cli.serve))) {
        Command::Serve(flags) => serve::run(&flags),
        Command::Check(flags) => check::run(&flags),
        Command::Explain(flags) => explain::run(&flags),
        Command::Demo(flags) => block_on(demo::run(flags)),
        Command::Send(flags) => block_on(send::run(flags)),
        Command::Listen(flags) => block_on(listen::run(flags)),
        Command::Deliveries(flags) => block_on(deliveries::run(flags)),
        Command::Unrouted(flags) => block_on(unrouted::run(flags)),
        Command::Calls(flags) => block_on(calls::run(flags)),
        Command::Replay(flags) => block_on(replay::run(flags)),
        Command::Secret(flags) => block_on(secret::run(flags)),
        Command::Events(flags) => block_on(events::run(flags)),
        Command::Hooks(flags) => block_on(hooks::run(flags)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            // What only sets the exit code has said all it has to say.
            if !message.is_empty() {
                eprintln!("switchhook: {message}");
            }
            ExitCode::from(code)
        }
    }
}

/// Runs a command that is no server.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?
        .block_on(command)
}

/// Waits for Ctrl-C or SIGTERM, which are noticed from this call on.
fn interrupted() -> impl Future<Output = ()> {
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
fn confirmed(question: &str, yes: bool) -> Result<(), Failure> {
    use std::io::IsTerminal;
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(format!("{question} Nobody is there to answer: give --yes.")));
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
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// How long ago a time was, for people.
fn ago(time: &str) -> String {
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

/// A text from outside as a terminal may have it: control characters escaped.
fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// A text cut to `width` characters, its middle left out: the ends of names tell them apart.
fn shorten(text: &str, width: usize) -> String {
    let text = &plain(text);
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width / 2).collect();
    let tail: String = text.chars().skip(length - (width - width / 2 - 1)).collect();
    format!("{head}…{tail}")
}
