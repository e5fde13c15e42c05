//! Random interleavings of calls, tenants, table changes, restarts and duplicates, against a model of the
//! rules in fifty lines.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use switchhook::Clock;

use super::world::{RECORDED, Tenant, World, event, joined, table};

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
const CALLS: usize = 4;

/// Participants of a call: callers, and behind them an agent.
const CALLERS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
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

fn step() -> impl Strategy<Value = Step> {
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
type Hook = (usize, usize);

/// The rules, as simply as they can be said.
#[derive(Default)]
struct Model {
    hooks: HashMap<usize, Hook>,
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
    delivered: BTreeMap<(Hook, usize), Vec<String>>,
    unrouted: BTreeMap<String, &'static str>,
}

impl Model {
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

    fn toggle(&mut self, domain: usize) {
        if self.hooks.remove(&domain).is_none() {
            self.added[domain] += 1;
            self.hooks.insert(domain, (domain, self.added[domain]));
        }
    }

    fn past_the_hold(&mut self) {
        self.expired.extend(self.held.values().flatten().map(|(id, _)| id.clone()));
    }

    /// Why each event without a hook has none.
    fn reasons(&self) -> BTreeMap<String, &'static str> {
        let mut reasons = self.unrouted.clone();
        for (id, _) in self.held.values().flatten() {
            reasons.insert(id.clone(), if self.expired.contains(id) { "no_call" } else { "held" });
        }
        reasons
    }
}

fn body(id: &str, step: &Step) -> Option<String> {
    let sid = |call: &usize, participant: &usize| format!("PA_{call}_{participant}");
    match step {
        Step::Room { call } => Some(event(id, "room_started", &format!("c{call}"))),
        Step::Caller { call, participant, domain } => {
            let body = joined(id, &format!("c{call}"), DOMAINS[*domain]);
            Some(body.replace(&format!("PA_{id}"), &sid(call, participant)))
        }
        Step::Track { call, participant } => {
            let room = format!("c{call}");
            Some(json!({
                "event": "track_published", "id": id, "room": { "sid": format!("RM_{room}"), "name": room },
                "participant": { "sid": sid(call, participant), "identity": "x" },
            }).to_string())
        }
        Step::Again { .. } | Step::Toggle { .. } | Step::Restart | Step::PastTheHold => None,
    }
}

async fn follows_the_model(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let tenants = [Tenant::open().await, Tenant::open().await, Tenant::open().await];
    let hooks = |model: &Model| {
        let present = (0..DOMAINS.len()).filter(|domain| model.hooks.contains_key(domain));
        table(&present.map(|domain| (DOMAINS[domain], &tenants[domain])).collect::<Vec<_>>())
    };
    let mut model = Model::default();
    model.toggle(0);
    model.toggle(1);
    let mut world = World::at(Clock::manual(RECORDED), &hooks(&model), &["--hold", "10m"]).await;
    let (mut reloads, mut posted) = (0, Vec::new());
    for (number, step) in steps.iter().enumerate() {
        let id = format!("EV_{number}");
        if let Some(body) = body(&id, step) {
            prop_assert_eq!(world.post(&body).await.status, 200);
            posted.push(body);
        }
        match step {
            Step::Room { call } => model.plain(id, *call, None),
            Step::Caller { call, participant, domain } => model.caller(id, *call, *participant, *domain),
            Step::Track { call, participant } => model.plain(id, *call, Some(*participant)),
            Step::Again { which } if !posted.is_empty() => {
                prop_assert_eq!(world.post(which.get::<String>(&posted)).await.status, 200);
            }
            Step::Again { .. } => {}
            Step::Toggle { domain } => {
                model.toggle(*domain);
                world.hooks(&hooks(&model));
                reloads += 1;
                world.reloaded(reloads).await;
            }
            Step::Restart => {
                world.stop().await;
                world.start().await;
                reloads = 0;
            }
            Step::PastTheHold => {
                model.past_the_hold();
                let store = rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the store");
                let count = |state: i64| {
                    let sql = "SELECT count(*) FROM events WHERE state = ?1";
                    store.query_row(sql, [state], |row| row.get::<_, i64>(0)).expect("a count")
                };
                // What is on its way must not time out.
                world.advance_until(Duration::ZERO, || count(0) == 0).await;
                world.clock.advance(Duration::from_secs(600));
                world.advance_until(Duration::from_secs(1), || count(4) == 0).await;
            }
        }
    }
    agrees(&world, &tenants, &model).await
}

async fn agrees(world: &World, tenants: &[Tenant; 3], model: &Model) -> Result<(), TestCaseError> {
    for (domain, tenant) in tenants.iter().enumerate() {
        let due: BTreeMap<_, _> = model.delivered.iter().filter(|((hook, _), _)| hook.0 == domain).collect();
        let count = due.values().map(|ids| ids.len()).sum();
        let received = tenant.wait_for(count).await;
        prop_assert_eq!(received.len(), count, "at {}: {:?}", DOMAINS[domain], tenant.ids());
        for ((_, call), ids) in due {
            let came: Vec<_> = received.iter().filter(|one| ids.iter().any(|id| id == one.id())).collect();
            prop_assert_eq!(&came.iter().map(|one| one.id().to_owned()).collect::<Vec<_>>(), ids);
            for (one, number) in came.iter().zip(1..) {
                let number: usize = number;
                prop_assert_eq!(one.header("switchhook-sequence"), number.to_string(), "{}", one.id());
                prop_assert_eq!(one.header("switchhook-call"), format!("RM_c{call}"));
            }
        }
    }
    for (id, reason) in model.reasons() {
        let (_, story): (u16, Value) = world.api(&format!("/v1/events/{id}")).await;
        prop_assert_eq!(&story["reason"], reason, "{}: {}", id, story);
    }
    Ok(())
}

/// `SWITCHHOOK_MODEL_CASES=500 cargo test --test spec the_model` for more.
#[test]
fn every_event_ends_where_the_model_says_and_nowhere_else() {
    let cases =
        std::env::var("SWITCHHOOK_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ran = TestRunner::new(config)
        .run(&prop::collection::vec(step(), 20..60), |steps| runtime.block_on(follows_the_model(steps)));
    if let Err(failed) = ran {
        panic!("{failed}");
    }
}
