//! Backups, checks and repairs of the database, for commands beside a router or in its place.

mod backup;
mod check;
mod contents;
mod draft;
mod fault;
pub mod log;
mod owner;
mod place;
mod progress;
mod recover;
mod restore;

pub use self::backup::back_up;
pub use self::check::{CheckReport, DatabaseFinding, check};
pub use self::contents::Contents;
pub use self::fault::CareFault;
pub use self::owner::{NO_LINK, create_private, give_to_owner, make_directory};
pub use self::recover::{LostEvent, RecoveryReport, SavedTable, SettledRow, prepare_recovery};
pub use self::restore::{Erased, RestorePlan, RestoredRevocations, prepare_restore};
pub use super::files::{parts, path as database};

#[cfg(test)]
pub use self::check::count_altered;
#[cfg(test)]
mod tests;
