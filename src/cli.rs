//! The command line: one file per command. Commands about a running router speak to its API.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "terminal::say and aside escape what steers a terminal"
)]

mod check;
mod doctor;
mod explain;
mod failure;
mod remote;
mod serve;
mod store;
mod terminal;
mod token;
mod trial;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

use self::failure::Failure;
use self::remote::hooks::tenants;
use self::remote::{audit, calls, deliveries, events, health, hooks, replay, secret, unrouted, usage};
use self::trial::{demo, listen, send};
use crate::config::Flags;
use crate::visible;

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
    /// Say what would keep calls from their tenants: LiveKit's trunks and rules, hooks, router, clock
    Doctor(Box<doctor::Flags>),
    /// See it work: an example LiveKit, three tenants, a failing receiver and a kill -9
    Demo(demo::Flags),
    /// Post events as LiveKit does: recorded calls, or one event
    Send(send::Flags),
    /// Receive as a tenant does, or from a running router: verify, print and, if you like, pass on
    Listen(listen::Flags),
    /// List deliveries, the newest first, or print the story of one
    Deliveries(deliveries::Flags),
    /// List what had nowhere to go, by reason and domain, and how to mend it
    Unrouted(unrouted::Flags),
    /// List calls, or tell one event by event
    Calls(calls::Flags),
    /// Send again what was given up or delivered, or route again what had nowhere to go
    Replay(replay::Flags),
    /// Make an API token, a tenant's or an operator's, or revoke one
    Token(Box<token::Flags>),
    /// Print a tenant's signing secret, or renew it
    Secret(secret::Flags),
    /// Tell an event's whole story
    Events(events::Flags),
    /// List hooks with their state, show one, or register, test, pause, resume, delete it
    Hooks(Box<hooks::Flags>),
    /// List tenants: which is down, paused or backed up
    Tenants(tenants::Flags),
    /// List who changed what
    Audit(audit::Flags),
    /// Sum what each tenant used, day by day: events, deliveries, attempts, bytes; CSV for billing
    Usage(usage::Flags),
    /// Ask a router whether it acknowledges events: exit code 0 or 1, for health checks
    Health(health::Flags),
    /// Back up, check, restore or repair the router's database
    Store(store::Flags),
    /// Print the description of the API (OpenAPI), as /openapi.json serves it
    Openapi,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| misused(error));
    let outcome = match cli.command.unwrap_or_else(|| Command::Serve(Box::new(cli.serve))) {
        Command::Serve(flags) => serve::run(&flags),
        Command::Check(flags) => check::run(&flags),
        Command::Explain(flags) => explain::run(&flags),
        Command::Doctor(flags) => block_on(doctor::run(*flags)),
        Command::Demo(flags) => block_on(demo::run(flags)),
        Command::Send(flags) => block_on(send::run(flags)),
        Command::Listen(flags) => block_on(listen::run(flags)),
        Command::Deliveries(flags) => block_on(deliveries::run(flags)),
        Command::Unrouted(flags) => block_on(unrouted::run(flags)),
        Command::Calls(flags) => block_on(calls::run(flags)),
        Command::Replay(flags) => block_on(replay::run(flags)),
        Command::Token(flags) => token(*flags),
        Command::Secret(flags) => block_on(secret::run(flags)),
        Command::Events(flags) => block_on(events::run(flags)),
        Command::Hooks(flags) => block_on(hooks::run(*flags)),
        Command::Tenants(flags) => block_on(tenants::run(flags)),
        Command::Audit(flags) => block_on(audit::run(flags)),
        Command::Usage(flags) => block_on(usage::run(flags)),
        Command::Health(flags) => block_on(health::run(flags)),
        Command::Store(flags) => store::run(&flags),
        Command::Openapi => {
            terminal::say(crate::api::document());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            // A silent failure has printed everything already.
            if !message.is_empty() {
                terminal::aside(format_args!("switchhook: {message}"));
            }
            ExitCode::from(code)
        }
    }
}

/// Shows the help that was asked for, or what is wrong with the arguments, which it quotes.
fn misused(mut error: clap::Error) -> ! {
    let quoted = |(kind, value): (ContextKind, &ContextValue)| match value {
        ContextValue::String(text) => Some((kind, ContextValue::String(visible::plain(text)))),
        _ => None,
    };
    let quoted: Vec<_> = error.context().filter_map(quoted).collect();
    for (kind, plain) in quoted {
        error.insert(kind, plain);
    }
    error.exit()
}

/// Tokens are made without a router, and revoked by one.
fn token(flags: token::Flags) -> Result<(), Failure> {
    match flags.command {
        Some(token::Command::Revoke(flags)) => block_on(token::revoke::run(flags)),
        None => token::run(flags),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn no_two_flags_of_a_command_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
