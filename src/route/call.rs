//! What routing knows of a call: one room session and the hook it is bound to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::reason::Reason;
use crate::domain::Domain;
use crate::hooks::{Format, Hook, loggable};
use crate::ids::HookId;

/// A call, as far as it is known.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Call {
    /// The hook it is bound to; none yet: its events are held.
    pub binding: Option<Binding>,
    /// The sid of the participant that bound it: in most calls the only one that is placed.
    binder: Option<Box<str>>,
    /// What became of its other SIP participants, by sid.
    placements: BTreeMap<Box<str>, Placement>,
    /// Participants of more than one tenant met in it.
    pub shared: bool,
    /// A SIP participant was seen in it.
    pub sip: bool,
}

impl Call {
    /// A call that is not bound.
    pub fn new(sip: bool, shared: bool) -> Self {
        Self { shared, sip, ..Self::default() }
    }

    /// It goes to `binding` from here on, because of this participant.
    pub fn bind(&mut self, binding: Binding, participant: Option<&str>) {
        if let Some(sid) = participant {
            self.placements.remove(sid);
        }
        self.binder = participant.map(Into::into);
        self.binding = Some(binding);
    }

    /// The rules have placed a participant, or could not.
    pub fn place(&mut self, participant: &str, placement: Placement) {
        self.placements.insert(participant.into(), placement);
    }

    /// The hooks its participants or the call itself are bound to.
    pub fn hooks(&self) -> impl Iterator<Item = HookId> {
        let placed = self.placements.values().filter_map(|placement| match placement {
            Placement::At(binding) => Some(binding.hook),
            Placement::Nowhere(..) => None,
        });
        self.binding.iter().map(|binding| binding.hook).chain(placed)
    }

    /// Changes each of its bindings to `hook`.
    pub fn rebind(&mut self, hook: HookId, mut change: impl FnMut(&mut Binding)) {
        let placed = self.placements.values_mut().filter_map(|placement| match placement {
            Placement::At(binding) => Some(binding),
            Placement::Nowhere(..) => None,
        });
        let bindings = self.binding.iter_mut().chain(placed);
        bindings.filter(|binding| binding.hook == hook).for_each(&mut change);
    }

    /// Something stored of it is damaged: who has it is not known any more.
    pub fn lose(&mut self) {
        let (hook, url, format) = (HookId::DAMAGED, "".into(), Format::Raw);
        (self.binding, self.binder) = (Some(Binding { hook, url, format }), None);
    }

    /// What became of a participant.
    pub fn placement(&self, participant: &str) -> Option<Placement> {
        match &self.binding {
            Some(binding) if self.binder.as_deref() == Some(participant) => {
                Some(Placement::At(binding.clone()))
            }
            _ => self.placements.get(participant).cloned(),
        }
    }
}

/// Where a call's events go, also when the hook has since changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// The hook it was bound to.
    pub hook: HookId,
    /// The URL the hook had then; shared by all its calls.
    pub url: Arc<str>,
    /// The format it had then.
    pub format: Format,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hook, url, format } = self;
        let mut shown = f.debug_struct("Binding");
        shown.field("hook", hook).field("url", &loggable(url)).field("format", format).finish()
    }
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
    /// It has no hook, for this reason; and the domain it dialled.
    Nowhere(Reason, Option<Domain>),
}
