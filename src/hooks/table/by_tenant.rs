//! Hooks sorted by tenant, in chunks: a copy shares them, and a change copies one. Eight bytes a hook.

use std::sync::Arc;

use crate::hooks::hook::{Hook, Tenant};

/// Hooks in one chunk, about; a tenant's are never divided.
const CHUNK: usize = 128;

/// Hooks sorted by tenant; those of a tenant in the order they were given or added.
#[derive(Clone, Debug, Default)]
pub struct ByTenant {
    /// None is empty, and no tenant is in two of them.
    chunks: Vec<Arc<Vec<Arc<Hook>>>>,
}

impl ByTenant {
    /// Sorts hooks; a tenant's keep their order.
    pub fn new(mut hooks: Vec<Arc<Hook>>) -> Self {
        hooks.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        let mut chunks = Vec::with_capacity(hooks.len() / CHUNK + 1);
        let mut rest = &hooks[..];
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(end_of_chunk(rest));
            chunks.push(Arc::new(chunk.to_vec()));
            rest = behind;
        }
        Self { chunks }
    }

    /// A tenant's hooks.
    pub fn of(&self, tenant: &Tenant) -> &[Arc<Hook>] {
        let Some(chunk) = self.place(tenant).map(|at| &self.chunks[at]) else { return &[] };
        let first = chunk.partition_point(|hook| hook.tenant < *tenant);
        let count = chunk[first..].partition_point(|hook| hook.tenant == *tenant);
        &chunk[first..first + count]
    }

    /// Adds a hook behind its tenant's others, or in the place of the one with its id.
    pub fn insert(&mut self, hook: Arc<Hook>) {
        if self.replace(&hook) {
            return;
        }
        let Some(at) = self.place(&hook.tenant).or((!self.chunks.is_empty()).then_some(0)) else {
            self.chunks.push(Arc::new(vec![hook]));
            return;
        };
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let behind = chunk.partition_point(|other| other.tenant <= hook.tenant);
        chunk.insert(behind, hook);
        let end = end_of_chunk(chunk);
        if chunk.len() > 2 * CHUNK && end < chunk.len() {
            let rest = chunk.split_off(end);
            self.chunks.insert(at + 1, Arc::new(rest));
        }
    }

    /// Replaces the hook of the same id and tenant; false if there is none.
    pub fn replace(&mut self, hook: &Arc<Hook>) -> bool {
        let Some((chunk, at)) = self.find(hook) else { return false };
        Arc::make_mut(&mut self.chunks[chunk])[at] = Arc::clone(hook);
        true
    }

    /// Removes a hook.
    pub fn remove(&mut self, hook: &Hook) {
        let Some((chunk, at)) = self.find(hook) else { return };
        let hooks = Arc::make_mut(&mut self.chunks[chunk]);
        hooks.remove(at);
        if hooks.is_empty() {
            self.chunks.remove(chunk);
        }
    }

    /// The chunk and the place in it of the hook with this one's id and tenant.
    fn find(&self, hook: &Hook) -> Option<(usize, usize)> {
        let chunk = self.place(&hook.tenant)?;
        let at =
            self.chunks[chunk].iter().position(|other| other.id == hook.id && other.tenant == hook.tenant)?;
        Some((chunk, at))
    }

    /// The chunk that a tenant's hooks are in, if they are in any.
    fn place(&self, tenant: &Tenant) -> Option<usize> {
        let behind = |chunk: &Arc<Vec<Arc<Hook>>>| chunk.first().is_some_and(|hook| hook.tenant <= *tenant);
        self.chunks.partition_point(behind).checked_sub(1)
    }
}

/// Where the first chunk of these ends: about [`CHUNK`] hooks, and the whole of the last one's tenant.
fn end_of_chunk(hooks: &[Arc<Hook>]) -> usize {
    let Some(last) = hooks.get(CHUNK - 1) else { return hooks.len() };
    CHUNK + hooks[CHUNK..].partition_point(|hook| hook.tenant == last.tenant)
}
