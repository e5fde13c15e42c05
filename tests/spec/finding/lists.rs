//! Lists of deliveries, calls and what is unrouted: filters, pages that stay, exports.

use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{Client, RECORDED, Reply, Tenant, World, event, joined, table};

/// The ids of a page of deliveries.
fn ids(page: &Value) -> Vec<&str> {
    let listed = page["deliveries"].as_array().unwrap_or_else(|| panic!("no list: {page:#}"));
    listed.iter().filter_map(|one| one["id"].as_str()).collect()
}

/// Moves time until all events that came are in the index.
async fn until_indexed(world: &World) {
    let store = rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the store");
    let is_indexed = || {
        let indexed = "SELECT digested = (SELECT max(seq) FROM events) FROM progress";
        store.query_row(indexed, [], |row| row.get::<_, bool>(0)).is_ok_and(|indexed| indexed)
    };
    world.advance_until(Duration::from_secs(2), is_indexed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_newest_first_and_filtered_by_each_of_their_properties() {
    let (well, down) = (Tenant::open().await, Tenant::answering(vec![Reply::Status(503); 99]).await);
    let world = World::with_moved_time(&[("a.example", &well), ("b.example", &down)]).await;
    let began = world.clock.unix();
    for body in [
        joined("EV_1", "one", "a.example"),
        event("EV_2", "track_published", "one"),
        joined("EV_3", "two", "b.example"),
        joined("EV_4", "three", "nobody.example"),
    ] {
        assert_eq!(world.post(&body).await.status, 200);
        world.clock.advance(Duration::from_millis(10));
    }
    for (id, state) in [("EV_1", "delivered"), ("EV_2", "delivered"), ("EV_3", "pending")] {
        let tried = |story: &Value| story["state"] == state && story["tries"] != 0;
        world.story(id, tried).await;
    }
    let later = jiff::Timestamp::from_millisecond(began.0 + 20).expect("a time");
    let (since, until) = (format!("since={later}"), format!("until={later}"));
    let lists: [(&str, &[&str]); 19] = [
        ("", &["EV_3", "EV_2", "EV_1"]),
        ("tenant=a.example", &["EV_2", "EV_1"]),
        ("tenant=nobody", &[]),
        ("host=b.example", &["EV_3"]),
        ("host=A.example&tenant=b.example", &[]),
        ("event=track_published", &["EV_2"]),
        ("status=503", &["EV_3"]),
        ("status=5xx&host=b.example", &["EV_3"]),
        ("status=2xx", &["EV_2", "EV_1"]),
        ("status=404", &[]),
        ("state=pending", &["EV_3"]),
        ("status=delivered", &["EV_2", "EV_1"]),
        ("state=dead", &[]),
        ("call=RM_one", &["EV_2", "EV_1"]),
        ("call=two", &["EV_3"]),
        ("call=three", &[]),
        ("id=EV_1", &["EV_1"]),
        (&since, &["EV_3"]),
        (&until, &["EV_2", "EV_1"]),
    ];
    // Once while they are young, and once by the index.
    for _ in 0..2 {
        for (query, expected) in lists {
            let (status, page) = world.api(&format!("/v1/deliveries?{query}")).await;
            assert_eq!((status, &*ids(&page), &page["next"]), (200, expected, &Value::Null), "{query}");
        }
        until_indexed(&world).await;
    }
    let (_, page) = world.api("/v1/deliveries?id=EV_1").await;
    assert_eq!(page["deliveries"][0], world.api("/v1/events/EV_1").await.1);
    for wrong in ["status=6xx", "status=held", "state=held", "state=dead&status=dead", "since=now", "limit=0"]
    {
        assert_eq!(world.api(&format!("/v1/deliveries?{wrong}")).await.0, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_stays_what_it_was_while_new_events_come() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let posted = async |from: usize, to: usize| {
        for n in from..to {
            assert_eq!(world.post(&joined(&format!("EV_{n}"), "c", "a.example")).await.status, 200);
        }
        tenant.wait_for(to - 1).await;
    };
    posted(1, 8).await;
    for filter in ["", "&tenant=a.example", "&call=RM_c"] {
        let newest = ids(&world.api(&format!("/v1/deliveries?limit=1{filter}")).await.1)[0][3..].to_owned();
        let newest: usize = newest.parse().expect("a number");
        let (mut listed, mut after) = (Vec::new(), String::new());
        loop {
            let (_, page) = world.api(&format!("/v1/deliveries?limit=3{filter}{after}")).await;
            listed.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_i64() else { break };
            after = format!("&after={next}");
            let come = tenant.count();
            posted(come + 1, come + 3).await;
        }
        let expected: Vec<_> = (1..=newest).rev().map(|n| format!("EV_{n}")).collect();
        assert_eq!(listed, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lists_its_own_deliveries_only() {
    let (one, other) = (Tenant::open().await, Tenant::open().await);
    let world = World::with_moved_time(&[("a.example", &one), ("b.example", &other)]).await;
    // Of the shared call, each has the events of its own callers.
    for body in
        [joined("EV_a", "s", "a.example"), joined("EV_b", "s", "b.example"), joined("EV_o", "o", "b.example")]
    {
        assert_eq!(world.post(&body).await.status, 200);
    }
    other.wait_for(2).await;
    one.wait_for(1).await;
    for _ in 0..2 {
        let tenant = Client::tenant(&world, "a.example", &["a.example"]);
        for query in [
            "",
            "host=a.example",
            "call=RM_s",
            "call=s",
            "tenant=a.example",
            "id=EV_a",
            "event=participant_joined",
        ] {
            let page = tenant.get(&format!("/v1/deliveries?{query}")).await.body;
            assert_eq!(ids(&page), ["EV_a"], "{query}");
        }
        for query in
            ["host=b.example", "call=RM_o", "tenant=b.example", "id=EV_b", "state=dead", "state=pending"]
        {
            let page = tenant.get(&format!("/v1/deliveries?{query}")).await.body;
            assert_eq!(page, json!({ "deliveries": [], "next": null }), "{query}");
        }
        let calls = tenant.get("/v1/calls").await.body;
        assert_eq!((&calls["calls"][0]["call"], &calls["calls"][1]), (&json!("RM_s"), &Value::Null));
        until_indexed(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_many_hours_has_all_of_its_events_in_its_timeline() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    let mut expected = Vec::new();
    for hour in 0..20 {
        let (of_call, of_another) = (format!("EV_{hour}"), format!("EV_other_{hour}"));
        assert_eq!(world.post(&joined(&of_another, &format!("c{hour}"), "a.example")).await.status, 200);
        let body = if hour == 0 {
            joined(&of_call, "long", "a.example")
        } else {
            event(&of_call, "track_published", "long")
        };
        assert_eq!(world.post(&body).await.status, 200);
        for id in [&of_another, &of_call] {
            world.story(id, |story| story["state"] == "delivered").await;
        }
        expected.push(of_call);
        world.clock.advance(Duration::from_secs(3600));
    }
    until_indexed(&world).await;
    for name in ["RM_long", "long"] {
        let (_, timeline) = world.api(&format!("/v1/calls/{name}")).await;
        let events = timeline["events"].as_array().expect("events").iter();
        let listed: Vec<_> = events.map(|event| event["id"].as_str().expect("an id").to_owned()).collect();
        assert_eq!((&*listed, &timeline["truncated"]), (&*expected, &json!(false)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ended_long_ago_is_found_by_its_rooms_name() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant)]).await;
    for body in [joined("EV_1", "gone", "a.example"), event("EV_2", "room_finished", "gone")] {
        assert_eq!(world.post(&body).await.status, 200);
    }
    tenant.wait_for(2).await;
    until_indexed(&world).await;
    let store = rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the store");
    let is_forgotten = || {
        let calls = store.query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0));
        calls.is_ok_and(|calls| calls == 0)
    };
    world.advance_until(Duration::from_secs(120), is_forgotten).await;
    for name in ["RM_gone", "gone"] {
        let (_, page) = world.api(&format!("/v1/deliveries?call={name}")).await;
        assert_eq!(ids(&page), ["EV_2", "EV_1"], "{name}");
        let (_, timeline) = world.api(&format!("/v1/calls/{name}")).await;
        assert_eq!(
            (&timeline["call"], &timeline["events"][1]["id"]),
            (&Value::Null, &json!("EV_2")),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_replayed_after_it_was_indexed_is_found_at_its_new_hook() {
    let (old, new) = (Tenant::open().await, Tenant::open().await);
    let world = World::at(Clock::manual(RECORDED), &table(&[("a.example", &old)]), &[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "new.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "unrouted").await;
    until_indexed(&world).await;
    world.hooks(&table(&[("a.example", &old), ("new.example", &new)]));
    world.reloaded(1).await;
    let (status, answer) = world.api_send("/v1/replays", &json!({ "unrouted": true })).await;
    assert_eq!((status, &answer["replayed"]), (200, &json!(1)), "{answer:#}");
    new.wait_for(1).await;
    for query in ["tenant=new.example", "host=new.example", "call=RM_c"] {
        let (_, page) = world.api(&format!("/v1/deliveries?{query}")).await;
        assert_eq!(ids(&page), ["EV_1"], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_leaves_something_out_says_so_and_an_export_leaves_nothing_out() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    for n in 1..=5 {
        assert_eq!(world.post(&joined(&format!("EV_{n}"), &format!("c{n}"), "a.example")).await.status, 200);
    }
    tenant.wait_for(5).await;
    for list in ["deliveries", "calls"] {
        let said = world.command(&[list, "--limit", "2"]).await.out;
        assert!(said.contains("there are more: --limit, or --after "), "{said}");
        assert!(!world.command(&[list]).await.out.contains("there are more"));
        let said = world.command(&[list, "--limit", "2", "--json"]).await.out;
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(
            (lines.len(), lines[2]["next"].is_null(), lines[1]["next"].is_null()),
            (3, false, true),
            "{said}"
        );
        let next = lines[2]["next"].as_str().expect("a cursor").to_owned();
        let rest = world.command(&[list, "--after", &next, "--json"]).await.out;
        assert_eq!(rest.lines().count(), 3, "{rest}");
        let all = world.command(&[list, "--export", "--json"]).await;
        assert_eq!((all.out.lines().count(), all.success), (5, true), "{}{}", all.out, all.err);
    }
}
