//! Queries of URLs may hold a receiver's token: the store never has one in plain text.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::spec::finding::keep::store;
use crate::spec::world::{Client, RECORDED, Reply, Tenant, World, event, joined};

/// Begins each of the tokens.
const TOKEN: &str = "hush-";

/// The files of the data directory that have a token in them, besides `master.secret` and the like nothing is left out.
fn files_with_a_token(world: &World) -> Vec<String> {
    let files = fs::read_dir(world.path("data")).expect("a folder").map(|file| file.expect("a file").path());
    let has_it = |text: Vec<u8>| text.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
    let files = files.filter(|file| file.is_file() && has_it(fs::read(file).expect("a file")));
    files.map(|file| file.display().to_string()).collect()
}

fn table(tenant: &Tenant, token: &str) -> String {
    format!("hooks:\n  - {{host: a.example, now: true, url: '{}?token={TOKEN}{token}'}}\n", tenant.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_urls_are_sealed_in_the_store_whatever_happens_and_receivers_get_them() {
    let tenant = Tenant::open().await;
    let mut world = World::at(switchhook::Clock::manual(RECORDED), &table(&tenant, "file"), &[]).await;
    let operator = Client::operator(&world);
    let of_api = json!({ "tenant": "b", "url": format!("{}?token={TOKEN}api", tenant.url()), "keep": "1h" });
    assert_eq!(operator.put("/v1/hooks/b.example", &of_api).await.status, 201);
    // Held, released, two tenants in one call, failed, sent again, given up, replayed.
    assert_eq!(world.post(&event("EV_1", "room_started", "c")).await.status, 200);
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    assert_eq!(world.post(&joined("EV_3", "c", "b.example")).await.status, 200);
    tenant.wait_for(3).await;
    tenant.reply(Reply::Status(500));
    assert_eq!(world.post(&joined("EV_4", "d", "b.example")).await.status, 200);
    world.story_later(Duration::from_secs(1), "EV_4", |story| story["state"] == "delivered").await;
    assert_eq!(world.api_post("/v1/events/EV_4/resend").await.0, 200);
    tenant.wait_for(6).await;
    assert_eq!(world.api_post("/v1/hooks/b.example/pause").await.0, 200);
    assert_eq!(world.post(&joined("EV_5", "e", "b.example")).await.status, 200);
    world.story("EV_5", |story| story["state"] == "pending").await;
    assert_eq!(files_with_a_token(&world), [""; 0]);
    // The file's hook has another query: calls in progress move to it.
    world.hooks(&table(&tenant, "moved"));
    world.reloaded(1).await;
    assert_eq!(world.post(&event("EV_6", "room_finished", "c")).await.status, 200);
    tenant.wait_for(7).await;
    world.stop().await;
    assert_eq!(files_with_a_token(&world), [""; 0]);
    world.start().await;
    assert_eq!(world.api_post("/v1/hooks/b.example/resume").await.0, 200);
    tenant.wait_for(8).await;
    let token = |id: &str| {
        let received = tenant.received();
        let received = received.iter().rfind(|received| received.id() == id).expect("a delivery");
        received.path.split_once(TOKEN).expect("a token").1.to_owned()
    };
    let tokens = ["EV_1", "EV_2", "EV_3", "EV_4", "EV_5", "EV_6"].map(token);
    assert_eq!(tokens, ["file", "file", "api", "api", "api", "moved"]);
    assert_eq!(files_with_a_token(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_an_older_release_stored_in_plain_text_is_read_and_sealed_at_the_start() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[]).await;
    let url = format!("{}?token={TOKEN}old", tenant.url());
    let operator = Client::operator(&world);
    let hook = json!({ "tenant": "b", "url": url });
    assert_eq!(operator.put("/v1/hooks/b.example", &hook).await.status, 201);
    world.stop().await;
    store(&world).execute("UPDATE hooks SET url = ?1, sum = NULL", [&url]).expect("as it was");
    store(&world).pragma_update(None, "user_version", 3).expect("as it was");
    assert_ne!(files_with_a_token(&world), [""; 0]);
    world.start().await;
    assert_eq!(world.post(&joined("EV_1", "c", "b.example")).await.status, 200);
    assert!(tenant.wait_for(1).await[0].path.ends_with("hush-old"));
    world.stop().await;
    assert_eq!(files_with_a_token(&world), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_never_sent_without_its_query_and_goes_on_with_the_older_secret_as_a_second_line() {
    let tenant = Tenant::answering([Reply::Status(410)]).await;
    let mut world = World::with_moved_time(&[]).await;
    let operator = Client::operator(&world);
    let hook = json!({ "tenant": "b", "url": format!("{}?token={TOKEN}api", tenant.url()) });
    assert_eq!(operator.put("/v1/hooks/b.example", &hook).await.status, 201);
    assert_eq!(world.post(&joined("EV_1", "c", "b.example")).await.status, 200);
    tenant.wait_for(1).await;
    let secret = fs::read_to_string(world.path("data/master.secret")).expect("a secret");
    let other = "o".repeat(secret.trim().len().max(32));
    for (lines, count) in [(other.clone(), 1), (format!("{other}\n{}", secret.trim()), 2)] {
        world.stop().await;
        fs::write(world.path("data/master.secret"), lines).expect("written");
        world.start().await;
        let resumed = world.api_post("/v1/hooks/b.example/resume").await.0;
        assert_eq!(resumed == 200, count == 2, "{resumed}");
        if count == 1 {
            assert_eq!(world.ready().await.1["reasons"], json!(["unreadable_hooks"]));
        }
        tenant.wait_for(count).await;
    }
    assert!(tenant.received().iter().all(|received| received.path.ends_with("hush-api")));
}
