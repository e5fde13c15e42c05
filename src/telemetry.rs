//! What operators see: log, metrics, health.

mod damage;
mod health;
mod hour;
mod live;
pub mod logging;
mod metrics;
mod seldom;
mod store_fault;
mod traffic;
mod unreadable;

pub use health::{Degradation, Health};
pub use hour::{
    LastHour, Ring, RouterSlot, SLOTS, STEP, Slot, Spread, Spreads, WaitingFigures, begin_of, slot_of,
};
pub use live::{NoSeat, OF_ONE, READERS, StreamReader, Told, Wanted};
pub use metrics::{Metrics, TenantBacklog};
pub use seldom::Seldom;
pub use store_fault::FaultKind;
pub use traffic::{TENANTS, TenantTraffic};
pub use unreadable::fix as fix_of_reads;
