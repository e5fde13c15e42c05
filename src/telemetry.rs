//! What operators see: log, metrics, health.

mod by_tenant;
mod health;
pub mod logging;
mod metrics;
mod seldom;

pub use by_tenant::ByTenant;
pub use health::{Degradation, Health};
pub use metrics::{Metrics, TenantBacklog};
pub use seldom::Seldom;
