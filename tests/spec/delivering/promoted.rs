//! A tenant of its own size: the shared router delivers to a router that is the tenant's alone.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use switchhook::Clock;

use crate::spec::world::recorded::{all, arrived, recordings, text};
use crate::spec::world::{RECORDED, Tenant, World};

/// A table of `examples/promoted/` with these URLs in the order of its hooks.
fn table(name: &str, urls: &[&str]) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/promoted").join(name);
    let text = std::fs::read_to_string(path).expect("an example");
    let mut urls = urls.iter();
    let line = |line: &str| match line.split_once("url: ") {
        Some((indent, _)) if !indent.contains('#') => {
            format!("{indent}url: {}\n", urls.next().expect("a URL"))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A router with this table on this clock. Its secret is in a file beside the table, as in the examples.
async fn router(clock: &Clock, hooks: &str, extra: &[&str]) -> World {
    let mut world = World::at(clock.clone(), "hooks: []\n", extra).await;
    world.stop().await;
    std::fs::write(world.path("acme-router.secret"), "the-key-between-the-two-routers-0001")
        .expect("a secret");
    world.hooks(hooks);
    world.start().await;
    world
}

/// Posts recorded calls as LiveKit did.
async fn play(world: &World, calls: &BTreeMap<String, Vec<Value>>) {
    for post in calls.values().flatten() {
        assert_eq!(world.post(text(post, "body")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_recorded_calls_arrive_through_two_routers_in_order_and_once() {
    let (acme, globex, clock) = (Tenant::open().await, Tenant::open().await, Clock::manual(RECORDED));
    // The own router comes back at the address it had. No other test listens at 127.0.0.77.
    let reserved = TcpListener::bind("127.0.0.77:0").expect("a port");
    let address = reserved.local_addr().expect("an address").to_string();
    drop(reserved);
    let mut own = router(&clock, &table("own.yaml", &[&acme.url()]), &["--listen", &address]).await;
    let urls = [own.url("/webhook/livekit/acme"), globex.url()];
    let shared = router(&clock, &table("shared.yaml", &urls.each_ref().map(String::as_str)), &[]).await;

    let folder = recordings();
    let mut rest = all(&folder);
    let whole = rest.clone();
    let later = rest.split_off("inbound-x-headers");
    play(&shared, &rest).await;
    // The own router is away for a while. The shared one keeps acme's events meanwhile.
    own.stop().await;
    play(&shared, &later).await;
    shared.measures("breaker_open{tenant=\"acme\"} 1").await;
    own.start().await;
    let due = crate::spec::world::recorded::rows(&folder);
    let due = due.iter().filter(|row| row[3] == "calls.acme.example").count();
    shared.advance_until(Duration::from_millis(200), || acme.count() >= due).await;

    arrived(&folder, "calls.acme.example", &acme, &whole, Some("url")).await;
    arrived(&folder, "voice.globex.example", &globex, &whole, None).await;
}
