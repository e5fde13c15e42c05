//! Questions of lists and timelines. Each takes the scope it is asked within.

mod calls;
mod deliveries;
mod event;
mod kept;
mod letters;
mod marked;
mod sessions;
mod timeline;
mod unrouted;
mod usage;
mod walk;

pub use self::calls::{CallFilter, page as calls};
pub use self::deliveries::{DeliveryFilter, page as deliveries};
pub use self::event::story;
pub use self::kept::{KeptFilter, plan as plan_resend};
pub use self::letters::{LetterFilter, ReplayPlan, plan as plan_replay};
pub use self::timeline::of_call as timeline;
pub use self::unrouted::{
    Counter, Reroute, UnroutedCount, UnroutedFilter, at_once as count_at_once, group_stories, is_much,
    plan as plan_reroute,
};
pub use self::usage::{UsageFilter, page as usage};
pub use super::sessions::numbers::ChangeFilter;
