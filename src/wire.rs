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
mod live;
mod problem;
mod stories;
mod tenants;
mod unrouted;
mod usage;

pub use self::audit::{AuditLine, AuditList, AuditQuery};
pub use self::calls::{CallList, CallQuery, CallStory, DomainChange, Timeline};
pub use self::deliveries::{
    DeliveryList, DeliveryQuery, DeliveryState, ReplayAnswer, ReplayRequest, ResendQuery, StatusFilter,
    parse_time,
};
pub use self::health::{Alive, Readiness, ReadinessStatus, StoreTrouble};
pub use self::hooks::{
    EventNames, HiddenText, HookAnswer, HookEdit, HookLayer, HookList, HookQuery, HookSpec, HookState,
    HookStateList, KeySpec, LaneState, LastAnswer, RetrySpec, SampleKind, SecretSource, TenantState,
    TenantStateList, TenantStateQuery, TestAnswer, TestRequest, TrialEvent,
};
pub use self::limit::Limit;
pub use self::live::{
    LiveAttempt, LiveEnd, LiveEvent, LiveKind, LiveLoss, LiveOutcome, LiveQuery, LiveRequest, Now, NowHour,
    NowQuery, NowRouter, NowSeries, NowTenant,
};
pub use self::problem::{FieldFault, ProblemDetails, ProblemKind};
pub use self::stories::{AttemptStory, EventState, EventStory, PauseCause};
pub use self::tenants::{ErasedCounts, Erasure, Revoked, SharedCall, Stays, TenantSecrets};
pub use self::unrouted::{
    ExplainRequest, ExplainedOutcome, Explanation, GroupStory, UnroutedList, UnroutedQuery,
};
pub use self::usage::{UsageCounts, UsageFormat, UsageLine, UsageList, UsageQuery};

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;
    use utoipa::openapi::{RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::*;

    /// The example of a type's description reads as that type, and leaves nothing out.
    fn is_exemplary<T: ToSchema + Serialize + DeserializeOwned>() {
        let RefOr::T(Schema::Object(object)) = <T as PartialSchema>::schema() else {
            panic!("{}", T::name())
        };
        let example = object.example.unwrap_or_else(|| panic!("{} has no example", T::name()));
        let read: T = serde_json::from_value(example.clone()).expect("an example");
        let written: Value = serde_json::to_value(read).expect("JSON");
        assert_eq!(written, example, "{}", T::name());
    }

    #[test]
    fn the_examples_of_the_description_are_what_they_describe() {
        is_exemplary::<EventStory>();
        is_exemplary::<CallStory>();
        is_exemplary::<GroupStory>();
        is_exemplary::<ExplainRequest>();
        is_exemplary::<Explanation>();
        is_exemplary::<ReplayRequest>();
        is_exemplary::<ReplayAnswer>();
        is_exemplary::<TenantSecrets>();
        is_exemplary::<HookSpec>();
        is_exemplary::<HookAnswer>();
        is_exemplary::<HookState>();
        is_exemplary::<TestAnswer>();
        is_exemplary::<AuditLine>();
        is_exemplary::<UsageLine>();
        is_exemplary::<LiveEvent>();
        is_exemplary::<LiveRequest>();
    }
}
