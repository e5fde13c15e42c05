//! Bodies of delivered events that stay, because their hook has `keep`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub _counted: SealedBytes,
}

/// Counts the bytes of sealed bodies that wait for the store, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct SealedRoom(Arc<Mutex<SealedCounts>>);

/// Only tenants of which something waits have an entry.
#[derive(Debug, Default)]
struct SealedCounts {
    all: usize,
    tenants: HashMap<Tenant, usize>,
}

impl SealedRoom {
    /// Beyond this, no further body is kept.
    const ALL: usize = 16 << 20;

    /// Beyond this, none of this tenant.
    const TENANT: usize = Self::ALL / 4;

    /// Whether there is room for another body of this tenant.
    pub fn has_room(&self, tenant: &Tenant) -> bool {
        let counts = self.counts();
        let of_tenant = counts.tenants.get(tenant).copied().unwrap_or_default();
        counts.all < Self::ALL && of_tenant < Self::TENANT
    }

    /// Counts `bytes` for as long as the result lives.
    pub fn count(&self, tenant: &Tenant, bytes: usize) -> SealedBytes {
        let mut counts = self.counts();
        counts.all += bytes;
        *counts.tenants.entry(tenant.clone()).or_default() += bytes;
        SealedBytes { room: self.clone(), tenant: tenant.clone(), bytes }
    }

    fn counts(&self) -> MutexGuard<'_, SealedCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a sealed body that are counted until this is dropped.
#[derive(Debug)]
pub struct SealedBytes {
    room: SealedRoom,
    tenant: Tenant,
    bytes: usize,
}

impl Drop for SealedBytes {
    fn drop(&mut self) {
        let mut counts = self.room.counts();
        counts.all = counts.all.saturating_sub(self.bytes);
        if let Entry::Occupied(mut of_tenant) = counts.tenants.entry(self.tenant.clone()) {
            *of_tenant.get_mut() -= self.bytes.min(*of_tenant.get());
            if *of_tenant.get() == 0 {
                of_tenant.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_a_quarter_of_the_room_and_what_is_stored_leaves_no_trace() {
        let room = SealedRoom::default();
        let [acme, globex] = ["acme", "globex"].map(|name| Tenant::new(name).expect("a name"));
        let counted: Vec<_> = (0..4).map(|_| room.count(&acme, 1 << 20)).collect();
        assert_eq!([&acme, &globex].map(|tenant| room.has_room(tenant)), [false, true]);
        let others: Vec<_> =
            (0..12).map(|n| room.count(&Tenant::new(&n.to_string()).expect("a name"), 1 << 20)).collect();
        assert!(!room.has_room(&globex));
        drop(others);
        assert!(room.has_room(&globex));
        drop(counted);
        assert!(room.has_room(&acme));
        let counts = room.counts();
        assert_eq!((counts.all, counts.tenants.len()), (0, 0));
    }
}
