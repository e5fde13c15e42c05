//! What was asked for over the API, for those who must know who did what.

use std::sync::Arc;

use crate::time::UnixMillis;

/// One record of the audit log; it holds no secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRecord {
    /// When.
    pub at: UnixMillis,
    /// `operator`, or the tenant's name.
    pub actor: String,
    /// The id (`jti`) of the token.
    pub token: Option<String>,
    /// The address the request came from.
    pub from: Option<String>,
    /// The tenant whose thing it is.
    pub tenant: Option<String>,
    /// What was asked for: `hook.put` …
    pub action: String,
    /// What it was asked for: a host, an id …
    pub target: String,
    /// JSON, with secrets redacted; so is `after`.
    pub before: Option<String>,
    /// What it is from here on.
    pub after: Option<String>,
    /// `done`, or `refused: ` and why.
    pub outcome: String,
}

/// A record with its place in the log. Handed out before the commit, so that a commit of unknown outcome can be
/// repeated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub id: i64,
    pub record: Arc<AuditRecord>,
}
