//! Questions of lists and timelines.

mod event;
mod letters;
mod timeline;
mod unrouted;

pub use self::event::{EventStory, story};
pub use self::letters::{LetterFilter, ReplayPlan, page as letters, plan as plan_replay};
pub use self::timeline::{CallFilter, CallStory, Timeline, of_call as timeline, page as calls};
pub use self::unrouted::{
    GroupStory, Reroute, UnroutedFilter, group_stories as unrouted, plan as plan_reroute,
};
