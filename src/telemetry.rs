//! What operators see: log, metrics, health.

mod health;
pub mod logging;
mod metrics;
mod seldom;

pub use health::{Degradation, Health};
pub use metrics::{Metrics, TENANTS, TenantBacklog};
pub use seldom::Seldom;
