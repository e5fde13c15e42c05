//! What operators see: log, metrics, health.

mod health;
pub mod logging;
mod metrics;
mod seldom;
mod traffic;

pub use health::{Degradation, Health};
pub use metrics::{Metrics, TenantBacklog};
pub use seldom::Seldom;
pub use traffic::{TENANTS, TenantTraffic};
