//! What both doors share: problem details, health, and what is known of a request's connection.

mod crowd;
mod health;
mod meter;
mod peer;
mod problem;
mod visitors;

pub use self::crowd::Voucher;
pub use self::health::{Phase, Vitals, health_alone, health_document, health_routes};
pub use self::meter::{Allowance, Meter};
pub use self::peer::PeerAddress;
pub use self::problem::{Problem, wrong_method};
pub use self::visitors::{Activity, Doing, Visitor, Visitors};
