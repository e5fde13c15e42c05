//! Which bodies of delivered events stay, for how long, and that nobody reads them on the disk.

use std::time::{Duration, Instant};

use serde_json::json;
use switchhook::Clock;

use super::keep::{HOUR, delivered, hook, is, keeping, kept, resent, store, told, world};
use crate::spec::world::{Client, PATIENCE, RECORDED, Tenant, World, joined};

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_nothing_is_kept_and_the_row_stays_as_long_as_the_body() {
    let tenant = Tenant::open().await;
    let world = world(&[hook("a.example", &tenant, ", keep: 48h")]).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    // A second one, since the newest row stays in any case.
    delivered(&world, "EV_2", "d", "a.example").await;
    for _ in 0..45 {
        world.clock.advance(HOUR);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(resent(&world, "EV_1").await, 1);
    tenant.wait_for(3).await;
    is(&world, "EV_1", "delivered").await;
    world.clock.advance(4 * HOUR);
    assert_eq!(resent(&world, "EV_2").await, "past");
    world.advance_until(Duration::from_secs(20), || kept(&world).is_empty()).await;
    assert_eq!(resent(&world, "EV_1").await, "past");
    // It ages from when it was sent again.
    world.clock.advance(23 * HOUR);
    world.story_later(Duration::from_secs(20), "EV_1", |story| story["status"] == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_keep_holds_for_what_is_kept_and_the_operator_may_forbid_it() {
    let tenants = [Tenant::open().await, Tenant::open().await];
    let hooks = |keep: &str| {
        let hooks = [hook("a.example", &tenants[0], keep), keeping("b.example", &tenants[1])];
        format!("hooks:\n{}", hooks.concat())
    };
    let world = World::at(Clock::manual(RECORDED), &hooks(", keep: 24h"), &[]).await;
    delivered(&world, "EV_1", "c", "a.example").await;
    delivered(&world, "EV_2", "d", "b.example").await;
    world.clock.advance(2 * HOUR);
    delivered(&world, "EV_3", "e", "a.example").await;
    world.hooks(&hooks(", keep: 1h"));
    world.reloaded(1).await;
    assert_eq!(resent(&world, "EV_1").await, "past");
    world.advance_until(Duration::from_secs(20), || kept(&world) == ["EV_2", "EV_3"]).await;
    world.hooks(&hooks(""));
    world.reloaded(2).await;
    world.advance_until(Duration::from_secs(20), || kept(&world) == ["EV_2"]).await;

    world.hooks(&format!("limits: {{keep: 0s}}\n{}", hooks("")));
    let operator = Client::operator(&world);
    let began = Instant::now();
    while world.ready().await.1["status"] == "ready" {
        assert!(began.elapsed() < PATIENCE, "the faulty file was not noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.logs(&["`limits.keep` permits none"]).await;
    world.hooks(&format!("limits: {{keep: 1h}}\n{}", hooks("").replace("24h", "1h")));
    world.reloaded(3).await;
    let spec = |keep: &str| json!({ "url": "https://acme.example/hook", "tenant": "acme", "keep": keep });
    let refused = operator.put("/v1/hooks/c.example", &spec("2h")).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["field"]), (422, &json!("keep")));
    assert!(refused.body.to_string().contains("at most 1h (`limits.keep`)"), "{}", refused.body);
    let put = operator.put("/v1/hooks/c.example", &spec("30m")).await;
    assert_eq!((put.status, &put.body["keep"]), (201, &json!("30m")), "{}", put.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_cannot_be_read_on_the_disk_nor_exchanged() {
    let tenant = Tenant::open().await;
    let mut world = world(&[keeping("a.example", &tenant)]).await;
    for id in ["EV_1", "EV_2", "EV_3", "EV_4"] {
        let body = joined(id, id, "a.example").replacen('{', r#"{"card":"4711-0815-4711","#, 1);
        assert_eq!(world.post(&body).await.status, 200);
        is(&world, id, "delivered").await;
    }
    world.stop().await;
    // What waited was stored as it is; what stays is not.
    let changed = store(&world);
    let plain = "SELECT count(*) FROM kept_bodies WHERE instr(body, CAST('4711-0815' AS BLOB))";
    assert_eq!(changed.query_row(plain, [], |row| row.get(0)), Ok(0));
    changed
        .execute_batch(
            "CREATE TEMP TABLE two AS SELECT seq, body FROM kept_bodies WHERE seq <= 2;
             UPDATE kept_bodies SET body = (SELECT body FROM two WHERE seq <> kept_bodies.seq) WHERE seq <= 2;
             DELETE FROM ring; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .expect("exchanged");
    // A bit of the third is another one.
    let mut third: Vec<u8> = changed
        .query_row("SELECT body FROM kept_bodies WHERE seq = 3", [], |row| row.get(0))
        .expect("a body");
    third[40] ^= 1;
    changed.execute("UPDATE kept_bodies SET body = ?1 WHERE seq = 3", [&third]).expect("changed");
    drop(changed);
    for entry in std::fs::read_dir(world.path("data")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(9).any(|window| window == b"4711-0815"), "{}", path.display());
    }
    world.start().await;
    for id in ["EV_1", "EV_2", "EV_3"] {
        assert_eq!(resent(&world, id).await, "damaged", "{id}");
    }
    let (_, all) = world.api_send("/v1/replays", &json!({ "delivered": true })).await;
    assert_eq!([&all["matched"], &all["replayed"], &all["damaged"]], [&json!(4), &json!(1), &json!(3)]);
    let received = tenant.wait_for(5).await;
    assert_eq!(told(&received[3]), told(&received[4]));
    let said = world.command(&["replay", "--delivered", "--dry-run"]).await;
    assert!(
        said.out.contains("3 more cannot be sent") || said.out.contains("3 cannot be sent"),
        "{}",
        said.out
    );
}

/// Delivered from memory while the store takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_while_the_store_is_away_is_kept_too() {
    let tenant = Tenant::open().await;
    let hooks = format!("hooks:\n{}", keeping("a.example", &tenant));
    let world = World::at(Clock::system(), &hooks, &["--patience", "100ms"]).await;
    let held = store(&world);
    held.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    for id in ["EV_1", "EV_2"] {
        assert_eq!(world.post(&joined(id, id, "a.example")).await.status, 200);
    }
    tenant.wait_for(2).await;
    held.execute_batch("ROLLBACK").expect("released");
    for id in ["EV_1", "EV_2"] {
        world.story(id, |story| story["kept_until"].is_string()).await;
        assert_eq!(resent(&world, id).await, 1);
    }
    // Of different calls, they come in any order.
    let received = tenant.wait_for(4).await;
    for id in ["EV_1", "EV_2"] {
        let same: Vec<_> = received.iter().filter(|received| received.id() == id).map(told).collect();
        assert!(same.len() == 2 && same[0] == same[1], "{same:?}");
    }
}

/// Of those that are delivered from memory, 16 MiB wait for the store, of a tenant 4 MiB: no tenant's `keep` may take the
/// room of events, or of another tenant's bodies.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_so_many_bodies_wait_for_it_and_of_further_ones_it_is_said() {
    const EVENTS: usize = 10;
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let hooks = [keeping("not-kept.example", &tenant), keeping("b.example", &other)];
    let hooks = format!("hooks:\n{}", hooks.concat());
    let world = World::at(Clock::system(), &hooks, &["--patience", "100ms"]).await;
    let held = store(&world);
    held.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let padding = "x".repeat(1000 << 10);
    for n in 0..EVENTS {
        let id = format!("EV_{n}");
        let body = joined(&id, &id, "not-kept.example").replacen('{', &format!(r#"{{"x":"{padding}","#), 1);
        assert_eq!(world.post(&body).await.status, 200);
    }
    tenant.wait_for(EVENTS).await;
    world.logs(&["bodies of delivered events are not kept", "not-kept.example"]).await;
    assert_eq!(world.post(&joined("EV_other", "other", "b.example")).await.status, 200);
    other.wait_for(1).await;
    held.execute_batch("ROLLBACK").expect("released");
    for n in 0..EVENTS {
        is(&world, &format!("EV_{n}"), "delivered").await;
    }
    assert_eq!(resent(&world, "EV_other").await, 1);
    let kept = kept(&world).len() - 1;
    assert!((4..EVENTS).contains(&kept), "{kept}");
    world.measures(&format!("bodies_not_kept_total {}", EVENTS - kept)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_its_limit_gives_up_kept_bodies_before_what_was_never_delivered() {
    let tenant = Tenant::open().await;
    let hooks = format!("hooks:\n{}", keeping("a.example", &tenant));
    // Each of six has its body twice for a while: as it waited, and as it is kept.
    let world = World::at(Clock::manual(RECORDED), &hooks, &["--store-limit", "4"]).await;
    let large = |id: &str, host: &str| {
        joined(id, id, host).replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(400 << 10)), 1)
    };
    assert_eq!(world.post(&large("EV_unrouted", "nobody.example")).await.status, 200);
    for n in 0..6 {
        let id = format!("EV_{n}");
        assert_eq!(world.post(&large(&id, "a.example")).await.status, 200);
        is(&world, &id, "delivered").await;
    }
    world.advance_until(Duration::from_secs(20), || !kept(&world).contains(&"EV_0".to_owned())).await;
    let story = world.story("EV_unrouted", |_| true).await;
    assert_eq!((&story["state"], kept(&world).last()), (&json!("unrouted"), Some(&"EV_5".to_owned())));
}
