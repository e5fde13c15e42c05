//! Many clients edit hooks at once, while events flow.

use reqwest::Method;
use serde_json::{Value, json};

use crate::spec::world::{Client, Tenant, World, joined};

const CLIENTS: usize = 20;
const EDITS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_clients_edit_at_once_and_no_event_is_misrouted() {
    // Time stands still: a slow disk makes this slow, and no answer late.
    let world = World::with_moved_time(&[]).await;
    let world = &world;
    let each = |n: usize| async move {
        let host = format!("calls.t{n}.example");
        let (path, tenant) = (format!("/v1/hooks/{host}"), format!("t{n}"));
        let client = Client::tenant(world, &tenant, &[&host]);
        let receiver = Tenant::open().await;
        for edit in 0..EDITS {
            // Another URL each time, of the same receiver.
            let hook = json!({ "url": format!("{}/{edit}", receiver.url()) });
            let put = client.put(&path, &hook).await;
            assert!(put.status == 200 || put.status == 201, "{}", put.body);
            let id = format!("EV_t{n}_{edit}");
            assert_eq!(world.post(&joined(&id, &id, &host)).await.status, 200);
            // It goes where the edit says that was answered last.
            let received = receiver.wait_for(edit + 1).await;
            assert_eq!(received[edit].id(), id);
            let story = world.story(&id, |story| story["state"] == "delivered").await;
            assert_eq!(story["url"], hook["url"], "{story}");
        }
        let got = client.get(&path).await;
        assert_eq!(got.body["url"], format!("{}/{}", receiver.url(), EDITS - 1));
        assert!(receiver.received().iter().all(|event| event.header("switchhook-tenant") == tenant));
    };
    at_once((0..CLIENTS).map(|n| Box::pin(each(n))).collect()).await;
}

/// Runs all at once on this task.
async fn at_once<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| std::pin::Pin::new(future).poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_of_one_hook_is_lost_among_twenty_clients() {
    let world = World::with_moved_time(&[]).await;
    let path = "/v1/hooks/calls.acme.example";
    let created = Client::operator(&world).put(path, &json!({ "url": "https://acme.example/hook" })).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let world = &world;
    let each = |n: usize| async move {
        let (client, number) = (Client::operator(world), format!("155501{n:02}"));
        loop {
            let got = client.get(path).await;
            let mut numbers = got.body["numbers"].as_array().cloned().unwrap_or_default();
            numbers.push(Value::String(number.clone()));
            let hook = json!({ "url": "https://acme.example/hook", "numbers": numbers });
            let put = client.ask(Method::PUT, path, &[("if-match", &got.etag())], &hook).await;
            match put.status {
                200 => return,
                412 => {}
                _ => panic!("{}", put.body),
            }
        }
    };
    at_once((0..CLIENTS).map(|n| Box::pin(each(n))).collect()).await;
    let got = Client::operator(world).get(path).await;
    assert_eq!(got.body["numbers"].as_array().map(Vec::len), Some(CLIENTS), "{}", got.body);
}
