//! What the API and the commands say to each other: requests and answers as plain types. The outbox's views fill
//! them, the API answers with them, the commands read them, and `/openapi.json` describes them.
//!
//! Times are RFC 3339 in UTC with milliseconds; durations that end in `_ms` are milliseconds. What does not apply
//! is null. Fields are only ever added: who reads them ignores those it does not know.

mod audit;
mod calls;
mod deliveries;
mod health;
mod hooks;
mod limit;
mod problem;
mod states;
mod stories;
mod tenants;
mod trials;
mod unrouted;

pub use self::audit::{AuditEntry, AuditList, AuditQuery};
pub use self::calls::{CallList, CallQuery, CallStory, DomainChange, Timeline};
pub use self::deliveries::{LetterList, LetterQuery, ReplayAnswer, ReplayRequest};
pub use self::health::{Alive, Readiness, ReadinessStatus};
pub use self::hooks::{
    EventNames, HiddenText, HookAnswer, HookEdit, HookLayer, HookList, HookQuery, HookSpec, KeySpec,
    RetrySpec, SecretSource,
};
pub use self::limit::Limit;
pub use self::problem::{FieldFault, ProblemDetails, ProblemKind};
pub use self::states::{HookState, HookStateList, LaneState, LastAnswer, TenantState, TenantStateList};
pub use self::stories::{AttemptStory, EventState, EventStory, PauseCause};
pub use self::tenants::{Resumed, Revoked, TenantSecrets};
pub use self::trials::{SampleKind, TestAnswer, TestRequest, TrialEvent};
pub use self::unrouted::{GroupStory, UnroutedList, UnroutedQuery};
