//! A tenant's data is erased in the background, in small parts: see `sqlite/sweep/erasure.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::background;
use crate::calls::{ErasePart, ErasePlace, EraseStep, ErasedRows, Order};
use crate::hooks::HookTable;
use crate::outbox::sqlite::erasure::{self, OwnDomains, StoredErasure};
use crate::outbox::{Outbox, StoreFault, sqlite};
use crate::time::UnixMillis;

/// Between two parts: a part delays the events of its transaction, and few events are to meet one. 500 000 events are
/// erased in about two minutes.
const PAUSE: Duration = Duration::from_millis(40);

/// So many parts are planned at once, and so often with what was read once of the tenant's hooks.
const PARTS: usize = 8;
const ROUNDS: usize = 8;

impl Outbox {
    /// Erases some of what is to be erased; whether there is more. Between two parts it rests.
    ///
    /// # Errors
    /// When the store is away or closed, or a file cannot be used.
    pub async fn erase(&self) -> Result<bool, StoreFault> {
        if self.reader.call(erasure::next).await?.is_none() {
            return Ok(false);
        }
        let mut own = None;
        for _ in 0..ROUNDS {
            let (directory, table, now) = (self.config.directory.clone(), self.table(), self.clock.unix());
            let planning = move || plan(&directory, table, own, now);
            let planned = background::run(planning).await.ok_or(StoreFault::Closed)??;
            let Some((domains, parts)) = planned else { return Ok(true) };
            own = Some(domains);
            if parts.is_empty() {
                return Ok(false);
            }
            for part in parts {
                self.erase_part(part).await?;
            }
        }
        Ok(true)
    }

    async fn erase_part(&self, part: ErasePart) -> Result<(), StoreFault> {
        let (began, is_empty) = (self.clock.now(), part.rows == ErasedRows::None);
        let part = Arc::new(part);
        self.request(Order::Erase(Arc::clone(&part))).await?;
        if part.to.step == EraseStep::Done {
            tracing::warn!(tenant = %part.tenant, "erased: what the store had of a tenant");
        } else if !is_empty {
            let busy = self.clock.now().since(began);
            self.clock.sleep(busy.max(PAUSE)).await;
        }
        Ok(())
    }
}

/// Plans the next parts of the oldest erasure, all of one step, since the next step looks at what this one leaves; no
/// part if nothing can be done yet. None: all erasures are done. `own`: what was read before of the domains of its tenant.
fn plan(
    directory: &Path,
    table: Arc<HookTable>,
    own: Option<OwnDomains>,
    now: UnixMillis,
) -> Result<Option<(OwnDomains, Vec<ErasePart>)>, StoreFault> {
    let planned = sqlite::read(directory, |store| {
        let Some(mut next) = erasure::next(store)? else { return Ok(None) };
        let own = match own {
            Some(own) if own.are_of(&next.tenant) => own,
            Some(_) | None => OwnDomains::read(store, &next.tenant, table)?,
        };
        let (step, mut parts) = (next.place.step, Vec::new());
        while parts.len() < PARTS
            && next.place.step == step
            && let Some(part) = erasure::plan(store, &next, &own, now)?
        {
            next.place = part.to.clone();
            parts.push(part);
        }
        Ok(Some((next, own, parts)))
    })?;
    let Some((next, own, mut parts)) = planned else { return Ok(None) };
    if parts.is_empty() && next.place.step == EraseStep::Files {
        parts.extend(finish(directory, &next, now)?);
    }
    Ok(Some((own, parts)))
}

/// Removes backups and empties the write-ahead log; none as long as somebody reads from it.
fn finish(directory: &Path, next: &StoredErasure, now: UnixMillis) -> Result<Option<ErasePart>, StoreFault> {
    let backups = sqlite::remove_backups(directory)?;
    let (from, to) = (next.place.clone(), ErasePlace::begin(EraseStep::Done));
    if !backups.is_empty() {
        tracing::warn!(tenant = %next.tenant, ?backups, "backups of older releases are removed: they held its data");
    }
    let is_empty = sqlite::empty_log(directory)?;
    let to = if is_empty { to } else { from.clone() };
    if !is_empty && backups.is_empty() {
        return Ok(None);
    }
    let (id, tenant, rows) = (next.id, next.tenant.clone(), ErasedRows::Files(backups));
    Ok(Some(ErasePart { id, tenant, from, to, rows, shared: Vec::new(), at: now }))
}
