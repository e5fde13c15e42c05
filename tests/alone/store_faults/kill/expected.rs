//! What must have arrived where, and in which order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::receiver::{Arrival, hash};
use super::script::{Script, TENANTS};

/// The events of each call at one tenant, in the order they were posted, with the hash of their bodies.
type Calls = BTreeMap<String, Vec<(String, u64)>>;

/// What was posted.
#[derive(Default)]
pub struct Expected {
    tenants: Mutex<[Calls; TENANTS]>,
    /// Ids of events that were sent again after they were delivered.
    again: Mutex<HashSet<String>>,
    /// How many events were nobody's.
    nobodys: AtomicUsize,
}

impl Expected {
    /// This call is posted to its end.
    pub fn add(&self, script: &Script) {
        let mut tenants = self.tenants.lock().expect("what is expected");
        for event in &script.events {
            let calls = &mut tenants[event.at as usize];
            let told = (event.id.clone(), hash(event.body.as_bytes()));
            calls.entry(script.call.clone()).or_default().push(told);
        }
    }

    /// An event that belongs to nobody is posted.
    pub fn add_nobodys(&self) {
        self.nobodys.fetch_add(1, Ordering::Relaxed);
    }

    /// How many events belong to nobody.
    pub fn nobodys(&self) -> usize {
        self.nobodys.load(Ordering::Relaxed)
    }

    /// A call that was delivered is sent again.
    pub fn comes_again(&self, script: &Script) {
        let ids = script.events.iter().map(|event| event.id.clone());
        self.again.lock().expect("what is sent again").extend(ids);
    }

    /// How many events a tenant must get.
    pub fn count(&self, tenant: usize) -> usize {
        self.tenants.lock().expect("what is expected")[tenant].values().map(Vec::len).sum()
    }

    /// The ids that a tenant must get and has not taken, or not again.
    pub fn missing(&self, tenant: usize, arrivals: &[Arrival]) -> Vec<String> {
        let again = self.again.lock().expect("what is sent again");
        // What is sent again has another attempt's number than what is repeated after a crash.
        let counts = |one: &&Arrival| one.taken && (one.attempt > 1 || !again.contains(&one.id));
        let taken: HashSet<_> = arrivals.iter().filter(counts).map(|one| &one.id).collect();
        let tenants = self.tenants.lock().expect("what is expected");
        let ids = tenants[tenant].values().flatten().map(|(id, _)| id);
        ids.filter(|id| !taken.contains(id)).cloned().collect()
    }

    /// All that is wrong with what arrived at a tenant.
    pub fn faults(&self, tenant: usize, arrivals: &[Arrival]) -> Vec<String> {
        let tenants = self.tenants.lock().expect("what is expected");
        let calls = &tenants[tenant];
        let mut faults = strangers(calls, arrivals);
        faults.extend(unequal_repeats(arrivals));
        faults.extend(numbers_given_twice(arrivals));
        let forged = arrivals.iter().filter(|one| !one.is_genuine);
        faults.extend(forged.map(|one| format!("signed by another secret: {one:?}")));
        let mut taken: HashMap<&str, Vec<&Arrival>> = HashMap::new();
        let mut known = HashSet::new();
        for arrival in arrivals.iter().filter(|arrival| arrival.taken) {
            if known.insert(&arrival.id) {
                taken.entry(&arrival.call).or_default().push(arrival);
            }
        }
        for (call, posted) in calls {
            let came: Vec<_> =
                taken.get(&**call).into_iter().flatten().map(|one| (&*one.id, one.sequence)).collect();
            // In LiveKit's order, numbered from 1 without a gap.
            let due: Vec<_> = posted.iter().map(|(id, _)| &**id).zip(1..).collect();
            if came != due {
                faults.push(format!("{call}: {came:?}"));
            }
        }
        faults
    }
}

/// What belongs to another tenant, or carries another body than was posted.
fn strangers(calls: &Calls, arrivals: &[Arrival]) -> Vec<String> {
    let bodies: HashMap<_, _> = calls
        .iter()
        .flat_map(|(call, events)| events.iter().map(move |(id, body)| ((&**call, &**id), *body)))
        .collect();
    let is_strange = |one: &&Arrival| bodies.get(&(&*one.call, &*one.id)) != Some(&one.body);
    arrivals.iter().filter(is_strange).map(|one| format!("not this tenant's: {one:?}")).collect()
}

/// Repeats with another number.
fn unequal_repeats(arrivals: &[Arrival]) -> Vec<String> {
    let mut first: HashMap<&str, &Arrival> = HashMap::new();
    let mut faults = Vec::new();
    for one in arrivals {
        let before = *first.entry(&one.id).or_insert(one);
        if before.sequence != one.sequence {
            faults.push(format!("{before:?} came again as {one:?}"));
        }
    }
    faults
}

/// Numbers of a call that two events have.
fn numbers_given_twice(arrivals: &[Arrival]) -> Vec<String> {
    let mut owners: HashMap<(&str, i64), &Arrival> = HashMap::new();
    let mut faults = Vec::new();
    for one in arrivals {
        let owner = *owners.entry((&one.call, one.sequence)).or_insert(one);
        if owner.id != one.id {
            faults.push(format!("one number for two events: {owner:?} {one:?}"));
        }
    }
    faults
}
