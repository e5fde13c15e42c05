//! A disk changes bytes of the store, or somebody does: nobody gets what was not meant for them.

use std::time::Duration;

use serde_json::json;

use crate::spec::finding::keep::store;
use crate::spec::world::{Client, Reply, Tenant, World, event, joined};

/// A delivery that failed once, and waits for its second attempt.
async fn waiting(world: &World, id: &str, tenant: &Tenant) {
    tenant.reply(Reply::Status(500));
    assert_eq!(world.post(&joined(id, id, "a.example")).await.status, 200);
    world.story(id, |story| story["tries"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_body_or_row_was_altered_is_a_dead_letter_and_others_go_on() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let world = World::with_moved_time(&[("a.example", &tenant), ("b.example", &other)]).await;
    for (id, altered) in [
        ("EV_1", "UPDATE ring SET body = replace(body, 'EV_1', 'EV_9')"),
        (
            "EV_2",
            "UPDATE bodies SET body = replace(body, 'EV_2', 'EV_9'); UPDATE ring SET body = x'00' WHERE seq = 2",
        ),
        (
            "EV_3",
            "UPDATE events SET hook = (SELECT id FROM hooks WHERE host = 'b.example') WHERE id = 'EV_3'",
        ),
        ("EV_4", "UPDATE events SET sequence = 7 WHERE id = 'EV_4'"),
        ("EV_5", "DELETE FROM ring; DELETE FROM bodies"),
        ("EV_6", "UPDATE events SET id = 'EV_0' WHERE id = 'EV_6'"),
    ] {
        waiting(&world, id, &tenant).await;
        store(&world).execute_batch(altered).expect("altered");
        let id = if id == "EV_6" { "EV_0" } else { id };
        let story = world.story_later(Duration::from_secs(1), id, |story| story["state"] == "dead").await;
        assert_eq!(story["reason"], "damaged", "{altered}: {story:#}");
    }
    assert_eq!((tenant.count(), other.count()), (6, 0), "the first attempts");
    world.measures("dead_letters_total{reason=\"damaged\"} 6").await;
    world.measures("store_damage_total{table=\"events\"} 6").await;
    assert_eq!(world.ready().await.1["reasons"], json!(["damaged"]));
    world.logs(&["a stored row is damaged", "switchhook store recover"]).await;
    waiting(&world, "EV_7", &tenant).await;
    world.advance_until(Duration::from_secs(1), || tenant.count() == 8).await;
}

/// A disk changes the state of rows, and nothing else.
fn misstate(world: &World, state: i64, of: &str) {
    let alter = format!("UPDATE events SET state = {state} WHERE {of}");
    assert!(store(world).execute(&alter, []).expect("altered") > 0, "{of}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_delivered_though_the_disk_says_that_it_was_delivered() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    waiting(&world, "EV_parked", &tenant).await;
    let paused = world.command(&["hooks", "pause", "a.example", "--yes"]).await;
    assert!(paused.success, "{}", paused.err);
    let parked = "SELECT count(*) FROM events WHERE parked = 1";
    let is_parked = || store(&world).query_row(parked, [], |row| row.get(0)) == Ok(1);
    world.advance_until(Duration::from_secs(5), is_parked).await;
    assert_eq!(world.post(&joined("EV_young", "young", "a.example")).await.status, 200);
    world.stop().await;
    misstate(&world, 1, "state = 0");
    world.start().await;
    let resumed = world.command(&["hooks", "resume", "a.example", "--yes"]).await;
    assert!(resumed.success, "{}", resumed.err);
    for id in ["EV_parked", "EV_young"] {
        world.story_later(Duration::from_secs(1), id, |story| story["state"] == "delivered").await;
    }
    world.measures("store_damage_total{table=\"events\"} 2").await;
    assert_eq!(world.ready().await.1["reasons"], json!(["damaged"]));
    world.stop().await;
    world.start().await;
    assert_eq!((world.ready().await.1["status"].clone(), tenant.count()), (json!("ready"), 3));
}

/// A sweep moves what waits out of the ring, and wipes the rest: rows whose states were altered before a start, and while the
/// router runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_pause_outlasts_the_sweeps_though_the_disk_says_that_it_was_delivered() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    let paused = world.command(&["hooks", "pause", "a.example", "--yes"]).await;
    assert!(paused.success, "{}", paused.err);
    for id in ["EV_ring", "EV_table"] {
        assert_eq!(world.post(&joined(id, id, "a.example")).await.status, 200);
    }
    world.stop().await;
    misstate(&world, 1, "state = 0");
    let moved = "INSERT INTO bodies SELECT seq, body FROM ring WHERE seq = 2; DELETE FROM ring WHERE seq = 2";
    store(&world).execute_batch(moved).expect("as if the row of the ring had been taken");
    world.start().await;
    world.measures("store_damage_total{table=\"events\"} 2").await;
    assert_eq!(world.post(&joined("EV_running", "c", "a.example")).await.status, 200);
    misstate(&world, 1, "id = 'EV_running'");
    let swept = "SELECT (SELECT seq FROM progress) = 3 AND NOT EXISTS (SELECT 1 FROM ring)";
    let is_swept = || store(&world).query_row(swept, [], |row| row.get(0)) == Ok(true);
    world.advance_until(Duration::from_secs(5), is_swept).await;
    world.stop().await;
    world.start().await;
    let resumed = world.command(&["hooks", "resume", "a.example", "--yes"]).await;
    assert!(resumed.success, "{}", resumed.err);
    tenant.wait_for(3).await;
    for id in ["EV_ring", "EV_table", "EV_running"] {
        world.story_later(Duration::from_secs(1), id, |story| story["state"] == "delivered").await;
    }
    world.measures("store_damage_total{table=\"events\"} 3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_does_not_come_again_though_the_disk_says_that_it_waits() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[("a.example", &tenant)]).await;
    for id in ["EV_1", "EV_2"] {
        assert_eq!(world.post(&joined(id, id, "a.example")).await.status, 200);
        world.story(id, |story| story["state"] == "delivered").await;
    }
    world.stop().await;
    misstate(&world, 0, "state = 1");
    store(&world).execute("DELETE FROM ring WHERE seq = 2", []).expect("its body is gone");
    world.start().await;
    world.story_later(Duration::from_secs(1), "EV_1", |story| story["state"] == "delivered").await;
    let story = world.story_later(Duration::from_secs(1), "EV_2", |story| story["state"] == "dead").await;
    assert_eq!(story["reason"], "damaged");
    world.measures("store_damage_total{table=\"events\"} 2").await;
    assert_eq!(tenant.count(), 2);
}

/// A hook that was removed must not come back by itself: it would get what is another's now.
#[tokio::test(flavor = "multi_thread")]
async fn a_hook_comes_and_goes_by_no_altered_row() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[]).await;
    let acme = Client::tenant(&world, "acme", &["*.acme.example"]);
    for host in ["gone.acme.example", "here.acme.example"] {
        assert_eq!(acme.put(&format!("/v1/hooks/{host}"), &json!({ "url": tenant.url() })).await.status, 201);
    }
    let deleted = world.command(&["hooks", "delete", "gone.acme.example", "--yes"]).await;
    assert!(deleted.success, "{}", deleted.err);
    world.stop().await;
    let alter = "UPDATE hooks SET removed_at = iif(removed_at IS NULL, 9, NULL)";
    store(&world).execute_batch(alter).expect("altered");
    world.start().await;
    assert_eq!(world.ready().await.1["reasons"], json!(["unreadable_hooks", "damaged"]));
    world.measures("store_damage_total{table=\"hooks\"} 2").await;
    for (id, host) in [("EV_1", "gone.acme.example"), ("EV_2", "here.acme.example")] {
        assert_eq!(world.post(&joined(id, id, host)).await.status, 200);
        world.story(id, |story| story["reason"] == "no_hook").await;
    }
    assert_eq!(tenant.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_refuses_dead_letters_that_are_damaged_and_the_log_names_them() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    for id in ["EV_D1", "EV_D2"] {
        waiting(&world, id, &tenant).await;
        store(&world)
            .execute_batch(&format!("UPDATE ring SET body = replace(body, '{id}', 'EV_D9')"))
            .expect("altered");
        world.story_later(Duration::from_secs(1), id, |story| story["state"] == "dead").await;
    }
    let named = ["dead letter", "event_id", "EV_D2", "tenant", "host", "a.example", "damaged"];
    world.logs(&named).await;
    let said = world.command(&["replay", "--dead", "--yes"]).await;
    assert!(said.code == Some(1) && said.out.contains("2 cannot be sent"), "{}{}", said.out, said.err);
    assert!(said.out.starts_with("0 dead letters "), "{}", said.out);
    let said = world.command(&["replay", "EV_D1", "--json"]).await;
    assert!(said.code == Some(1) && said.out.contains("was altered"), "{}{}", said.out, said.err);
    let (status, problem) = world.api_send("/v1/deliveries/EV_D1/replay", &json!({})).await;
    assert_eq!((status, &problem["reason"]), (409, &json!("damaged")), "{problem:#}");
    // What is whole goes out beside it.
    assert_eq!(world.post(&joined("EV_3", "c", "a.example")).await.status, 200);
    tenant.wait_for(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_altered_while_it_waited_for_its_call_is_not_released_with_it() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    for id in ["EV_1", "EV_2"] {
        assert_eq!(world.post(&event(id, "room_started", "c")).await.status, 200);
        world.story(id, |story| story["state"] == "held").await;
    }
    store(&world).execute("UPDATE bodies SET body = x'7b7d' WHERE seq = 1", []).expect("altered");
    assert_eq!(world.post(&joined("EV_3", "c", "a.example")).await.status, 200);
    tenant.wait_for(2).await;
    assert_eq!(tenant.ids(), ["EV_2", "EV_3"]);
    world.measures("store_damage_total{table=\"events\"} 1").await;
}

/// Its call's row says another tenant's hook.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_call_whose_row_was_altered_are_kept_as_damaged_and_go_to_nobody() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with_moved_time(&[("a.example", &tenant), ("b.example", &other)]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    tenant.wait_for(1).await;
    world.stop().await;
    let alter = |hook: &str| {
        let sql = format!("UPDATE calls SET hook = (SELECT id FROM hooks WHERE host = '{hook}')");
        store(&world).execute_batch(&sql).expect("altered");
    };
    alter("b.example");
    world.start().await;
    assert_eq!(world.post(&event("EV_2", "room_finished", "c")).await.status, 200);
    let story = world.story("EV_2", |story| story["state"] == "unrouted").await;
    assert_eq!(story["reason"], "damaged");
    world.measures("store_damage_total{table=\"calls\"} 1").await;
    assert_eq!((tenant.count(), other.count()), (1, 0));
    // The row is mended: the event goes where it belongs.
    world.stop().await;
    let alter = |hook: &str| {
        let sql = format!("UPDATE calls SET hook = (SELECT id FROM hooks WHERE host = '{hook}')");
        store(&world).execute_batch(&sql).expect("altered");
    };
    alter("a.example");
    world.start().await;
    let (status, _) = world.api_send("/v1/replays", &json!({ "unrouted": true })).await;
    assert_eq!(status, 200);
    tenant.wait_for(2).await;
    assert_eq!((tenant.ids(), other.count()), (vec!["EV_1".to_owned(), "EV_2".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_of_the_api_whose_row_was_altered_is_not_in_force_until_it_is_written_again() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with_moved_time(&[]).await;
    let hook = json!({ "url": tenant.url() });
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    assert_eq!(acme.put("/v1/hooks/calls.acme.example", &hook).await.status, 201);
    world.stop().await;
    let altered = format!("UPDATE hooks SET url = '{}'", other.url());
    store(&world).execute_batch(&altered).expect("altered");
    world.start().await;
    assert_eq!(world.post(&joined("EV_1", "c", "calls.acme.example")).await.status, 200);
    world.story("EV_1", |story| story["reason"] == "no_hook").await;
    assert_eq!(world.ready().await.1["reasons"], json!(["unreadable_hooks", "damaged"]));
    let acme = Client::tenant(&world, "acme", &["calls.acme.example"]);
    assert_eq!(acme.put("/v1/hooks/calls.acme.example", &hook).await.status, 200);
    assert_eq!(world.post(&joined("EV_2", "d", "calls.acme.example")).await.status, 200);
    tenant.wait_for(1).await;
    world.stop().await;
    world.start().await;
    assert_eq!((world.ready().await.1["status"].clone(), other.count()), (json!("ready"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_whose_row_was_altered_is_set_or_deleted_by_the_commands() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[]).await;
    let (url, hosts) = (tenant.url(), ["url.acme.example", "whose.acme.example", "gone.acme.example"]);
    for host in hosts {
        let set = world.command(&["hooks", "set", host, &url, "--tenant", "acme"]).await;
        assert!(set.success, "{}", set.err);
    }
    world.stop().await;
    for (column, host) in ["url", "tenant", "url"].into_iter().zip(hosts) {
        let alter = format!("UPDATE hooks SET {column} = {column} || 'x' WHERE host = '{host}'");
        store(&world).execute_batch(&alter).expect("altered");
    }
    world.start().await;
    let shown = world.command(&["hooks", "show", hosts[0]]).await;
    assert!(!shown.success && shown.err.contains("cannot be read"), "{}", shown.err);
    // Perhaps it is the tenant that was altered: nobody else gets the hook by a guess.
    let unnamed = world.command(&["hooks", "set", hosts[0], &url]).await;
    assert!(unnamed.code == Some(1) && unnamed.err.contains("name the tenant"), "{}", unnamed.err);
    for host in &hosts[..2] {
        let set = world.command(&["hooks", "set", host, &url, "--tenant", "acme"]).await;
        assert!(set.success, "{}", set.err);
    }
    let unasked = world.command(&["hooks", "delete", hosts[2]]).await;
    assert!(unasked.code == Some(1) && unasked.err.contains("--yes"), "{}", unasked.err);
    let deleted = world.command(&["hooks", "delete", hosts[2], "--yes"]).await;
    assert!(deleted.success && deleted.out.contains("is deleted"), "{}", deleted.err);
    let again = world.command(&["hooks", "delete", hosts[2], "--yes"]).await;
    assert!(again.code == Some(1) && again.err.contains("No hook has this host"), "{}", again.err);
    for (id, host) in ["EV_1", "EV_2"].into_iter().zip(hosts) {
        assert_eq!(world.post(&joined(id, id, host)).await.status, 200);
    }
    tenant.wait_for(2).await;
    world.stop().await;
    world.start().await;
    assert_eq!(world.ready().await.1["status"], "ready");
}
