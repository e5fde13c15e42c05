//! The hook table: which tenant receives which calls' events, and at which URL.

mod hook;
mod limits;
mod settings;
mod spec;
mod table;

pub use hook::{Entry, Hook, HostPattern, Layer, Number, Origin, Signing, Tenant, loggable};
pub use limits::Most;
pub use settings::{Format, KeyPair, Retry, Settings};
pub use spec::{
    Around, Looked, OPENED_TARGETS, PUBLIC_TARGETS, Source, Terms, parse, parse_file, read_entry,
};
pub use table::{HookTable, Numbered, SetAside, ShadowedClaim, UnreadableHook, View};
