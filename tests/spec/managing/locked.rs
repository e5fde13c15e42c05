//! Edits and revocations while the database cannot be written.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::spec::world::{Answered, Client, World};

const STEP: Duration = Duration::from_millis(100);

/// Nobody but the holder writes the database until this is dropped.
fn lock(world: &World) -> rusqlite::Connection {
    let held = rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the database");
    held.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    held.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    held
}

/// The answer, while time is moved.
async fn answer(world: &World, asking: JoinHandle<Answered>) -> Answered {
    world.advance_until(STEP, || asking.is_finished()).await;
    asking.await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_as_not_done_and_had_not_begun_is_not_done_later() {
    let world = World::with_moved_time(&[]).await;
    let hosts = ["a.acme.example", "b.acme.example"].map(|host| format!("/v1/hooks/{host}"));
    for path in &hosts {
        let hook = json!({ "url": "https://acme.example/hook", "tenant": "acme" });
        let put = Client::operator(&world).put(path, &hook).await;
        assert_eq!(put.status, 201, "{}", put.body);
    }
    let held = lock(&world);
    let deletes = hosts.clone().map(|path| {
        let operator = Client::operator(&world);
        tokio::spawn(async move { operator.delete(&path).await })
    });
    for delete in deletes {
        let told = answer(&world, delete).await;
        assert_eq!(told.refused(), (503, "store-slow"), "{}", told.body);
    }
    drop(held);

    // What is asked for afterwards is done after all that waited.
    let operator = Client::operator(&world);
    let last = tokio::spawn(async move {
        operator.put("/v1/hooks/c.acme.example", &json!({ "url": "https://acme.example/hook" })).await
    });
    assert_eq!(answer(&world, last).await.status, 201);
    // The one that was being stored may be done, as its answer says; the one behind it is not.
    let operator = Client::operator(&world);
    let mut left = 0;
    for path in &hosts {
        left += usize::from(operator.get(path).await.status == 200);
    }
    assert!(left >= 1, "both are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_in_force_although_it_cannot_be_stored_yet() {
    let mut world = World::with_moved_time(&[]).await;
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    assert_eq!(acme.get("/v1/hooks").await.status, 200);
    world.clock.advance(Duration::from_secs(2));
    let held = lock(&world);
    let operator = Client::operator(&world);
    let revoke = tokio::spawn(async move { operator.post("/v1/tenants/acme/revoke", &Value::Null).await });
    let told = answer(&world, revoke).await;
    assert_eq!(told.refused(), (503, "store-slow"), "{}", told.body);
    assert_eq!(acme.get("/v1/hooks").await.status, 401);

    // It is stored once the database can be written, and outlives a restart.
    drop(held);
    let operator = Client::operator(&world);
    let last = tokio::spawn(async move {
        operator.put("/v1/hooks/c.acme.example", &json!({ "url": "https://acme.example/hook" })).await
    });
    assert_eq!(answer(&world, last).await.status, 201);
    world.stop().await;
    world.start().await;
    assert_eq!(Client::with_token(&world, acme.token.clone()).get("/v1/hooks").await.status, 401);
}
