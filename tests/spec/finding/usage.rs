//! Usage per tenant and day.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{
    Client, PATIENCE, Process, RECORDED, Reply, Tenant, World, event, joined, judge, table,
};

/// Events, deliveries, attempts and bytes, by day and tenant.
type Usage = BTreeMap<(String, String), [i64; 4]>;

/// What a list of lines says.
fn read(lines: &Value) -> Usage {
    let line = |line: &Value| {
        let text = |name: &str| line[name].as_str().expect("text").to_owned();
        let number = |name: &str| line[name].as_i64().or_else(|| line[name].as_str()?.parse().ok());
        let counts =
            ["events", "deliveries", "attempts", "bytes"].map(|name| number(name).expect("a number"));
        ((text("day"), text("tenant")), counts)
    };
    lines.as_array().unwrap_or_else(|| panic!("{lines}")).iter().map(line).collect()
}

fn expected<const N: usize>(lines: [(&str, &str, [i64; 4]); N]) -> Usage {
    lines.into_iter().map(|(day, tenant, counts)| ((day.to_owned(), tenant.to_owned()), counts)).collect()
}

async fn usage(world: &World) -> Usage {
    let (status, page) = world.api("/v1/usage?from=2026-11-01").await;
    assert_eq!((status, &page["complete"]), (200, &json!(true)), "{page:#}");
    read(&page["usage"])
}

/// Posts an event; bytes of its body.
async fn post(world: &World, body: &str) -> i64 {
    assert_eq!(world.post(body).await.status, 200);
    body.len() as i64
}

async fn delivered(world: &World, id: &str) {
    world.story_later(Duration::from_millis(500), id, |story| story["state"] == "delivered").await;
}

/// Moves time until the counters have this line: the events of before are digested.
async fn digested(world: &World, line: &str) {
    let (began, line) = (Instant::now(), format!("switchhook_tenant_{line}"));
    loop {
        let (_, metrics) = world.api("/metrics").await;
        let metrics = metrics.as_str().expect("text");
        if metrics.lines().any(|told| told == line) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{line}\n{metrics}");
        world.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const TODAY: &str = "2026-11-21";
const TOMORROW: &str = "2026-11-22";

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_counted_for_each_tenant_at_once_and_the_same_when_it_is_digested_and_after_a_restart() {
    let (acme, globex) =
        (Tenant::open().await, Tenant::answering([Reply::Status(500), Reply::Status(503)]).await);
    let mut world = World::with_moved_time(&[("a.example", &acme), ("b.example", &globex)]).await;
    let (mut bytes, twice) = (0, joined("EV_1", "c", "a.example"));
    for n in 1..=3 {
        bytes += post(&world, &joined(&format!("EV_{n}"), "c", "a.example")).await;
    }
    post(&world, &twice).await;
    let of_globex = post(&world, &joined("EV_4", "d", "b.example")).await;
    let nobodys = post(&world, &joined("EV_5", "e", "nobody.example")).await;
    for id in ["EV_1", "EV_2", "EV_3", "EV_4"] {
        delivered(&world, id).await;
    }
    let expected = expected([
        (TODAY, "", [1, 0, 0, nobodys]),
        (TODAY, "a.example", [3, 3, 3, bytes]),
        (TODAY, "b.example", [1, 1, 3, of_globex]),
    ]);
    assert_eq!(usage(&world).await, expected);

    digested(&world, &format!("bytes_total{{tenant=\"a.example\"}} {bytes}")).await;
    digested(&world, "attempts_total{tenant=\"b.example\"} 3").await;
    world.measures("tenant_events_total{tenant=\"a.example\"} 3").await;
    world.measures("tenant_deliveries_total{tenant=\"b.example\"} 1").await;
    assert_eq!(usage(&world).await, expected);
    world.stop().await;
    world.start().await;
    assert_eq!(usage(&world).await, expected);
    let (_, page) = world.api("/v1/usage").await;
    let totals = json!({ "events": 5, "deliveries": 4, "attempts": 6, "bytes": bytes + of_globex + nobodys });
    assert_eq!(page["totals"], totals);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_midnight_in_utc_a_day_ends_also_for_an_event_that_is_tried_before_and_delivered_after_it() {
    let acme = Tenant::answering([Reply::Status(500)]).await;
    let world = World::with_moved_time(&[("a.example", &acme)]).await;
    // To 23:59:59.
    world.clock.advance(Duration::from_secs(18 * 3600 + 13 * 60 + 7));
    let bytes = post(&world, &joined("EV_1", "c", "a.example")).await;
    world.story("EV_1", |story| story["tries"] == 1).await;
    assert_eq!(usage(&world).await, expected([(TODAY, "a.example", [1, 0, 1, bytes])]));
    world.clock.advance(Duration::from_secs(20));
    delivered(&world, "EV_1").await;
    let later = post(&world, &joined("EV_2", "c", "a.example")).await;
    delivered(&world, "EV_2").await;
    let days = expected([(TODAY, "a.example", [1, 0, 1, bytes]), (TOMORROW, "a.example", [1, 2, 2, later])]);
    assert_eq!(usage(&world).await, days);
    digested(&world, "events_total{tenant=\"a.example\"} 2").await;
    assert_eq!(usage(&world).await, days);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrouted_event_is_nobodys_until_it_is_replayed_and_a_filtered_one_is_its_tenants() {
    let (acme, globex) = (Tenant::open().await, Tenant::open().await);
    let picky = |world: &str| {
        format!(
            "{world}  - host: b.example\n    url: {}\n    events: {{include: [participant_joined]}}\n",
            globex.url()
        )
    };
    let world = World::at(Clock::manual(RECORDED), &picky("hooks:\n"), &[]).await;
    let unrouted = post(&world, &joined("EV_1", "c", "a.example")).await;
    // It waits for its caller, whose hook does not want it.
    let filtered = post(&world, &event("EV_2", "room_started", "d")).await;
    let both = filtered + post(&world, &joined("EV_3", "d", "b.example")).await;
    delivered(&world, "EV_3").await;
    let nobodys = (TODAY, "", [1, 0, 0, unrouted]);
    let globexs = (TODAY, "b.example", [2, 1, 1, both]);
    assert_eq!(usage(&world).await, expected([nobodys, globexs]));
    digested(&world, "events_total{tenant=\"b.example\"} 2").await;
    assert_eq!(usage(&world).await, expected([nobodys, globexs]));

    world.clock.advance(Duration::from_secs(24 * 3600));
    world.hooks(&picky(&table(&[("a.example", &acme)])));
    world.reloaded(1).await;
    let (status, answer) = world.api_send("/v1/replays", &json!({ "unrouted": true })).await;
    assert_eq!((status, &answer["replayed"]), (200, &json!(1)));
    delivered(&world, "EV_1").await;
    let moved = [(TODAY, "a.example", [1, 0, 0, unrouted]), (TOMORROW, "a.example", [0, 1, 1, 0]), globexs];
    assert_eq!(usage(&world).await, expected(moved));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_listed_in_pages_and_whole_as_csv_and_a_tenant_sees_its_own() {
    let tenant = Tenant::open().await;
    let hosts = ["a.example", "b.example", "c.example"];
    let world = World::with_moved_time(&hosts.map(|host| (host, &tenant))).await;
    for (host, n) in hosts.into_iter().zip(1..) {
        post(&world, &joined(&format!("EV_{n}"), host, host)).await;
        delivered(&world, &format!("EV_{n}")).await;
    }
    post(&world, &joined("EV_4", "x", "nobody.example")).await;
    let all = usage(&world).await;
    assert_eq!(
        all.keys().map(|(_, tenant)| &**tenant).collect::<Vec<_>>(),
        ["", "a.example", "b.example", "c.example"]
    );

    let (operator, own) = (Client::operator(&world), Client::tenant(&world, "b.example", &["b.example"]));
    let (mut found, mut path) = (Usage::new(), "/v1/usage?limit=3".to_owned());
    for _ in 0..2 {
        let page = operator.get(&path).await.body;
        found.extend(read(&page["usage"]));
        path = format!("/v1/usage?limit=3&after={}", page["next"].as_str().unwrap_or_default());
    }
    assert_eq!(found, all);
    for query in ["after=x", "from=2026-12-01", "from=yesterday", "format=xml"] {
        assert_eq!(
            operator.get(&format!("/v1/usage?{query}")).await.refused(),
            (400, "malformed"),
            "{query}"
        );
    }

    let csv = operator.ask(reqwest::Method::GET, "/v1/usage", &[("accept", "text/csv")], &Value::Null).await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(
        csv.headers["content-disposition"],
        "attachment; filename=\"usage-2026-11-01-2026-11-21.csv\""
    );
    let rows = judge("python3", "csv_rows.py", csv.body.as_str().expect("text")).await;
    assert_eq!(read(&serde_json::from_str(&rows).expect("JSON")), all);

    let owns = |usage: &Usage| usage.keys().map(|(_, tenant)| tenant.clone()).collect::<Vec<_>>();
    let page = own.get("/v1/usage").await.body;
    assert_eq!(
        (owns(&read(&page["usage"])), &page["totals"]["events"]),
        (vec!["b.example".to_owned()], &json!(1))
    );
    let others = own.get("/v1/usage?tenant=a.example").await.body;
    assert_eq!((&others["usage"], &others["totals"]["events"]), (&json!([]), &json!(0)));
    assert_eq!(own.get("/v1/usage?tenant=").await.body["usage"], json!([]));
    let csv = own.get("/v1/usage?format=csv").await.body;
    assert_eq!(csv.as_str().expect("text").lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_sums_a_month_by_tenant_and_prints_days_and_csv() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[("a.example", &tenant), ("b.example", &tenant)]).await;
    let mut bytes = 0;
    for n in 1..=3 {
        bytes += post(&world, &joined(&format!("EV_{n}"), "c", "a.example")).await;
        delivered(&world, &format!("EV_{n}")).await;
    }
    let nobodys = post(&world, &joined("EV_4", "x", "nobody.example")).await;
    let sums = world.command(&["usage"]).await.out;
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let lines = [
        "tenant events delivered attempts bytes".to_owned(),
        format!("a.example 3 3 3 {bytes}"),
        format!("(nobody's) 1 0 0 {nobodys}"),
        format!("total 4 3 3 {}", separated(bytes + nobodys)),
    ];
    assert_eq!(words(&sums), words(&lines.join("\n")), "{sums}");
    let days = world.command(&["usage", "--by-day", "--month", "2026-11"]).await.out;
    assert!(days.contains("2026-11-21  a.example"), "{days}");
    let before = world.command(&["usage", "--month", "2026-10"]).await.out;
    assert_eq!(before, "nothing was used on these days\n");
    let csv = world.command(&["usage", "--csv", "--tenant", "a.example"]).await.out;
    assert_eq!(
        csv,
        format!("day,tenant,events,deliveries,attempts,bytes\n{TODAY},a.example,3,3,3,{bytes}\n")
    );
    let json = world.command(&["usage", "--json"]).await.out;
    assert!(json.lines().last().expect("a line").contains("\"complete\":true"), "{json}");
    assert_eq!(world.command(&["usage", "--month", "November"]).await.code, Some(2));
}

/// With a space between thousands.
fn separated(number: i64) -> String {
    if number < 1000 { number.to_string() } else { format!("{} {:03}", number / 1000, number % 1000) }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_moment_counts_nothing_twice_and_forgets_nothing() {
    let replies = (0..60).map(|n| Reply::Status(if n % 3 == 0 { 500 } else { 200 }));
    let (acme, globex) = (Tenant::answering(replies).await, Tenant::open().await);
    let hooks = table(&[("a.example", &acme), ("b.example", &globex)]);
    let hooks = format!("defaults: {{retry: {{initial: 50ms, max: 1s}}}}\n{hooks}");
    let mut world = World::at(Clock::system(), &hooks, &[]).await;
    world.stop().await;
    let (mut ids, mut bytes) = (Vec::new(), 0);
    for round in 0..4 {
        let process = Process::start(&world);
        for n in 0..12 {
            let id = format!("EV_{round}_{n}");
            let body = joined(&id, &format!("c{n}"), "a.example");
            bytes += body.len() as i64;
            process.post(body).await;
            ids.push(id);
        }
        if round == 1 {
            // Events are digested in order, so those before this one are, too.
            process.post(joined("EV_marker", "marker", "b.example")).await;
            counted(&world, &process, "events_total{tenant=\"b.example\"} 1").await;
        }
    }
    let process = Process::start(&world);
    let mut attempts = 0;
    for id in &ids {
        attempts += tries(&world, &process, id).await;
    }
    let (_, page) = world.api_at(&format!("http://{}/v1/usage?tenant=a.example", process.api_address)).await;
    let totals =
        json!({ "events": ids.len(), "deliveries": ids.len(), "attempts": attempts, "bytes": bytes });
    assert_eq!(page["totals"], totals);
}

/// How often an event was tried, once it is delivered.
async fn tries(world: &World, process: &Process, id: &str) -> i64 {
    let (url, began) = (format!("http://{}/v1/events/{id}", process.api_address), Instant::now());
    loop {
        let (_, story) = world.api_at(&url).await;
        if story["state"] == "delivered" {
            return story["tries"].as_i64().expect("a number");
        }
        assert!(began.elapsed() < PATIENCE, "{story:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the counters of a process have this line.
async fn counted(world: &World, process: &Process, line: &str) {
    let url = format!("http://{}/metrics", process.api_address);
    let (began, line) = (Instant::now(), format!("switchhook_tenant_{line}"));
    while !world.api_at(&url).await.1.as_str().expect("text").lines().any(|told| told == line) {
        assert!(began.elapsed() < PATIENCE, "{line}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
