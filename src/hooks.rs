//! The hook table: who wants which calls' events, and where.

mod hook;
mod spec;
mod table;

pub use hook::{Entry, Hook, HostPattern, Tenant};
pub use spec::parse;
pub use table::HookTable;
