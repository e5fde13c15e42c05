//! The rules in fifty lines, and what may happen to a router that follows them. Shared: the specification tells
//! it to a router through sockets, a unit test to what decides.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::json;

/// The domains that callers dial.
pub const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
const CALLS: usize = 4;

/// Participants of a call: callers, and behind them an agent.
const CALLERS: usize = 2;

/// What may happen.
#[derive(Clone, Debug)]
pub enum Step {
    /// An event of the room that names nobody.
    Room {
        call: usize,
    },
    /// An event of a caller with its attributes.
    Caller {
        call: usize,
        participant: usize,
        domain: usize,
    },
    /// An event of a participant without attributes.
    Track {
        call: usize,
        participant: usize,
    },
    /// An earlier event comes again.
    Again {
        which: prop::sample::Index,
    },
    /// A domain's hook is added, or removed.
    Toggle {
        domain: usize,
    },
    Restart,
    /// Whatever is held has waited long enough.
    PastTheHold,
}

/// Any of them, the usual ones more often.
pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..CALLS).prop_map(|call| Step::Room { call }),
        5 => (0..CALLS, 0..CALLERS, 0..DOMAINS.len())
            .prop_map(|(call, participant, domain)| Step::Caller { call, participant, domain }),
        5 => (0..CALLS, 0..=CALLERS).prop_map(|(call, participant)| Step::Track { call, participant }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Again { which }),
        2 => (0..DOMAINS.len()).prop_map(|domain| Step::Toggle { domain }),
        1 => Just(Step::Restart),
        1 => Just(Step::PastTheHold),
    ]
}

/// A hook: its domain, and how often that was added before.
pub type Hook = (usize, usize);

/// The rules, as simply as they can be said.
#[derive(Default)]
pub struct Model {
    pub hooks: HashMap<usize, Hook>,
    added: [usize; DOMAINS.len()],
    bound: HashMap<usize, Hook>,
    /// None: nobody's.
    placed: HashMap<(usize, usize), Option<Hook>>,
    /// By call, with their participant.
    held: BTreeMap<usize, Vec<(String, Option<usize>)>>,
    expired: Vec<String>,
    /// Events of participants that belong to nobody.
    nobodys: BTreeMap<(usize, usize), Vec<String>>,
    /// Each hook's events of each call, in order.
    pub delivered: BTreeMap<(Hook, usize), Vec<String>>,
    unrouted: BTreeMap<String, &'static str>,
}

impl Model {
    /// What a step does; `id`: of the event it posts. One that comes again changes nothing.
    pub fn happens(&mut self, id: String, step: &Step) {
        match step {
            Step::Room { call } => self.plain(id, *call, None),
            Step::Caller { call, participant, domain } => self.caller(id, *call, *participant, *domain),
            Step::Track { call, participant } => self.plain(id, *call, Some(*participant)),
            Step::Toggle { domain } => self.toggle(*domain),
            Step::PastTheHold => self.past_the_hold(),
            Step::Again { .. } | Step::Restart => {}
        }
    }

    /// An event without attributes.
    fn plain(&mut self, id: String, call: usize, participant: Option<usize>) {
        let placed = participant.and_then(|participant| self.placed.get(&(call, participant)));
        match (placed, self.bound.get(&call)) {
            (Some(Some(hook)), _) | (None, Some(hook)) => {
                self.delivered.entry((*hook, call)).or_default().push(id);
            }
            (Some(None), _) => {
                self.unrouted.insert(id.clone(), "no_hook");
                self.nobodys.entry((call, participant.expect("placed"))).or_default().push(id);
            }
            (None, None) => self.held.entry(call).or_default().push((id, participant)),
        }
    }

    fn caller(&mut self, id: String, call: usize, participant: usize, domain: usize) {
        let placed = self.placed.get(&(call, participant)).copied().flatten();
        let hook = placed.or_else(|| self.hooks.get(&domain).copied());
        self.placed.insert((call, participant), hook);
        let Some(hook) = hook else {
            self.unrouted.insert(id.clone(), "no_hook");
            self.nobodys.entry((call, participant)).or_default().push(id);
            return;
        };
        self.release(call, participant, hook);
        self.delivered.entry((hook, call)).or_default().push(id);
    }

    /// What waited for the call or was sent by this participant goes first, in order.
    fn release(&mut self, call: usize, participant: usize, hook: Hook) {
        let own = self.nobodys.remove(&(call, participant)).unwrap_or_default();
        self.unrouted.retain(|id, _| !own.contains(id));
        let mut waiting: Vec<_> = own.into_iter().map(|id| (id, Some(participant))).collect();
        if let std::collections::hash_map::Entry::Vacant(unbound) = self.bound.entry(call) {
            unbound.insert(hook);
            waiting.extend(self.held.remove(&call).unwrap_or_default());
        }
        waiting.sort_by_key(|(id, _)| id[3..].parse::<usize>().expect("a number"));
        for (id, participant) in waiting {
            self.plain(id, call, participant);
        }
    }

    /// A domain's hook is added, or removed.
    pub fn toggle(&mut self, domain: usize) {
        if self.hooks.remove(&domain).is_none() {
            self.added[domain] += 1;
            self.hooks.insert(domain, (domain, self.added[domain]));
        }
    }

    fn past_the_hold(&mut self) {
        self.expired.extend(self.held.values().flatten().map(|(id, _)| id.clone()));
    }

    /// Why each event without a hook has none.
    pub fn reasons(&self) -> BTreeMap<String, &'static str> {
        let mut reasons = self.unrouted.clone();
        for (id, _) in self.held.values().flatten() {
            reasons.insert(id.clone(), if self.expired.contains(id) { "no_call" } else { "held" });
        }
        reasons
    }
}

/// The body of the event that a step posts as `id`.
pub fn body(id: &str, step: &Step) -> Option<String> {
    let (name, call, participant) = match step {
        Step::Room { call } => ("room_started", call, None),
        Step::Caller { call, participant, .. } => ("participant_joined", call, Some(participant)),
        Step::Track { call, participant } => ("track_published", call, Some(participant)),
        Step::Again { .. } | Step::Toggle { .. } | Step::Restart | Step::PastTheHold => return None,
    };
    let room = json!({ "sid": format!("RM_c{call}"), "name": format!("c{call}") });
    let mut body = json!({ "event": name, "id": id, "room": room });
    if let Some(participant) = participant {
        body["participant"] = json!({ "sid": format!("PA_{call}_{participant}"), "identity": "x" });
    }
    if let Step::Caller { domain, .. } = step {
        body["participant"]["kind"] = json!("SIP");
        body["participant"]["attributes"] = json!({ "sip.ruleID": "SDR", "sip.h.x-to-ip": DOMAINS[*domain] });
    }
    Some(body.to_string())
}
