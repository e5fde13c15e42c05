//! Bodies of delivered events that stay, because their hook has `keep`.

use crate::delivery::Counted;
use crate::hooks::Tenant;
use crate::ids::HookId;
use crate::time::UnixMillis;

/// The body of a delivered event, sealed.
#[derive(Debug)]
pub struct KeptBody {
    /// The hook it was delivered to, and whose that is.
    pub hook: HookId,
    pub tenant: Tenant,
    /// When it was delivered.
    pub at: UnixMillis,
    /// It stays so long.
    pub until: UnixMillis,
    pub sealed: Vec<u8>,
    /// Counts the bytes until the store has them.
    pub _counted: Counted,
}
