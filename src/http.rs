//! What both doors share: problem details and health.

mod health;
mod problem;

pub use self::health::{Phase, Vitals, health_document, health_routes};
pub use self::problem::{Problem, wrong_method};
