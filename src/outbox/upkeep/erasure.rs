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

/// Where the last step is once the report names the backups: whatever ends the process, it says what was removed.
const NAMED: &str = "named";

impl Outbox {
    /// Erases some of what is to be erased; whether there is more. Between two parts it rests.
    ///
    /// # Errors
    /// When the store is away or closed, or a file cannot be used.
    pub async fn erase(&self) -> Result<bool, StoreFault> {
        if self.ask("erasures", erasure::next).await?.is_none() {
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

/// Names the backups in the report, then removes them and empties the write-ahead log; none as long as somebody reads
/// from it.
fn finish(directory: &Path, next: &StoredErasure, now: UnixMillis) -> Result<Option<ErasePart>, StoreFault> {
    let backups = sqlite::backups(directory)?;
    if next.place.cursor != NAMED && !backups.is_empty() {
        let to = ErasePlace { step: EraseStep::Files, cursor: NAMED.to_owned() };
        return Ok(Some(last_part(next, to, ErasedRows::Files(backups), now)));
    }
    sqlite::remove_backups(directory, &backups)?;
    if !backups.is_empty() {
        tracing::warn!(tenant = %next.tenant, ?backups, "databases that were set aside are removed: they held its data");
    }
    let is_empty = sqlite::empty_log(directory)?;
    let done = || last_part(next, ErasePlace::begin(EraseStep::Done), ErasedRows::None, now);
    Ok(is_empty.then(done))
}

fn last_part(next: &StoredErasure, to: ErasePlace, rows: ErasedRows, at: UnixMillis) -> ErasePart {
    let (id, tenant, from) = (next.id, next.tenant.clone(), next.place.clone());
    ErasePart { id, tenant, from, to, rows, shared: Vec::new(), at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Tenant;
    use crate::wire::ErasedCounts;

    #[test]
    fn backups_are_named_before_they_are_removed() {
        let directory = tempfile::tempdir().expect("a folder");
        let backup = directory.path().join("switchhook.db.v2");
        std::fs::write(&backup, "rows").expect("a backup");
        let mut next = StoredErasure {
            id: 1,
            tenant: Tenant::new("acme").expect("a name"),
            asked_at: UnixMillis(1),
            event: 0,
            record: 0,
            place: ErasePlace::begin(EraseStep::Files),
            erased: ErasedCounts::default(),
            done_at: None,
        };
        let part = finish(directory.path(), &next, UnixMillis(2)).expect("a plan").expect("a part");
        assert_eq!(part.rows, ErasedRows::Files(vec!["switchhook.db.v2".to_owned()]));
        assert!(backup.exists(), "a process that is killed here has not stored its name");
        next.place = part.to;
        let part = finish(directory.path(), &next, UnixMillis(2)).expect("a plan").expect("a part");
        assert_eq!((part.to.step, part.rows), (EraseStep::Done, ErasedRows::None));
        assert!(!backup.exists());
    }
}
