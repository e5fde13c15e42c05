//! The database is where the next start looks for it: its files are compared with those that are open, and written back
//! if they are gone; a start says so if there should be a database and there is none.

mod displaced;
mod found;
mod lost;
mod mark;
mod write_back;

pub use self::displaced::{OpenFiles, copy_log, empty_log, in_use, open_in_use};
pub use self::found::FoundDatabase;
pub use self::lost::{LostDatabase, lost};
pub use self::mark::{AT as MARK_AT, is_same as is_same_mark};
pub use self::write_back::InPlace;
#[cfg(test)]
pub use self::write_back::SET_ASIDE;
