//! `switchhook demo`.
use super::Failure;
/// Flags.
#[derive(clap::Args)]
pub struct Flags {}
/// Runs.
pub async fn run(_: Flags) -> Result<(), Failure> {
    Ok(())
}
