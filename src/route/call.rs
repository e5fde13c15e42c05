//! What routing knows of a call: one room session, and whose it is.

use std::collections::HashMap;

use super::Reason;
use crate::domain::Domain;
use crate::hooks::{Format, Hook};
use crate::ids::HookId;

/// A call, as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Whose it is; none yet: its events are held.
    pub binding: Option<Binding>,
    /// What became of its SIP participants, by sid.
    pub placements: HashMap<Box<str>, Placement>,
    /// Participants of more than one tenant met in it.
    pub shared: bool,
    /// A SIP participant was seen in it.
    pub sip: bool,
}

/// Where a call's events go, also when the hook has since changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The hook it was bound to.
    pub hook: HookId,
    /// The URL the hook had then.
    pub url: Box<str>,
    /// The format it had then.
    pub format: Format,
}

impl Binding {
    /// A binding to `hook` as it is now.
    pub fn to(hook: &Hook) -> Self {
        Self { hook: hook.id, url: hook.url.as_str().into(), format: hook.settings.format }
    }
}

/// What the rules made of a SIP participant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Its events go there.
    At(Binding),
    /// It belongs to nobody, for this reason; and the domain it dialled.
    Nowhere(Reason, Option<Domain>),
}
