//! Bodies of delivered events that their hooks keep: sealed before the writer has them.

use std::sync::Arc;
use std::time::Duration;

use super::sqlite::{self, Retention};
use super::{Outbox, StoreFault};
use crate::background;
use crate::calls::{KeptBody, Shelf};
use crate::delivery::Delivery;
use crate::ids::DeliveryId;
use crate::time::UnixMillis;

/// What becomes of the body of an event that is delivered.
#[derive(Clone, Debug, Default)]
pub enum Keeping {
    /// Its hook keeps nothing, or its body is kept already: it was sent again.
    #[default]
    Nothing,
    Sealed(Arc<KeptBody>),
    /// Its hook keeps bodies, but too many of them, or of its tenant's, wait for the store.
    NoRoom,
}

impl Outbox {
    /// Seals the body of an event that is delivered, if the hook that is in force now keeps bodies.
    pub fn keep(&self, delivery: &Delivery) -> Keeping {
        let table = self.table();
        let hook = table.by_id(delivery.hook.id).unwrap_or(&delivery.hook);
        let keep = hook.settings.keep;
        if keep.is_zero() || delivery.is_kept {
            return Keeping::Nothing;
        }
        match self.seal(delivery, keep) {
            Some(body) => Keeping::Sealed(Arc::new(body)),
            None => Keeping::NoRoom,
        }
    }

    fn seal(&self, delivery: &Delivery, keep: Duration) -> Option<KeptBody> {
        let tenant = delivery.hook.tenant.clone();
        if !self.sealed.has_room(&tenant) {
            return None;
        }
        let sealed = self.seals.bodies.seal(delivery.id, delivery.event_id.as_str(), &delivery.body)?;
        let (hook, counted) = (delivery.hook.id, self.sealed.count(&tenant, sealed.len()));
        let at = self.clock.unix();
        Some(KeptBody { hook, tenant, at, until: at.after(keep), sealed, _counted: counted })
    }

    /// Which bodies have been kept for long enough, and which dead letters are beyond their tenant's part: on a connection
    /// and a thread of its own.
    pub(super) async fn plan_kept(
        &self,
        retention: Retention,
        now: UnixMillis,
    ) -> Result<(Vec<DeliveryId>, Vec<(DeliveryId, Shelf)>), StoreFault> {
        let (directory, table) = (self.config.directory.clone(), self.table());
        let plan = move |store: &_| {
            let kept = sqlite::plan_kept(store, &table, &retention, now)?;
            Ok((kept, sqlite::plan_letters(store, &retention)?))
        };
        background::run(move || sqlite::read(&directory, plan)).await.ok_or(StoreFault::Closed)?
    }
}
