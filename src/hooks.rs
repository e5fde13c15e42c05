//! The hook table: which tenant receives which calls' events, and at which URL.

mod hook;
mod limits;
mod settings;
mod spec;
mod table;
mod target;

pub use hook::{Entry, Hook, HostPattern, Layer, Number, Origin, Signing, Tenant};
pub use limits::Most;
pub use settings::{Format, KeyPair, Retry, Settings};
pub use spec::{
    Around, Looked, OPENED_TARGETS, PUBLIC_TARGETS, Source, Terms, parse, parse_file, read_entry,
};
pub use table::{HookTable, Numbered, SetAside, ShadowedClaim, UnreadableHook, View};
pub use target::{is_hidden, loggable, shown};
