//! The hook table: which tenant receives which calls' events, and at which URL.

mod hook;
mod settings;
mod spec;
mod table;

pub use hook::{Entry, Hook, HostPattern, Number, Signing, Tenant, loggable};
pub use settings::{Format, KeyPair, Retry, Settings};
pub use spec::{Around, Looked, Source, parse};
pub use table::{HookTable, Numbered, View};
