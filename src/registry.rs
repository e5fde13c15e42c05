//! The hooks as the store knows them: ids that outlive restarts, pauses, secrets, and what removed hooks
//! left. Pure: what the store has goes in, a plan of changes comes out.

mod kept;
mod pauses;
mod plan;
mod seal;

pub use self::kept::{Generation, derived};
pub use self::pauses::{Pause, PausedBy, Pauses};
pub use self::plan::{Difference, HookChange, HookRow, LATE, Plan, StoredHooks, plan};
pub use self::seal::Sealer;
