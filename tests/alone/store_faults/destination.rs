//! A kill -9 sends nothing elsewhere: a call keeps the URL it was bound to.

use serde_json::{Value, json};

use crate::world::{Process, Reply, Tenant, World, event, joined, table};

/// Where a hook leads is edited while the router runs, or while it is down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edited {
    Running,
    Down,
}

/// What the API tells of this path.
async fn told(world: &World, router: &Process, path: &str) -> Value {
    world.api_at(&format!("http://{}/v1/{path}", router.api_address)).await.1
}

/// The story of an event, once it is delivered.
async fn delivered(world: &World, router: &Process, id: &str) -> Value {
    router.line(|line| line["event_id"] == id && line["msg"] == "delivered").await;
    let began = std::time::Instant::now();
    loop {
        let story = told(world, router, &format!("events/{id}")).await;
        if story["state"] == "delivered" {
            return story;
        }
        assert!(began.elapsed() < crate::world::PATIENCE, "{story:#}");
    }
}

async fn in_flight_at_two_kills(edited: Edited) {
    let (before, after) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[("a.example", &before)]).await;
    world.stop().await;
    let router = Process::start(&world);
    router.post(joined("EV_1", "c", "a.example")).await;
    before.wait_for(1).await;
    delivered(&world, &router, "EV_1").await;
    before.reply(Reply::Hang);
    router.post(event("EV_2", "track_published", "c")).await;
    router.post(event("EV_3", "room_finished", "c")).await;
    before.wait_for(2).await;
    if edited == Edited::Running {
        world.hooks(&table(&[("a.example", &after)]));
        router.line(|line| line["msg"] == "hooks reloaded").await;
    }
    drop(router);
    world.hooks(&table(&[("a.example", &after)]));
    before.reply(Reply::Hang);
    let router = Process::start(&world);
    before.wait_for(3).await;
    drop(router);

    let router = Process::start(&world);
    before.wait_for(5).await;
    assert_eq!(before.ids(), ["EV_1", "EV_2", "EV_2", "EV_2", "EV_3"]);
    router.post(joined("EV_4", "d", "a.example")).await;
    after.wait_for(1).await;
    assert_eq!(after.ids(), ["EV_4"]);
    for (id, tenant) in [("EV_2", &before), ("EV_3", &before), ("EV_4", &after)] {
        let story = delivered(&world, &router, id).await;
        let urls = json!([story["url"], story["attempts"][0]["url"], story["attempts"][0]["number"]]);
        assert_eq!(urls, json!([tenant.url(), tenant.url(), 1]), "{story:#}");
        let line = router.line(|line| line["event_id"] == id && line["msg"] == "delivered").await;
        assert_eq!((&line["url"], &line["attempt"]), (&json!(tenant.url()), &json!(1)));
    }
    for (call, tenant, count) in [("RM_c", &before, 3), ("RM_d", &after, 1)] {
        let timeline = told(&world, &router, &format!("calls/{call}")).await;
        let events = timeline["events"].as_array().expect("events");
        assert_eq!((events.len(), &timeline["call"]["url"]), (count, &json!(tenant.url())), "{timeline:#}");
        for event in events {
            let urls = (&event["url"], &event["attempts"][0]["url"]);
            assert_eq!(urls, (&json!(tenant.url()), &json!(tenant.url())), "{timeline:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_in_flight_at_two_kills_in_a_row_keeps_its_calls_url() {
    let _turn = crate::turn().await;
    in_flight_at_two_kills(Edited::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_if_its_hook_was_edited_while_the_router_was_down() {
    let _turn = crate::turn().await;
    in_flight_at_two_kills(Edited::Down).await;
}
