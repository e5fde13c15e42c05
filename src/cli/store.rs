//! `switchhook store …`: backups, checks and repairs of the database. They need no router: they work on its files.

mod backup;
mod check;
mod data;
mod progress;
mod recover;
mod restore;
mod words;

use super::failure::Failure;
use crate::background;

/// Backs up, checks, restores and repairs the router's database.
#[derive(clap::Args)]
pub struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Copy the database into a file, also while the router runs
    Backup(backup::Flags),
    /// Look for damage, also while the router runs
    Check(check::Flags),
    /// Make a new database of all that can be read of a stopped router's damaged one
    Recover(recover::Flags),
    /// Put a backup in the place of a stopped router's database
    Restore(restore::Flags),
}

/// Runs a command on the database.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    // What is written holds events' bodies: it is the owner's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if matches!(flags.command, Command::Backup(_) | Command::Check(_)) {
        // A router beside goes first.
        background::step_back();
    }
    match &flags.command {
        Command::Backup(flags) => backup::run(flags),
        Command::Check(flags) => check::run(flags),
        Command::Recover(flags) => recover::run(flags),
        Command::Restore(flags) => restore::run(flags),
    }
}
