//! The hooks as the store knows them: ids that outlive restarts, pauses, secrets, and what removed hooks
//! left. Pure: what the store has goes in, a plan of changes comes out.
//!
//! Hooks have two layers: the hooks file is the operators', and below it lies what the API wrote. A file is planned
//! as a whole ([`fn@plan`]), an edit of the API by itself ([`Registry`]).

mod claims;
mod difference;
mod edit;
mod kept;
mod listing;
mod pauses;
mod plan;
mod queries;
mod records;
mod seal;

pub use self::difference::{ChangedHook, Difference};
pub use self::edit::{EditGround, EditRefusal, EditRequest, Edited, Etag, Precondition, TableEdit, Whose};
pub use self::kept::{Generation, Vault, derived};
pub use self::listing::{HookCursor, HookFilter, HookPage, ListedHook};
pub use self::pauses::{Pause, PausedBy, Pauses};
pub use self::plan::{Plan, Registry, plan};
pub use self::queries::QuerySealer;
pub use self::records::{HookChange, HookRow, LATE, StoredHooks};
pub use self::seal::{BodySealer, Sealer, Seals};
