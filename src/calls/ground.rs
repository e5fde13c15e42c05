//! What decisions depend on besides what is known of calls.

use crate::delivery::Fresh;
use crate::hooks::{HookTable, View};
use crate::route::Door;

/// What decisions depend on besides what is known of calls.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub table: &'a HookTable,
    /// Whether `sip.h.to` may stand in for `sip.h.x-to-ip`.
    pub to_fallback: bool,
    /// Counts bodies in memory.
    pub fresh: &'a Fresh,
}

impl<'a> Ground<'a> {
    /// The hooks that an event of this door may go to.
    pub fn hooks<'t>(&self, door: &'t Door) -> View<'t>
    where
        'a: 't,
    {
        door.tenant().map_or_else(|| self.table.all(), |tenant| self.table.of(tenant))
    }
}
