//! What each kind of receiver gets, with time that is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::spec::world::{RECORDED, Reply, Tenant, World, joined, misbehaving};

const STEP: Duration = Duration::from_millis(50);
const HOST: &str = "a.example";

async fn post(world: &World, id: &str, call: &str) {
    assert_eq!(world.post(&joined(id, call, HOST)).await.status, 200);
}

fn state(story: &Value) -> &str {
    story["state"].as_str().unwrap_or_default()
}

fn attempts(story: &Value) -> Vec<(Option<u64>, Option<&str>)> {
    let attempts = story["attempts"].as_array().expect("attempts");
    attempts.iter().map(|attempt| (attempt["status"].as_u64(), attempt["error"].as_str())).collect()
}

/// Milliseconds between the beginnings of an event's attempts.
fn gaps(story: &Value) -> Vec<i64> {
    let attempts = story["attempts"].as_array().expect("attempts");
    attempts.windows(2).map(|pair| began_at(&pair[1]) - began_at(&pair[0])).collect()
}

/// When an attempt began, in Unix milliseconds.
fn began_at(attempt: &Value) -> i64 {
    let at: jiff::Timestamp = attempt["at"].as_str().expect("a time").parse().expect("RFC 3339");
    at.as_millisecond()
}

async fn attempted(world: &World, id: &str, count: usize) -> Value {
    world.story(id, |story| story["attempts"].as_array().is_some_and(|all| all.len() >= count)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_answers_500_twice_gets_it_again_after_half_a_second_and_a_second() {
    let tenant = Tenant::answering([Reply::Status(500), Reply::Status(500)]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    post(&world, "EV_1", "c").await;
    tenant.wait_for(1).await;
    world.advance_until(STEP, || tenant.count() == 3).await;
    let story = world.story("EV_1", |story| state(story) == "delivered").await;
    assert_eq!(attempts(&story), [(Some(500), None), (Some(500), None), (Some(200), None)]);
    let gaps = gaps(&story);
    // ±20 % of jitter, and the steps time is moved by.
    assert!((400..=700).contains(&gaps[0]) && (800..=1300).contains(&gaps[1]), "{gaps:?}");
    let received = tenant.received();
    let numbers: Vec<_> = received.iter().map(|received| received.header("switchhook-attempt")).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    assert!(received.iter().all(|received| received.id() == "EV_1"));
    assert_eq!(received[0].body, received[2].body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_takes_longer_than_ten_seconds_is_tried_again() {
    let tenant = Tenant::answering([Reply::Hang]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    post(&world, "EV_1", "c").await;
    tenant.wait_for(1).await;
    world.advance_until(STEP, || tenant.count() == 2).await;
    let story = world.story("EV_1", |story| state(story) == "delivered").await;
    let took = story["attempts"][0]["latency_ms"].as_f64().expect("a number");
    assert!((10_000.0..11_000.0).contains(&took), "{took} ms");
    assert_eq!(attempts(&story), [(None, Some("timeout")), (Some(200), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_reset_is_tried_again() {
    let resets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&resets);
    let (url, _server) = misbehaving(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut some = [0; 100];
            let _ = stream.read(&mut some).await;
            counted.fetch_add(1, Ordering::SeqCst);
            // With unread data in its buffer, closing a socket resets the connection.
        }
    })
    .await;
    let clock = Clock::manual(RECORDED);
    let world = World::at(clock, &format!("hooks:\n  - host: {HOST}\n    url: {url}\n"), &[]).await;
    post(&world, "EV_1", "c").await;
    world.advance_until(STEP, || resets.load(Ordering::SeqCst) >= 3).await;
    let story = attempted(&world, "EV_1", 2).await;
    assert_eq!(attempts(&story)[..2], [(None, Some("reset")), (None, Some("reset"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_drips_in_byte_by_byte_ends_with_the_attempts_deadline() {
    let clock = Clock::manual(RECORDED);
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let (url, _server) = misbehaving(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut some = [0; 4096];
            let _ = stream.read(&mut some).await;
            counted.fetch_add(1, Ordering::SeqCst);
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".iter().chain([b'x'; 900].iter()) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await;
    let world = World::at(clock, &format!("hooks:\n  - host: {HOST}\n    url: {url}\n"), &[]).await;
    post(&world, "EV_1", "c").await;
    world.advance_until(STEP, || begun.load(Ordering::SeqCst) >= 2).await;
    let story = attempted(&world, "EV_1", 1).await;
    assert_eq!(attempts(&story)[0], (None, Some("timeout")));
    assert!(gaps(&attempted(&world, "EV_1", 1).await).iter().all(|gap| *gap >= 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_ten_megabyte_answer_little_is_read_and_its_status_counts() {
    let tenant = Tenant::answering([Reply::Body(200, 10 << 20), Reply::Body(503, 10 << 20)]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    post(&world, "EV_1", "c").await;
    world.story("EV_1", |story| state(story) == "delivered").await;
    post(&world, "EV_2", "c").await;
    tenant.wait_for(2).await;
    world.advance_until(STEP, || tenant.count() == 3).await;
    let story = world.story("EV_2", |story| state(story) == "delivered").await;
    assert_eq!(attempts(&story), [(Some(503), None), (Some(200), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_not_followed() {
    let elsewhere = Tenant::open().await;
    let redirects = [301, 302, 307, 308].map(|code| Reply::With(code, "location", elsewhere.url()));
    let tenant = Tenant::answering(redirects).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    post(&world, "EV_1", "c").await;
    world.advance_until(STEP, || tenant.count() == 5).await;
    let story = world.story("EV_1", |story| state(story) == "delivered").await;
    let statuses: Vec<_> = attempts(&story).iter().filter_map(|(status, _)| *status).collect();
    assert_eq!(statuses, [301, 302, 307, 308, 200]);
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_410_the_hook_is_paused_and_what_waits_is_kept_until_it_is_resumed() {
    let tenant = Tenant::answering([Reply::Status(410)]).await;
    let other = Tenant::open().await;
    let mut world = World::with_moved_time(&[(HOST, &tenant), ("b.example", &other)]).await;
    post(&world, "EV_1", "c").await;
    attempted(&world, "EV_1", 1).await;
    post(&world, "EV_2", "c").await;
    // Another tenant's delivery: the dispatcher has seen what time it is.
    let dispatched = async |world: &World, id: &str| {
        assert_eq!(world.post(&joined(id, id, "b.example")).await.status, 200);
        world.story(id, |story| state(story) == "delivered").await;
    };
    // Longer than anything is kept: paused time does not age a delivery. A restart keeps the pause.
    world.clock.advance(Duration::from_secs(30 * 3600));
    dispatched(&world, "EV_3").await;
    world.stop().await;
    world.start().await;
    world.clock.advance(Duration::from_secs(30 * 3600));
    dispatched(&world, "EV_4").await;
    assert_eq!(tenant.ids(), ["EV_1"]);
    tenant.reply(Reply::Status(500));
    let (status, answer) = world.api_post(&format!("/v1/hooks/{HOST}/resume")).await;
    assert_eq!((status, &answer["paused_by"]), (200, &Value::Null));
    world.advance_until(STEP, || tenant.count() == 4).await;
    // The failure after the pause was no end: EV_1 is not 60 hours old, but seconds.
    assert_eq!(tenant.ids(), ["EV_1", "EV_1", "EV_1", "EV_2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_hook_goes_on_when_its_url_changes() {
    let (gone, back) = (Tenant::answering([Reply::Status(410)]).await, Tenant::open().await);
    let mut world = World::with(&[(HOST, &gone)]).await;
    post(&world, "EV_1", "c").await;
    attempted(&world, "EV_1", 1).await;
    world.stop().await;
    world.hooks(&crate::spec::world::table(&[(HOST, &back)]));
    world.start().await;
    assert_eq!(back.wait_for(1).await[0].id(), "EV_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_holds_the_lane_on_503_and_the_event_alone_otherwise() {
    let after = |status| Reply::With(status, "retry-after", "120".to_owned());
    let tenant = Tenant::answering([after(503)]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    post(&world, "EV_1", "c1").await;
    attempted(&world, "EV_1", 1).await;
    post(&world, "EV_2", "c2").await;
    let held = world.clock.unix();
    world.clock.advance(Duration::from_secs(119));
    world.advance_until(STEP, || tenant.count() == 3).await;
    // EV_1 by its attempts; EV_2, which had none before, by its only one.
    for id in ["EV_1", "EV_2"] {
        let story = world.story(id, |story| state(story) == "delivered").await;
        let last = began_at(story["attempts"].as_array().and_then(|all| all.last()).expect("an attempt"));
        assert!(last - held.0 >= 120_000, "{story:#}");
    }

    tenant.reply(after(500));
    post(&world, "EV_3", "c3").await;
    attempted(&world, "EV_3", 1).await;
    post(&world, "EV_4", "c4").await;
    assert_eq!(tenant.wait_for(5).await[4].id(), "EV_4");
    // Its answer must be in before time is moved, or the attempt takes two minutes.
    world.story("EV_4", |story| state(story) == "delivered").await;
    world.clock.advance(Duration::from_secs(119));
    world.advance_until(STEP, || tenant.count() == 6).await;
    assert_eq!(tenant.received()[5].id(), "EV_3");
    let story = world.story("EV_3", |story| state(story) == "delivered").await;
    assert!(gaps(&story)[0] >= 120_000, "{story:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_holds_its_call_for_thirty_seconds_and_no_other_call() {
    let tenant = Tenant::answering([Reply::Status(500)]).await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    post(&world, "EV_1", "c1").await;
    attempted(&world, "EV_1", 1).await;
    post(&world, "EV_2", "c1").await;
    post(&world, "EV_3", "c2").await;
    assert_eq!(tenant.wait_for(2).await[1].id(), "EV_3");
    // EV_1 fails on, at least until it has been tried for a seventh time: that is 25 to 38 s after the first, by
    // jitter. EV_2 passes it after 30 s, whichever of the two is answered 500 then.
    for _ in 0..6 {
        tenant.reply(Reply::Status(500));
    }
    let second = |tenant: &Tenant| tenant.ids().iter().any(|id| id == "EV_2");
    let before = world.clock.unix();
    let waited = || world.clock.unix().since(before);
    world.advance_until(STEP, || waited() >= Duration::from_secs(29)).await;
    assert!(!second(&tenant));
    // In small steps: time goes on while the attempt begins.
    world.advance_until(STEP / 5, || second(&tenant)).await;
    let story = attempted(&world, "EV_2", 1).await;
    let waited = began_at(&story["attempts"][0]) - before.0;
    assert!((30_000..33_000).contains(&waited), "{waited} ms");
    // EV_1 is still delivered, and not before.
    let story = world.story_later(Duration::from_secs(1), "EV_1", |story| state(story) == "delivered").await;
    let last = began_at(story["attempts"].as_array().and_then(|all| all.last()).expect("an attempt"));
    assert!(last - before.0 >= waited, "{story:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_for_a_day_is_a_dead_letter() {
    let tenant = Tenant::open().await;
    let world = World::with_moved_time(&[(HOST, &tenant)]).await;
    for _ in 0..1000 {
        tenant.reply(Reply::Status(500));
    }
    post(&world, "EV_1", "c").await;
    attempted(&world, "EV_1", 1).await;
    // Ten minutes and jitter at the most between two attempts.
    for _ in 0..((24 * 60) / 12 + 2) {
        let tried = tenant.count();
        world.clock.advance(Duration::from_secs(12 * 60));
        let settled = world.story("EV_1", |story| {
            state(story) == "dead" || story["attempts"].as_array().is_some_and(|all| all.len() > tried)
        });
        if state(&settled.await) == "dead" {
            break;
        }
    }
    let story = world.story("EV_1", |story| state(story) == "dead").await;
    assert_eq!(story["reason"], "expired");
    let (_, metrics) = world.api("/metrics").await;
    let dead = "switchhook_dead_letters_total{reason=\"expired\"} 1";
    assert!(metrics.as_str().expect("text").contains(dead));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_25_hours_stopped_everything_is_still_attempted() {
    let mut tenant = Tenant::open().await;
    tenant.close().await;
    let mut world = World::with_moved_time(&[(HOST, &tenant)]).await;
    for n in 0..20 {
        post(&world, &format!("EV_{n}"), &format!("c{}", n % 3)).await;
    }
    attempted(&world, "EV_0", 1).await;
    world.stop().await;
    world.clock.advance(Duration::from_secs(25 * 3600));
    let back = Tenant::open().await;
    world.hooks(&crate::spec::world::table(&[(HOST, &back)]));
    world.start().await;
    let received = back.wait_for(20).await;
    for call in 0..3 {
        let ids = received.iter().filter(|one| one.header("switchhook-call") == format!("RM_c{call}"));
        let numbers: Vec<usize> = ids.map(|one| one.id()[3..].parse().expect("a number")).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_routed_to_a_hook_that_is_removed_still_goes_there() {
    let tenant = Tenant::answering([Reply::Status(500)]).await;
    let secret = "whsec_dGhlLXNlY3JldC1vZi10ZXN0cy1hbG9uZS0wMDAx";
    let mut world = World::with(&[]).await;
    world.stop().await;
    world.hooks(&format!("{}    secret: {secret}\n", crate::spec::world::table(&[(HOST, &tenant)])));
    world.start().await;
    tenant.reply(Reply::Hang);
    post(&world, "EV_1", "c").await;
    attempted(&world, "EV_1", 1).await;
    world.stop().await;
    world.hooks("hooks: []\n");
    let tried = tenant.count();
    world.start().await;
    let received = tenant.wait_for(tried + 1).await;
    tenant.release();
    let last = received.last().expect("a delivery");
    let signed = format!("{}.{}.", last.header("webhook-id"), last.header("webhook-timestamp"));
    assert!(signed.starts_with("EV_1."));
    let input = super::signatures::delivery(secret, last);
    assert_eq!(crate::spec::world::judge("python", "standardwebhooks_verify.py", &input).await, "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_speaks_no_tls_or_is_not_there_is_said_to_be_so() {
    let plain = Tenant::open().await;
    let mut gone = Tenant::open().await;
    gone.close().await;
    let hooks = [("tls.example", plain.url().replace("http:", "https:")), ("gone.example", gone.url())];
    let hooks = hooks.map(|(host, url)| format!("  - host: {host}\n    url: {url}\n")).concat();
    let unknown = "  - host: dns.example\n    url: http://nowhere.invalid/\n";
    let world = World::at(Clock::system(), &format!("hooks:\n{hooks}{unknown}"), &[]).await;
    for (id, host, fault) in
        [("EV_1", "tls.example", "tls"), ("EV_2", "gone.example", "refused"), ("EV_3", "dns.example", "dns")]
    {
        assert_eq!(world.post(&joined(id, id, host)).await.status, 200);
        assert_eq!(attempts(&attempted(&world, id, 1).await)[0], (None, Some(fault)), "{host}");
    }
}

/// Whatever a signed event holds, it is taken, and what a caller wrote breaks no header.
#[tokio::test(flavor = "multi_thread")]
async fn odd_values_in_signed_events_do_no_harm() {
    let tenant = Tenant::open().await;
    let world = World::with(&[(HOST, &tenant)]).await;
    let odd = |id: &str, change: &dyn Fn(&mut Value)| {
        let mut event: Value = serde_json::from_str(&joined(id, "c", HOST)).expect("JSON");
        change(&mut event);
        event.to_string()
    };
    let long = "ü\r\nx: y%".repeat(5000);
    let bodies = [
        odd("EV_1", &|event| event["createdAt"] = i64::MIN.to_string().into()),
        odd("EV_2", &|event| event["createdAt"] = i64::MAX.to_string().into()),
        odd("EV_3", &|event| event["room"] = serde_json::json!({ "name": long })),
        odd("EV_4", &|event| event["event"] = long.clone().into()),
        odd("EV_5", &|event| event["participant"]["identity"] = long.clone().into()),
        odd("EV_6", &|event| event["room"] = Value::Null),
        "[1, 2]".to_owned(),
        "\u{0}".to_owned(),
        String::new(),
    ];
    for body in &bodies {
        assert_eq!(world.post(body).await.status, 200);
    }
    for received in tenant.wait_for(6).await {
        assert!(received.headers.iter().all(|(_, value)| value.len() < 8 << 10));
    }
}
