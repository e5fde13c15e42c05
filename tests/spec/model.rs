//! Random interleavings of calls, tenants, table changes, restarts and duplicates, against a model of the
//! rules in fifty lines.

mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use switchhook::Clock;

use self::rules::{DOMAINS, Model, Step, body, step};
use super::world::{RECORDED, Tenant, World, table};

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
        model.happens(id, step);
        match step {
            Step::Room { .. } | Step::Caller { .. } | Step::Track { .. } => {}
            Step::Again { which } if !posted.is_empty() => {
                prop_assert_eq!(world.post(which.get::<String>(&posted)).await.status, 200);
            }
            Step::Again { .. } => {}
            Step::Toggle { .. } => {
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
                // What is on its way must not time out.
                for id in model.delivered.values().flatten() {
                    world.story(id, |story| story["state"] == "delivered").await;
                }
                world.clock.advance(Duration::from_secs(600));
                for (id, reason) in model.reasons() {
                    world.story_later(Duration::from_secs(1), &id, |story| story["reason"] == reason).await;
                }
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

/// Interleavings that are tried at once: each mostly waits.
const AT_ONCE: u32 = 4;

/// `SWITCHHOOK_MODEL_CASES=500 cargo test --test spec the_model` for more. Many more interleavings run against
/// what decides alone, in `src/outbox/queue/model.rs`.
#[test]
fn every_event_ends_where_the_model_says_and_nowhere_else() {
    let cases = std::env::var("SWITCHHOOK_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases: u32 = cases.unwrap_or(120);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let some_of_them = || {
        let cases = cases.div_ceil(AT_ONCE);
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
        let ran = TestRunner::new(config)
            .run(&prop::collection::vec(step(), 20..60), |steps| runtime.block_on(follows_the_model(steps)));
        if let Err(failed) = ran {
            panic!("{failed}");
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(some_of_them))));
}
