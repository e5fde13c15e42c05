//! `switchhook hooks …`: how the hooks are doing, and changes of them.

mod change;
mod list;
mod rotate;
mod set;
mod show;
mod states;
pub mod tenants;
mod trial;

use crate::cli::failure::Failure;

/// Lists hooks with their state, shows one, or changes it.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    /// The host of one hook, whose settings are shown; without: the list
    host: Option<String>,
    #[command(flatten)]
    list: list::Selection,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show one hook: its state and its settings
    Show(show::Flags),
    /// Register a hook, or change it; a new one's secret is the last line printed
    Set(Box<set::Flags>),
    /// Remove a hook, or all of a tenant's: new calls do not reach it
    Delete(change::DeleteFlags),
    /// Send test events to a hook and show its receiver's answers
    Test(trial::Flags),
    /// Pause a hook, or all of a tenant's: nothing is sent, everything waits, nothing ages
    Pause(change::Flags),
    /// End a pause: all that waits is delivered, in order
    Resume(change::Flags),
    /// Renew the derived secret of a hook's tenant; the new one is the last line printed
    Rotate(rotate::Flags),
}

/// Lists, shows or changes.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    match flags.command {
        Some(Command::Show(flags)) => show::run(&flags.router, &flags.host, flags.json).await,
        Some(Command::Set(flags)) => set::run(*flags).await,
        Some(Command::Delete(flags)) => change::delete(flags).await,
        Some(Command::Test(flags)) => trial::run(flags).await,
        Some(Command::Pause(flags)) => change::pause(flags).await,
        Some(Command::Resume(flags)) => change::resume(flags).await,
        Some(Command::Rotate(flags)) => rotate::run(flags).await,
        None => match flags.host {
            Some(host) => show::run(flags.list.router(), &host, flags.list.json()).await,
            None => list::run(flags.list).await,
        },
    }
}
