//! A tenant's data is erased in parts: planned by a reader, removed by the writer, with how far it came.

use crate::hooks::Tenant;
use crate::ids::DeliveryId;
use crate::time::UnixMillis;

/// What an erasure does, in this order; stored as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EraseStep {
    /// Rows that are yet to be copied or counted come first.
    Waiting = 0,
    Events = 1,
    /// What routing read of events, which is kept for longer than they are.
    Facts = 2,
    Calls = 3,
    Participants = 4,
    Numbers = 5,
    Audit = 6,
    /// Unused parts of the file's pages; and once more, since pages may change places meanwhile.
    Pages = 7,
    PagesAgain = 8,
    /// Backups, and the write-ahead log.
    Files = 9,
    Done = 10,
}

impl EraseStep {
    const ALL: [Self; 11] = [
        Self::Waiting,
        Self::Events,
        Self::Facts,
        Self::Calls,
        Self::Participants,
        Self::Numbers,
        Self::Audit,
        Self::Pages,
        Self::PagesAgain,
        Self::Files,
        Self::Done,
    ];

    /// The step that is stored as this number.
    pub fn numbered(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as i64 == number)
    }

    /// The one behind it.
    #[must_use]
    pub fn next(self) -> Self {
        Self::numbered(self as i64 + 1).unwrap_or(Self::Done)
    }

    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Events => "events",
            Self::Facts => "facts",
            Self::Calls => "calls",
            Self::Participants => "participants",
            Self::Numbers => "numbers",
            Self::Audit => "audit",
            Self::Pages | Self::PagesAgain => "pages",
            Self::Files => "files",
            Self::Done => "done",
        }
    }
}

/// How far an erasure has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasePlace {
    pub step: EraseStep,
    /// The key of the last row that was looked at in this step; empty: none yet.
    pub cursor: String,
}

impl ErasePlace {
    /// Where a step begins.
    pub const fn begin(step: EraseStep) -> Self {
        Self { step, cursor: String::new() }
    }
}

/// What is removed, or made bare, with one part.
#[derive(Clone, PartialEq, Debug)]
pub enum ErasedRows {
    None,
    /// With all that is found by them: bodies, attempts.
    Events(Vec<DeliveryId>),
    /// Facts, by number.
    Facts(Vec<i64>),
    Calls {
        /// By key.
        gone: Vec<String>,
        /// Those that are live, or another tenant's too: only what routing needs stays.
        bare: Vec<String>,
    },
    Participants {
        /// By call and sid.
        gone: Vec<(String, String)>,
        /// Those of live calls, which stay without their domain.
        bare: Vec<(String, String)>,
    },
    Numbers {
        gone: Vec<String>,
        /// Those that were the tenant's before, and another's now.
        moved: Vec<String>,
    },
    /// Records of the audit log that lose their details, by id.
    Records(Vec<i64>),
    /// Pages of the file whose unused parts are cleared, by number.
    Pages(Vec<i64>),
    /// Files that were removed, by name.
    Files(Vec<String>),
}

/// One part of an erasure: one transaction of the writer.
#[derive(Clone, PartialEq, Debug)]
pub struct ErasePart {
    /// The erasure's row.
    pub id: i64,
    pub tenant: Tenant,
    /// Not carried out if the erasure has come to another place meanwhile.
    pub from: ErasePlace,
    pub to: ErasePlace,
    pub rows: ErasedRows,
    /// Calls in which other tenants' events stay: the call and the tenant, once for each event.
    pub shared: Vec<(String, String)>,
    pub at: UnixMillis,
}

impl ErasePart {
    /// Sessions that memory must read again.
    pub fn sessions(&self) -> Vec<&str> {
        match &self.rows {
            ErasedRows::Calls { gone, bare } => gone.iter().chain(bare).map(String::as_str).collect(),
            ErasedRows::Participants { gone, bare } => {
                gone.iter().chain(bare).map(|(call, _)| call.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Called numbers that memory must forget.
    pub fn numbers(&self) -> Vec<&str> {
        match &self.rows {
            ErasedRows::Numbers { gone, moved } => gone.iter().chain(moved).map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}
