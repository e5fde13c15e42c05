//! A tenant's secrets and tokens, and the erasure of its data.

mod erasure;

pub use self::erasure::{ErasedCounts, Erasure, SharedCall, Stays};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hooks::HiddenText;

/// What signs a tenant's deliveries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "tenant": "acme", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "until": [null]
}))]
pub struct TenantSecrets {
    /// The tenant.
    #[schema(example = "acme")]
    pub tenant: String,
    /// `whsec_` and base64 (Standard Webhooks 1.0), the current one first; all of them sign.
    pub secrets: Vec<HiddenText>,
    /// Until when each signs; null: it is the current one.
    #[schema(value_type = Vec<Option<String>>)]
    pub until: Vec<Option<String>>,
}

/// Tokens that are refused from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    /// All of this tenant's that were issued before `at`.
    pub tenant: Option<String>,
    /// The one with this `jti`.
    pub jti: Option<String>,
    /// Since when they are refused.
    #[schema(format = DateTime)]
    pub at: String,
}
