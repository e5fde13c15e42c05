//! What can be asked of a hook table, and what comes of it.

use std::fmt;
use std::sync::Arc;

use crate::hooks::{Around, Hook, HookTable, HostPattern, Tenant};
use crate::ids::HookId;
use crate::registry::kept::KeptHook;
use crate::registry::pauses::Pauses;
use crate::registry::records::{HookChange, HookRow};
use crate::time::UnixMillis;
use crate::yaml::TextFault;

/// An edit of the hook table.
#[derive(Clone)]
pub enum EditRequest {
    /// A hook of the API is to be this. `spec`: the keys of the hooks file, without the host. `now`: its calls in
    /// progress go to its new URL.
    Put {
        host: HostPattern,
        spec: serde_json::Value,
        now: bool,
        precondition: Precondition,
    },
    /// A hook of the API is to go. `now`: its calls in progress belong to nobody from then on.
    Delete {
        host: HostPattern,
        now: bool,
        precondition: Precondition,
    },
    /// A tenant's derived secret is to be renewed.
    Rotate(Whose),
    /// A tenant's stored data is to be erased, and its derived secret renewed.
    Erase(Tenant),
    Pause {
        host: HostPattern,
    },
    Resume {
        host: HostPattern,
    },
}

impl EditRequest {
    /// Its name in the log and in the audit log.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Put { .. } => "hook.put",
            Self::Delete { .. } => "hook.delete",
            Self::Rotate(Whose::Host(_)) => "hook.rotate",
            Self::Rotate(Whose::Tenant(_)) => "secret.rotate",
            Self::Erase(_) => "tenant.erase",
            Self::Pause { .. } => "hook.pause",
            Self::Resume { .. } => "hook.resume",
        }
    }

    /// The host it concerns, if it concerns one.
    pub fn host(&self) -> Option<&HostPattern> {
        match self {
            Self::Put { host, .. }
            | Self::Delete { host, .. }
            | Self::Rotate(Whose::Host(host))
            | Self::Pause { host }
            | Self::Resume { host } => Some(host),
            Self::Rotate(Whose::Tenant(_)) | Self::Erase(_) => None,
        }
    }

    /// The tenant it is about, where no hook says that.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Erase(tenant) => Some(tenant),
            Self::Put { .. }
            | Self::Delete { .. }
            | Self::Rotate(_)
            | Self::Pause { .. }
            | Self::Resume { .. } => None,
        }
    }

    /// What it is about, in the audit log: a host, or a tenant.
    pub fn target(&self) -> String {
        match self {
            Self::Rotate(Whose::Tenant(tenant)) | Self::Erase(tenant) => tenant.to_string(),
            _ => self.host().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for EditRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No more than that: a specification may hold secrets.
        write!(f, "{}({})", self.action(), self.target())
    }
}

/// A tenant, or the tenant of a hook.
#[derive(Clone, Debug)]
pub enum Whose {
    Host(HostPattern),
    Tenant(Tenant),
}

/// Which version of a hook the caller has seen (RFC 9110 §13.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Precondition {
    #[default]
    None,
    /// `If-None-Match: *`: there is to be none.
    Absent,
    /// `If-Match: *`: there is to be one.
    Present,
    /// `If-Match` with entity tags.
    OneOf(Vec<Etag>),
}

impl Precondition {
    /// Compares it with what is there. A hook that cannot be read is shown to nobody: to [`Self::Absent`] there is none.
    pub(super) fn check(&self, current: Option<Etag>, is_readable: bool) -> Result<(), EditRefusal> {
        let holds = match self {
            Self::None => true,
            Self::Absent => current.is_none() || !is_readable,
            Self::Present => current.is_some(),
            Self::OneOf(tags) => current.is_some_and(|current| tags.contains(&current)),
        };
        if holds { Ok(()) } else { Err(EditRefusal::Stale { current }) }
    }
}

/// One version of one hook: another hook of the same host never has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Etag {
    pub id: HookId,
    pub version: i64,
}

impl Etag {
    /// That of a hook.
    pub fn of(hook: &Hook) -> Self {
        Self { id: hook.id, version: hook.origin.version }
    }

    /// Reads what [`fmt::Display`] writes, without quotes.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, version) = text.split_once('-')?;
        Some(Self { id: HookId(id.parse().ok()?), version: version.parse().ok()? })
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id.0, self.version)
    }
}

/// Why an edit is refused. What belongs to others is not told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EditRefusal {
    /// There is no such hook, or it is another tenant's.
    NotFound,
    /// The host belongs to the hooks file.
    OfFile,
    /// Another hook has it. Told only of what the token covers.
    Taken { field: &'static str, value: String },
    /// The token does not permit it, whatever is there.
    NotCovered { field: &'static str, value: String },
    /// The operator's limits: `hooks`, or `concurrency` of all hooks of the tenant.
    OverLimit { limit: &'static str, most: usize },
    /// Another version is in force; none: there is no hook.
    Stale { current: Option<Etag> },
    /// The hooks file pauses it.
    PausedByFile,
    /// The secret before the last renewal still signs.
    RenewedAlready,
    /// More secrets than may would sign for a hook, with those that it had in the last 24 h.
    ManySecrets,
    /// Its secret was given, not derived.
    GivenSecret,
    /// The specification is faulty; all of its faults. Their places say nothing.
    Faults(Vec<TextFault>),
}

/// What an edit is planned from.
pub struct EditGround<'a> {
    /// The table in force.
    pub table: &'a HookTable,
    pub pauses: &'a Pauses,
    /// What is stored of the edit's host and not removed.
    pub rows: Vec<HookRow>,
    /// Whether one of those has calls in progress.
    pub calling: bool,
    /// What the hooks file is read against.
    pub around: &'a Around<'a>,
    pub now: UnixMillis,
}

/// What an edit changes.
pub struct TableEdit {
    /// The table from here on.
    pub table: HookTable,
    /// What the store has to learn, in order.
    pub changes: Vec<HookChange>,
    /// Where calls in progress go instead. The writer reads through all calls for each.
    pub moves: Vec<HookChange>,
    /// Whether there are calls to be moved before the table is in force.
    pub has_calls: bool,
    /// The tenant whose derived secret is renewed, and the number of the new one.
    pub rotated: Option<(Tenant, i64)>,
    /// The tenant whose stored data is to be erased.
    pub erased: Option<Tenant>,
    /// Hooks that are paused by it, and that go on.
    pub paused: Vec<HookId>,
    pub resumed: Vec<HookId>,
    /// Hooks whose lanes have other settings now.
    pub lanes: Vec<HookId>,
    pub edited: Edited,
}

impl TableEdit {
    /// An edit that changes nothing.
    pub(super) fn new(table: HookTable, has_calls: bool) -> Self {
        Self {
            table,
            has_calls,
            changes: Vec::new(),
            moves: Vec::new(),
            rotated: None,
            erased: None,
            paused: Vec::new(),
            resumed: Vec::new(),
            lanes: Vec::new(),
            edited: Edited::default(),
        }
    }

    /// Whether there is anything to store.
    pub fn is_change(&self) -> bool {
        let lists =
            [self.changes.is_empty(), self.moves.is_empty(), self.paused.is_empty(), self.resumed.is_empty()];
        lists.contains(&false) || self.rotated.is_some()
    }
}

/// What an edit came to.
#[derive(Clone, Debug, Default)]
pub struct Edited {
    /// The hook before; none: there was none, or it cannot be read.
    pub before: Option<Arc<Hook>>,
    /// The hook from here on; none: it is gone.
    pub after: Option<Arc<Hook>>,
    /// Whether anything changed.
    pub is_change: bool,
    /// Whether the host had no hook before.
    pub is_new: bool,
    /// Its derived secret is new: to be shown, this once.
    pub shows_secret: bool,
    /// What differs, by the keys of the hooks file.
    pub parts: Vec<&'static str>,
}

/// A stored hook of the API; `kept` is none if it cannot be read.
pub(super) struct Found<'r> {
    pub row: &'r HookRow,
    pub kept: Option<KeptHook>,
}

impl Found<'_> {
    pub fn etag(&self) -> Etag {
        Etag { id: self.row.id, version: self.row.origin.version }
    }
}
