//! Who may see and change what. Only the verification of a token makes a [`Scope`]; whatever reads or changes
//! what belongs to tenants takes one.

mod revocations;
mod scope;
mod secret;
mod tokens;

pub use self::revocations::Revocations;
pub use self::scope::{Grant, Scope};
pub use self::secret::check_secret;
pub use self::tokens::{Bearer, Claims, LONGEST_VALIDITY, Refused, TokenIdentity, Tokens};
