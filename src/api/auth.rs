//! The API secret, and the bearer JWTs signed with it.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::signature;
use crate::time::UnixMillis;

const AUDIENCE: &str = "switchhook";

/// How long an operator's token of the data directory is valid; each start makes a new one.
const OPERATOR_VALIDITY: i64 = 365 * 24 * 3600;

/// The claims of an API token.
#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    exp: i64,
    jti: String,
    scope: Option<String>,
}

/// The secret API tokens are signed with.
pub struct ApiSecret(Zeroizing<String>);

impl ApiSecret {
    /// Takes the secret's text.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// A token that may do everything.
    pub fn operator_token(&self, now: UnixMillis) -> String {
        let claims = Claims {
            aud: AUDIENCE.into(),
            exp: now.seconds() + OPERATOR_VALIDITY,
            jti: signature::random_secret().chars().filter(char::is_ascii_alphanumeric).take(16).collect(),
            scope: Some("admin".into()),
        };
        signature::sign_jwt(&claims, self.0.as_bytes())
    }

    /// Whether `token` is an operator's.
    pub fn admits(&self, token: &str, now: UnixMillis) -> bool {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        // Time is checked against our own clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let key = DecodingKey::from_secret(self.0.as_bytes());
        decode::<Claims>(token, &key, &validation).is_ok_and(|data| {
            data.claims.exp > now.seconds() && data.claims.scope.as_deref() == Some("admin")
        })
    }
}
