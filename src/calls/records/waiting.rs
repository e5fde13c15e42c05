//! Events without a hook, which may have one later.

use std::sync::Arc;

use super::post::Post;
use crate::ids::DeliveryId;
use crate::route::Reason;

/// An event without a hook, which may have one later.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: DeliveryId,
    pub reason: Reason,
    pub post: Arc<Post>,
}

/// What waiting events are found by: their session, or the room's name where they know no session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    Session(Arc<str>),
    Room(Arc<str>),
}
