//! A tenant's data is erased in the background, in small parts: see `sqlite/sweep/erasure.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::sqlite::erasure::{self, OwnDomains, StoredErasure};
use super::{Outbox, StoreFault, sqlite};
use crate::background;
use crate::calls::{ErasePart, ErasePlace, EraseStep, ErasedRows, Order};
use crate::hooks::HookTable;
use crate::time::UnixMillis;

/// Between two parts: a part delays the events of its transaction, and few events are to meet one. 500 000 events are
/// erased in about two minutes.
const PAUSE: Duration = Duration::from_millis(40);

/// So many parts are planned with what was read once of the tenant's hooks.
const PARTS: usize = 64;

/// What comes next of an erasure.
enum Work {
    Part(Box<ErasePart>),
    /// Nothing can be done yet.
    Wait,
}

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
        for _ in 0..PARTS {
            let (directory, table, now) = (self.config.directory.clone(), self.table(), self.clock.unix());
            let planning = move || plan(&directory, table, own, now);
            let planned = background::run(planning).await.ok_or(StoreFault::Closed)??;
            let Some((domains, work)) = planned else { return Ok(true) };
            own = Some(domains);
            let Work::Part(part) = work else { return Ok(false) };
            let (began, is_empty) = (self.clock.now(), part.rows == ErasedRows::None);
            let part: Arc<ErasePart> = part.into();
            self.request(Order::Erase(Arc::clone(&part))).await?;
            if part.to.step == EraseStep::Done {
                tracing::warn!(tenant = %part.tenant, "erased: what the store had of a tenant");
                return Ok(true);
            }
            if !is_empty {
                let busy = self.clock.now().since(began);
                self.clock.sleep(busy.max(PAUSE)).await;
            }
        }
        Ok(true)
    }
}

/// Plans the next part of the oldest erasure; none if all are done, or it is another one's turn. `own`: what was read
/// before of the domains of its tenant.
fn plan(
    directory: &Path,
    table: Arc<HookTable>,
    own: Option<OwnDomains>,
    now: UnixMillis,
) -> Result<Option<(OwnDomains, Work)>, StoreFault> {
    let planned = sqlite::read(directory, |store| {
        let Some(next) = erasure::next(store)? else { return Ok(None) };
        let own = match own {
            Some(own) if own.are_of(&next.tenant) => own,
            Some(_) | None => OwnDomains::read(store, &next.tenant, table)?,
        };
        let part = erasure::plan(store, &next, &own, now)?;
        Ok(Some((next, own, part)))
    })?;
    let Some((next, own, part)) = planned else { return Ok(None) };
    let work = match part {
        Some(part) => Work::Part(part.into()),
        None if next.place.step == EraseStep::Files => finish(directory, &next, now)?,
        None => Work::Wait,
    };
    Ok(Some((own, work)))
}

/// Removes backups and empties the write-ahead log, once nobody reads from it.
fn finish(directory: &Path, next: &StoredErasure, now: UnixMillis) -> Result<Work, StoreFault> {
    let backups = sqlite::remove_backups(directory)?;
    let (from, to) = (next.place.clone(), ErasePlace::begin(EraseStep::Done));
    if !backups.is_empty() {
        tracing::warn!(tenant = %next.tenant, ?backups, "backups of older releases are removed: they held its data");
    }
    let is_empty = sqlite::empty_log(directory)?;
    let to = if is_empty { to } else { from.clone() };
    if !is_empty && backups.is_empty() {
        return Ok(Work::Wait);
    }
    let (id, tenant, rows) = (next.id, next.tenant.clone(), ErasedRows::Files(backups));
    Ok(Work::Part(Box::new(ErasePart { id, tenant, from, to, rows, shared: Vec::new(), at: now })))
}
