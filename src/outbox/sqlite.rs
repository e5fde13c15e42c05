//! The embedded store: one SQLite database in the data directory. All SQL is in this folder.
//!
//! One connection writes, with its own thread; a second one reads for look-ups that must not wait; long looks
//! open one of their own.

mod audit;
mod digest;
mod events;
mod hooks;
mod load;
mod pending;
mod reader;
mod schema;
mod sessions;
mod store;
mod sweep;
pub mod views;

pub use self::audit::{last_id as last_audit_id, page as audit_page, revocations};
pub use self::digest::usage::busiest;
pub use self::digest::{digested, facts, plan as plan_digest};
pub use self::hooks::{
    generation, live_calls, of_host as hooks_of_host, pauses, registered, rows as hook_rows,
    stored as stored_hooks,
};
pub use self::load::load;
pub use self::pending::{
    Complete, InheritedPage, PendingDelivery, Snapshot, counts, last_id, overdue, pending_delivery, received,
    recover,
};
pub use self::reader::Reader;
pub use self::schema::care;
pub use self::schema::{
    Found, FoundDatabase, HistoryPlan, LostDatabase, Opening, ReadStore, Store, backups, begin_to_read,
    empty_log, end_to_read, explained, has_store, lost, open_foreign, open_reader, path as database,
    plan_history, read, read_foreign, remove_backups,
};
pub use self::sessions::numbers::changes as domain_changes;
pub use self::store::Sqlite;
pub use self::sweep::kept::plan as plan_kept;
pub use self::sweep::letters::plan as plan_letters;
pub use self::sweep::{Retention, erasure, plan as plan_sweep};
