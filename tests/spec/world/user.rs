//! An ordinary user: root may read and write everything, and would see no refusal.

use std::path::Path;
use std::process::Command;

/// The id of `nobody`.
const NOBODY: &str = "65534";

/// A program as an ordinary user starts it. It must lie where that user may reach it.
pub fn as_ordinary_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
    command
}
