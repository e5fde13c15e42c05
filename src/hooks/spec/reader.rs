//! What reading a hooks file carries along: the faults found so far, and what hooks already own.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;

use super::around::Around;
use crate::hooks::hook::{HostPattern, Number, Tenant};
use crate::hooks::settings::Masked;
use crate::yaml::{TextFault, TextPosition};

/// Reads a file's parts and notes what is wrong with them.
pub struct SpecReader<'a> {
    pub around: &'a Around<'a>,
    pub faults: Vec<TextFault>,
    pub taken: Taken,
}

/// What hooks already own, and the line it stands in.
#[derive(Default)]
pub struct Taken {
    pub hosts: HashMap<HostPattern, u64>,
    pub numbers: HashMap<Number, u64>,
    pub trunks: HashMap<String, u64>,
    /// LiveKit API keys of tenants' own.
    pub keys: HashMap<String, (Tenant, Masked, u64)>,
    /// How many hooks each tenant has.
    pub hooks: HashMap<Tenant, usize>,
}

impl<'a> SpecReader<'a> {
    /// A reader that has found nothing yet.
    pub fn new(around: &'a Around<'a>) -> Self {
        Self { around, faults: Vec::new(), taken: Taken::default() }
    }

    /// Notes a fault.
    pub fn fault(&mut self, place: TextPosition, key: &str, message: impl Into<String>) {
        self.faults.push(TextFault::new(place, key, message));
    }

    /// Takes `thing` for this hook, unless another has it.
    pub fn claim<T: Hash + Eq + Clone>(
        &mut self,
        thing: T,
        place: TextPosition,
        key: &str,
        text: &str,
        owners: impl Fn(&mut Taken) -> &mut HashMap<T, u64>,
    ) -> Option<T> {
        match owners(&mut self.taken).entry(thing.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(place.line);
                Some(thing)
            }
            Slot::Occupied(slot) => {
                let message = match slot.get() {
                    // What has no lines has one hook.
                    0 => format!("{text} stands here twice (the same after normalisation)"),
                    line => format!("{text} is already taken in line {line} (the same after normalisation)"),
                };
                self.fault(place, key, message);
                None
            }
        }
    }
}
