//! Questions of lists and timelines. Each takes the scope it is asked within.

mod event;
mod letters;
mod timeline;
mod unrouted;
mod usage;

pub use self::event::story;
pub use self::letters::{LetterFilter, ReplayPlan, page as letters, plan as plan_replay};
pub use self::timeline::{CallFilter, of_call as timeline, page as calls};
pub use self::unrouted::{Reroute, UnroutedFilter, group_stories as unrouted, plan as plan_reroute};
pub use self::usage::{UsageFilter, page as usage};
pub use super::sessions::numbers::ChangeFilter;
