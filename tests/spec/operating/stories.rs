//! What the commands say became of an event: sentences, not states.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{RECORDED, Reply, Tenant, World, event, joined, table};

async fn said(world: &World, args: &[&str]) -> String {
    let said = world.command(args).await;
    assert!(said.success, "{args:?}: {}", said.err);
    said.out
}

/// The row of this name.
fn row<'t>(text: &'t str, name: &str) -> &'t str {
    let row = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    row.unwrap_or_else(|| panic!("{name}: {text}")).strip_prefix(name).expect("the name").trim()
}

fn attempts(count: usize) -> impl Fn(&Value) -> bool {
    move |story| story["attempts"].as_array().is_some_and(|all| all.len() == count)
}

/// A call whose first event is held for 2 s and delivered, and whose second is given up.
async fn with_a_dead_letter() -> (World, Tenant) {
    let tenant = Tenant::answering([Reply::Status(200), Reply::Status(500), Reply::Status(500)]).await;
    let hooks =
        format!("defaults: {{retry: {{initial: 10m, max_age: 1m}}}}\n{}", table(&[("a.example", &tenant)]));
    let world = World::at(Clock::manual(RECORDED), &hooks, &[]).await;
    assert_eq!(world.post(&event("EV_1", "room_started", "c")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "held").await;
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.post(&joined("EV_2", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "delivered").await;
    world.story("EV_2", attempts(1)).await;
    world.clock.advance(Duration::from_secs(720));
    world.story("EV_2", |story| story["state"] == "dead").await;
    (world, tenant)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_replayed_dead_letter_events_and_calls_say_what_it_was_and_that_it_was_replayed() {
    let (world, tenant) = with_a_dead_letter().await;
    let dead = world.command(&["events", "EV_2"]).await.out;
    assert!(row(&dead, "state").starts_with("dead letter (expired): its attempts failed"), "{dead}");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(said(&world, &["replay", "EV_2", "--yes"]).await, "1 dead letter replayed\n");
    tenant.wait_for(4).await;
    let story = world.story("EV_2", |story| story["state"] == "delivered").await;
    let told = ["before_state", "before_reason", "reason", "held_ms"].map(|key| story[key].clone());
    assert_eq!(told, [json!("dead"), json!("expired"), Value::Null, Value::Null]);
    let (dead_at, replayed_at) = (&story["dead_at"], &story["replayed_at"]);
    assert!(dead_at.as_str() < replayed_at.as_str(), "{story:#}");

    let told = said(&world, &["events", "EV_2"]).await;
    let before = format!("dead letter (expired) at {}: ", dead_at.as_str().expect("a time"));
    assert!(row(&told, "before").starts_with(&before), "{told}");
    assert_eq!(row(&told, "replayed"), replayed_at.as_str().expect("a time"));
    assert!(row(&told, "state").starts_with("delivered, 13 min after it came"), "{told}");
    let rows: Vec<_> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(rows[rows.len() - 6..], ["attempt", "attempt", "before", "replayed", "attempt", "state"]);

    let call = said(&world, &["calls", "RM_c"]).await;
    let of = |name: &str| call.lines().find(|line| line.contains(name)).expect("a line").to_owned();
    let replayed =
        format!("was a dead letter (expired), replayed at {}", replayed_at.as_str().expect("a time"));
    assert!(of("participant_joined").ends_with(&replayed), "{call}");
    assert!(!of("participant_joined").contains("held"), "{call}");
    assert!(of("room_started").ends_with("held 2000 ms"), "{call}");
    assert!(call.contains("2 events, 2 delivered"), "{call}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_event_that_was_unrouted_and_replayed_they_say_why_it_had_no_hook() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    let told = said(&world, &["events", "EV_1"]).await;
    assert_eq!(row(&told, "state"), "unrouted (no_hook): no hook has the domain its caller dialled");
    world.hooks(&table(&[("a.example", &tenant)]));
    world.reloaded(1).await;
    said(&world, &["replay", "--unrouted", "--yes"]).await;
    let story = world.story("EV_1", |story| story["state"] == "delivered").await;
    let told = ["before_state", "before_reason", "dead_at", "held_ms"].map(|key| story[key].clone());
    assert_eq!(told, [json!("unrouted"), json!("no_hook"), Value::Null, Value::Null]);
    let told = said(&world, &["events", "EV_1"]).await;
    assert_eq!(row(&told, "before"), "unrouted (no_hook): no hook has the domain its caller dialled");
    assert_eq!(row(&told, "replayed"), story["replayed_at"].as_str().expect("a time"));
    let call = said(&world, &["calls", "RM_c"]).await;
    assert!(call.contains("was unrouted (no_hook), replayed at "), "{call}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_or_paused_says_what_it_waits_for() {
    let tenant = Tenant::answering([Reply::Status(410)]).await;
    let other = Tenant::open().await;
    let hooks = format!("{}    paused: true\n", table(&[("a.example", &tenant), ("b.example", &other)]));
    let world = World::at(Clock::system(), &hooks, &[]).await;
    assert_eq!(world.post(&event("EV_1", "room_started", "c")).await.status, 200);
    let told = said(&world, &["events", "EV_1"]).await;
    assert_eq!(
        row(&told, "state"),
        "held: it waits for the caller who decides which tenant its call belongs to"
    );
    assert!(said(&world, &["calls", "RM_c"]).await.contains(" held for its call "));
    for (id, host) in [("EV_2", "a.example"), ("EV_3", "b.example")] {
        assert_eq!(world.post(&joined(id, id, host)).await.status, 200);
        world.story(id, |story| !story["paused_since"].is_null()).await;
        assert_eq!(row(&said(&world, &["events", id]).await, "state"), "pending: its hook is paused");
    }
    let told = said(&world, &["events", "EV_2"]).await;
    assert!(row(&told, "paused").ends_with("answered 410: switchhook hooks resume a.example"), "{told}");
    let told = said(&world, &["events", "EV_3"]).await;
    assert!(row(&told, "paused").ends_with("by the hooks file: take `paused: true` out of it"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_finds_nothing_says_why() {
    let world = World::with(&[]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "a.example")).await.status, 200);
    world.story("EV_1", |story| story["state"] == "unrouted").await;
    for (args, sentence) in [
        (&["EV_1"][..], "EV_1 is not a dead letter, but unrouted (no_hook): no hook has the domain"),
        (&["EV_1"], "Its whole call is routed again by: switchhook replay --unrouted --call RM_c"),
        (&["EV_none"], "EV_none is no event that is stored"),
        (&["--dead"], "there are no dead letters"),
        (&["--dead", "--tenant", "acme"], "no dead letter passes the filters"),
        (
            &["--unrouted", "--domain", "b.example"],
            "no unrouted event that could have a hook passes the filters",
        ),
    ] {
        let said = world.command(&[&["replay", "--yes"], args].concat()).await;
        assert!(!said.success && said.err.contains(sentence), "{args:?}: {}", said.err);
    }
    let said = world.command(&["replay", "--yes", "--unrouted"]).await;
    let none = "0 unrouted events would be replayed\n1 has no hook yet: add the hook, then replay\n";
    assert_eq!((said.success, &*said.out), (false, none));
}

/// The commands of docs/running.md that ask the database, as SQL.
fn questions() -> Vec<&'static str> {
    let lines = include_str!("../../../docs/running.md").lines().map(str::trim);
    let commands = lines.filter_map(|line| line.strip_prefix("sqlite3 -readonly switchhook.db \""));
    commands.map(|command| command.strip_suffix('"').expect("a quoted question")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_one_line_an_event_in_the_database() {
    let (world, _tenant) = with_a_dead_letter().await;
    let down = Tenant::answering(vec![Reply::Status(503); 9]).await;
    let more = format!(
        "{}  - host: b.example\n    tenant: acme\n    url: {}\n",
        std::fs::read_to_string(world.path("hooks.yaml")).expect("hooks"),
        down.url()
    );
    world.hooks(&more);
    world.reloaded(1).await;
    for body in [joined("EV_3", "p", "b.example"), joined("EV_4", "u", "no.example")] {
        assert_eq!(world.post(&body).await.status, 200);
    }
    assert_eq!(world.post(&event("EV_5", "room_started", "h")).await.status, 200);
    let due = world.story("EV_3", attempts(1)).await["due"].as_str().expect("a time").to_owned();
    let store = Connection::open(world.path("data/switchhook.db")).expect("the database");
    let [all, of_tenant] = questions()[..] else { panic!("two questions") };
    let mut rows = store.prepare(all).expect("the view");
    let columns =
        ["received_at", "id", "event", "call", "room", "tenant", "host", "state", "reason", "what", "seq"];
    assert_eq!(rows.column_names().collect::<Vec<_>>(), columns);
    let told = rows.query_map([], |row| {
        let [id, tenant, host, state, reason, what] = ["id", "tenant", "host", "state", "reason", "what"]
            .map(|column| row.get::<_, Option<String>>(column));
        let words = [id?, tenant?, host?, state?, reason?, what?];
        Ok(words.map(|word| word.unwrap_or_else(|| "-".to_owned())).join(" | "))
    });
    let told: Vec<String> = told.expect("rows").collect::<Result<_, _>>().expect("rows");
    let expected = [
        "EV_5 | - | - | held | held | held: waits for its call".to_owned(),
        "EV_4 | - | - | unrouted | no_hook | unrouted: no_hook".to_owned(),
        format!(
            "EV_3 | acme | b.example | pending | domain | pending: attempt 1 failed with 503, next at {due}"
        ),
        "EV_2 | a.example | a.example | dead | expired | dead letter: expired: attempt 2 failed with 500 at "
            .to_owned(),
        "EV_1 | a.example | a.example | delivered | call | delivered: attempt 1 answered 200 at ".to_owned(),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(&expected) {
        assert!(told.starts_with(expected), "{told}");
    }
    assert!(told[4].ends_with("Z"), "{told:#?}");
    let mut rows = store.prepare(of_tenant).expect("the view");
    let at: Vec<String> =
        rows.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("rows");
    assert_eq!(at, [world.clock.unix().to_string()]);
}
