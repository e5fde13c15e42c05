//! `switchhook hooks …`.

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{say, say_json};
use crate::wire::Resumed;

/// Changes a running router's hooks.
#[derive(clap::Args)]
pub struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// End a pause: all that waits is delivered, in order
    Resume {
        /// The hook's host
        host: String,
        /// One JSON object instead
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        router: Router,
    },
}

/// Carries out one change.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Command::Resume { host, json, router } = flags.command;
    let answer: Resumed = router.post(&["v1", "hooks", &host, "resume"]).answer().await?;
    if json {
        say_json(&answer);
    } else if answer.resumed {
        say(format_args!("{host} is resumed: what waited is being delivered"));
    } else {
        say(format_args!("{host} was not paused"));
    }
    Ok(())
}
