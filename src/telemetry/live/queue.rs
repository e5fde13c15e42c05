//! What waits for one reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::happening::Happening;
use crate::access::Scope;
use crate::delivery::Delivery;
use crate::wire::LiveQuery;

/// Events that wait for one reader.
const ENTRIES: usize = 1000;

/// Bytes of bodies that wait for one reader; one body is always taken. For all readers that is 64 MiB, and it is
/// nobody else's, so that no reader's slowness makes another one lose.
const BYTES: usize = 1 << 20;

/// What a reader may see, and what of it it asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub scope: Scope,
    pub query: LiveQuery,
}

impl Wanted {
    /// Whether it is sent to the reader.
    pub fn wants(&self, happening: &Happening) -> bool {
        let LiveQuery { tenant, event, call, domain, bodies: _ } = &self.query;
        let told = &happening.told;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        is(event, Some(&told.event))
            && is(tenant, told.tenant.as_deref())
            && is(domain, told.domain.as_deref())
            && is(call, told.call.as_deref().filter(|_| happening.shows_call(&self.scope)))
            && happening.is_within(&self.scope)
    }
}

/// What is sent to a reader.
#[derive(Clone, Debug)]
pub enum Told {
    /// With the delivery, if the reader asked for bodies and the event goes to a hook now.
    Happened(Arc<Happening>, Option<Arc<Delivery>>),
    /// So many events are left out here, since the reader was too slow.
    Lost(u64),
}

/// What waits for a reader.
pub struct ReaderQueue {
    pub wanted: Wanted,
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Default)]
struct Waiting {
    told: VecDeque<Told>,
    /// Bytes of the bodies in it.
    bytes: usize,
}

impl ReaderQueue {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, waiting: Mutex::default(), came: Notify::new() }
    }

    /// Adds what happened; false: there is no room, and it is counted as lost.
    pub fn push(&self, happening: &Arc<Happening>, delivery: Option<Arc<Delivery>>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytes_of(delivery.as_ref());
        let has_room = waiting.bytes == 0 || waiting.bytes + bytes <= BYTES;
        let fits = waiting.told.len() < ENTRIES && has_room;
        if fits {
            waiting.bytes += bytes;
            waiting.told.push_back(Told::Happened(Arc::clone(happening), delivery));
        } else if let Some(Told::Lost(count)) = waiting.told.back_mut() {
            *count += 1;
        } else {
            waiting.told.push_back(Told::Lost(1));
        }
        self.came.notify_one();
        fits
    }

    /// Waits for what is sent to the reader next.
    pub async fn next(&self) -> Told {
        loop {
            if let Some(told) = self.take() {
                return told;
            }
            // Only this reader waits, and what came before is remembered.
            self.came.notified().await;
        }
    }

    fn take(&self) -> Option<Told> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let told = waiting.told.pop_front()?;
        if let Told::Happened(_, delivery) = &told {
            waiting.bytes -= bytes_of(delivery.as_ref());
        }
        Some(told)
    }
}

fn bytes_of(delivery: Option<&Arc<Delivery>>) -> usize {
    delivery.map_or(0, |delivery| delivery.body.len())
}
