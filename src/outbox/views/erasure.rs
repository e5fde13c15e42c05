//! The erasure of a tenant's data, as an operator sees it.

use super::ScopedView;
use crate::calls::EraseStep;
use crate::hooks::Tenant;
use crate::outbox::StoreFault;
use crate::outbox::sqlite::erasure::{self, StoredErasure};
use crate::wire::{Erasure, Stays};

/// What every erasure leaves, and why.
const STAYS: [(&str, &str); 5] = [
    (
        "hooks",
        "configuration: hosts, URLs and settings. `switchhook hooks delete` and the hooks file remove them",
    ),
    ("usage", "numbers of events for each day, without their contents, for billing"),
    ("audit", "who did what, and when; 400 days"),
    ("log lines", "outside of the data directory: as long as the log is kept"),
    (
        "copies",
        "backups (`switchhook store backup`) and snapshots of the data directory: after a restore, erase again",
    ),
];

/// What is left of calls that are not over, or another tenant's, too.
const BARE: (&str, &str) = (
    "ids of calls",
    "of calls in progress the session's and its participants' ids, the hook and the room's name, so that later events \
     find their tenant; the name is removed with the call's end. Of calls that another tenant has, too, the session's id \
     and the name. All of it is removed an hour after the call's end",
);

const SHARED: (&str, &str) = (
    "shared calls",
    "other tenants' events of the calls that are named here; removed when they are past their time",
);

const OLD: (&str, &str) = (
    "free pages",
    "the database is older than this release and too large to be rewritten at a start: what was deleted before may \
     still be in free pages, until they are used again. `VACUUM` with the router stopped removes it",
);

impl ScopedView<'_> {
    /// A tenant's last erasure; none if there was none, or the scope is no operator's.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn erasure(&self, tenant: Tenant) -> Result<Option<Erasure>, StoreFault> {
        if !self.scope.is_operator() {
            return Ok(None);
        }
        self.outbox
            .ask("erasures", move |store| {
                let Some(stored) = erasure::of_tenant(store, &tenant)? else { return Ok(None) };
                let has_old_remains = erasure::has_old_remains(store)?;
                Ok(Some(told(stored, has_old_remains)))
            })
            .await
    }

    /// Whether a tenant has a hook or ever had one, so that there can be something to erase; not known outside of an
    /// operator's scope.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn is_known(&self, tenant: Tenant) -> Result<bool, StoreFault> {
        if !self.scope.is_operator() {
            return Ok(false);
        }
        self.outbox.ask("hooks", move |store| erasure::is_known(store, &tenant)).await
    }
}

fn told(stored: StoredErasure, has_old_remains: bool) -> Erasure {
    let percent = percent(&stored);
    let StoredErasure { tenant, asked_at, place, erased, done_at, .. } = stored;
    let also = [(erased.bare_calls > 0, BARE), (erased.shared_events > 0, SHARED), (has_old_remains, OLD)];
    let also = also.into_iter().filter_map(|(holds, stays)| holds.then_some(stays));
    let stays = STAYS.into_iter().chain(also);
    Erasure {
        tenant: tenant.to_string(),
        asked_at: asked_at.to_string(),
        done_at: done_at.map(|at| at.to_string()),
        step: place.step.as_str().to_owned(),
        percent,
        erased,
        stays: stays.map(|(what, why)| Stays { what: what.to_owned(), why: why.to_owned() }).collect(),
    }
}

/// Most of the time goes into the walk through the events.
fn percent(stored: &StoredErasure) -> u8 {
    let walked = || {
        let row: i64 = stored.place.cursor.parse().unwrap_or(0);
        u8::try_from(row.saturating_mul(75) / stored.event.max(1)).unwrap_or(75)
    };
    match stored.place.step {
        EraseStep::Waiting => 0,
        EraseStep::Events => walked(),
        EraseStep::Facts => 75,
        EraseStep::Calls => 80,
        EraseStep::Participants => 83,
        EraseStep::Numbers => 85,
        EraseStep::Audit => 87,
        EraseStep::Pages => 90,
        EraseStep::PagesAgain => 95,
        EraseStep::Files => 99,
        EraseStep::Done => 100,
    }
}
