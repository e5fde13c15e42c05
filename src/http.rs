//! What both doors share: problem details and health.

mod health;
mod peer;
mod problem;

pub use self::health::{Phase, Vitals, health_document, health_routes};
pub use self::peer::PeerAddress;
pub use self::problem::{Problem, wrong_method};
