//! A tenant's own URL, and its own LiveKit behind it.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::spec::world::{Answer, Tenant, World, event, joined, livekit_token, table, token_of};

const ACME: (&str, &str) = ("APIacme", "acme-s-own-livekit-secret");

/// A hook of the tenant `acme`, with its own LiveKit key.
fn acme(tenant: &Tenant) -> String {
    let (key, secret) = ACME;
    format!(
        "  - host: acme.example\n    tenant: acme\n    url: {}\n    livekit: {{key: {key}, secret: {secret}}}\n",
        tenant.url()
    )
}

/// As acme's own LiveKit posts.
async fn acme_posts(world: &World, body: &str) -> Answer {
    let token = token_of(ACME.0, ACME.1, body, world.clock.unix().seconds());
    world.post_to("/webhook/livekit/acme", body, &token).await
}

/// As the platform's LiveKit posts to a tenant's URL.
async fn platform_posts(world: &World, tenant: &str, body: &str) -> Answer {
    let token = livekit_token(body, world.clock.unix().seconds());
    world.post_to(&format!("/webhook/livekit/{tenant}"), body, &token).await
}

async fn metric(world: &World, line: &str) -> bool {
    world.api("/metrics").await.1.as_str().expect("text").contains(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tenant_is_404_before_its_body_is_read() {
    let world = World::with(&[]).await;
    let address = world.url("").replace("http://", "");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = "POST /webhook/livekit/nobody HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 404 "), "{}", String::from_utf8_lossy(&answer));
    assert!(metric(&world, "events_rejected_total{reason=\"unknown_tenant\"} 1").await);
    for name in ["ACME", "a b", "a/b"] {
        assert_eq!(platform_posts(&world, name, "{}").await.status, 404, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_its_own_livekit_needs_no_sip_at_all() {
    let tenant = Tenant::open().await;
    let world = World::at(switchhook::Clock::system(), &format!("hooks:\n{}", acme(&tenant)), &[]).await;
    let names = ["room_started", "participant_joined", "track_published", "room_finished", "egress_ended"];
    for (name, n) in names.iter().zip(1..) {
        assert_eq!(acme_posts(&world, &event(&format!("EV_{n}"), name, "web")).await.status, 200);
    }
    // Web egress has no room at all.
    assert_eq!(
        acme_posts(&world, &json!({ "event": "egress_ended", "id": "EV_6" }).to_string()).await.status,
        200
    );
    let received = tenant.wait_for(6).await;
    for (received, n) in received[..5].iter().zip(1..) {
        let n: i32 = n;
        assert_eq!(received.header("switchhook-route"), "url");
        assert_eq!((received.id(), received.header("switchhook-call")), (&*format!("EV_{n}"), "RM_web"));
        assert_eq!(received.header("switchhook-sequence"), n.to_string());
    }
    let story = world.story("EV_3", |story| story["state"] == "delivered").await;
    assert_eq!((&story["rule"], &story["call"]), (&json!("url"), &json!("RM_web")));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_tenants_own_keys_verify_at_its_url_and_nowhere_else() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let hooks = format!("{}{}", table(&[("b.example", &other)]), acme(&tenant));
    let world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    let body = event("EV_1", "room_started", "c");
    let answer = platform_posts(&world, "acme", &body).await;
    assert_eq!((answer.status, &*answer.reason), (401, "unknown_key"));
    let theirs = token_of(ACME.0, ACME.1, &body, world.clock.unix().seconds());
    for path in ["/webhook", "/webhook/livekit", "/webhook/livekit/b.example"] {
        let answer = world.post_to(path, &body, &theirs).await;
        assert_eq!((answer.status, &*answer.reason), (401, "unknown_key"), "{path}");
    }
    // A tenant without keys of its own goes by the platform's.
    assert_eq!(platform_posts(&world, "b.example", &body).await.status, 200);
    let received = other.wait_for(1).await;
    assert_eq!(received[0].header("switchhook-route"), "url");
    assert_eq!(tenant.count(), 0);
}

/// Whatever a tenant posts at its URL, ids and names of the platform's are not its to take.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_posts_binds_and_shadows_nothing_of_the_platforms() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let hooks = format!("{}{}", table(&[("b.example", &other)]), acme(&tenant));
    let mut world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    let named = |id: &str| json!({ "event": "ingress_ended", "ingressInfo": { "roomName": "c" }, "id": id });
    for body in
        [event("EV_1", "room_started", "c"), joined("EV_2", "c", "b.example"), named("EV_3").to_string()]
    {
        assert_eq!(acme_posts(&world, &body).await.status, 200);
    }
    assert_eq!(tenant.wait_for(3).await.len(), 3);
    world.stop().await;
    world.start().await;
    for body in
        [event("EV_1", "room_started", "c"), joined("EV_2", "c", "b.example"), named("EV_3").to_string()]
    {
        assert_eq!(world.post(&body).await.status, 200);
    }
    let received = other.wait_for(3).await;
    let told: Vec<_> = received.iter().map(|one| (one.id(), one.header("switchhook-sequence"))).collect();
    assert_eq!(told, [("EV_1", "1"), ("EV_2", "2"), ("EV_3", "3")]);
    // And the other way round: the platform's call is none of acme's.
    let track = json!({
        "event": "track_published", "room": { "sid": "RM_c", "name": "c" },
        "participant": { "sid": "PA_EV_2" }, "id": "EV_4",
    });
    assert_eq!(acme_posts(&world, &track.to_string()).await.status, 200);
    let received = tenant.wait_for(4).await;
    assert_eq!((received[3].id(), received[3].header("switchhook-sequence")), ("EV_4", "4"));
    assert_eq!(other.count(), 3);
    // What is asked for by its id is the platform's.
    let story = world.story("EV_1", |story| story["state"] == "delivered").await;
    assert_eq!(story["tenant"], "b.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hooks_the_rules_choose_and_else_the_first() {
    let (first, second, stranger) = (Tenant::open().await, Tenant::open().await, Tenant::open().await);
    let hooks = format!(
        "{}  - {{host: one.example, tenant: acme, url: '{}'}}\n  - {{host: two.example, tenant: acme, url: '{}'}}\n",
        table(&[("b.example", &stranger)]),
        first.url(),
        second.url()
    );
    let world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    let track = json!({
        "event": "track_published", "room": { "sid": "RM_c" }, "participant": { "sid": "PA_EV_2" }, "id": "EV_3",
    });
    for body in [
        event("EV_1", "room_started", "c"),
        joined("EV_2", "c", "two.example"),
        track.to_string(),
        joined("EV_4", "c", "b.example"),
        event("EV_5", "room_finished", "c"),
    ] {
        assert_eq!(platform_posts(&world, "acme", &body).await.status, 200);
    }
    first.wait_for(3).await;
    second.wait_for(2).await;
    assert_eq!(
        (first.ids(), second.ids()),
        (["EV_1", "EV_4", "EV_5"].map(String::from).to_vec(), ["EV_2", "EV_3"].map(String::from).to_vec())
    );
    assert_eq!(stranger.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_call_keeps_its_destination_at_the_url_of_a_tenant_that_was_removed() {
    let tenant = Tenant::open().await;
    let mut world = World::at(switchhook::Clock::system(), &format!("hooks:\n{}", acme(&tenant)), &[]).await;
    assert_eq!(acme_posts(&world, &event("EV_1", "room_started", "c")).await.status, 200);
    tenant.wait_for(1).await;
    world.hooks("hooks: []\n");
    world.reloaded(1).await;
    assert_eq!(acme_posts(&world, &event("EV_2", "track_published", "c")).await.status, 200);
    tenant.wait_for(2).await;
    world.stop().await;
    world.start().await;
    assert_eq!(acme_posts(&world, &event("EV_3", "room_finished", "c")).await.status, 200);
    tenant.wait_for(3).await;
    // A new call has nowhere to go.
    assert_eq!(acme_posts(&world, &event("EV_4", "room_started", "d")).await.status, 200);
    let story = world.story("EV_4", |story| story["state"] == "unrouted").await;
    assert_eq!(story["reason"], "hook_removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_the_platforms_or_anothers_is_a_fault() {
    let tenant = Tenant::open().await;
    let hooks = format!("hooks:\n{}", acme(&tenant));
    let world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    let file = world.path("clash.yaml");
    let clash = format!(
        "{hooks}  - {{host: b.example, url: 'https://b.example/', livekit: {{key: {}, secret: x}}}}\n  \
         - {{host: c.example, url: 'https://c.example/', livekit: {{key: {}, secret: x}}}}\n",
        ACME.0,
        crate::spec::world::KEY
    );
    std::fs::write(&file, clash).expect("written");
    let checked = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["check", "--dev", "--json", "--keys-file"])
        .args([world.path("keys.yaml"), file])
        .output()
        .await
        .expect("check");
    let told = String::from_utf8_lossy(&checked.stdout);
    let faults: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let messages: Vec<_> = faults.iter().map(|fault| fault["message"].as_str().expect("text")).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("already another tenant's"), "{messages:?}");
    assert!(messages[1].contains("the platform's own key"), "{messages:?}");
    // Nor may the platform take a tenant's: the keys file that does is not put in force.
    let answer = world.post(&event("EV_1", "room_started", "c")).await;
    assert_eq!(answer.status, 200);
    let both = format!("{}: another\n{}: {}\n", ACME.0, crate::spec::world::KEY, crate::spec::world::SECRET);
    std::fs::write(world.path("keys.yaml"), both).expect("written");
    // It is seen by then.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let body = event("EV_2", "room_started", "c");
    assert_eq!(world.post(&body).await.status, 200);
    let theirs = token_of(ACME.0, "another", &body, world.clock.unix().seconds());
    assert_eq!(world.post_signed(&body, &theirs).await.status, 401);
    // Once the hooks file lets it go, the keys file is in force without being touched again.
    world.hooks(&table(&[("acme.example", &tenant)]));
    let began = std::time::Instant::now();
    while world.post_signed(&body, &theirs).await.status != 200 {
        assert!(began.elapsed() < crate::spec::world::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // One key with two secrets is a fault, too.
    let file = world.path("two.yaml");
    let twice =
        hooks.replace("acme.example", "other.example").replace(ACME.1, "another").replace("hooks:\n", "");
    std::fs::write(&file, format!("{hooks}{twice}")).expect("written");
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(["check", "--dev"])
        .arg(file)
        .output();
    let told = checked.expect("check").stdout;
    assert!(
        String::from_utf8_lossy(&told).contains("APIacme has another secret in line 5"),
        "{}",
        String::from_utf8_lossy(&told)
    );
}

/// Whoever was a tenant once still has its key. What it posts is nobody's, whoever has its domains now.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_tenant_posts_is_never_replayed_to_another() {
    let (former, victim) = (Tenant::open().await, Tenant::open().await);
    let world = World::at(switchhook::Clock::system(), &format!("hooks:\n{}", acme(&former)), &[]).await;
    assert_eq!(acme_posts(&world, &event("EV_1", "room_started", "live")).await.status, 200);
    former.wait_for(1).await;
    world.hooks("hooks: []\n");
    world.reloaded(1).await;
    for body in [event("EV_2", "room_started", "c"), joined("EV_3", "c", "new.example")] {
        assert_eq!(acme_posts(&world, &body).await.status, 200);
    }
    world.hooks(&table(&[("new.example", &victim)]));
    world.reloaded(2).await;
    for selection in [json!({ "unrouted": true }), json!({ "unrouted": true, "domain": "new.example" })] {
        let (_, replayed) = world.api_send("/v1/replays", &selection).await;
        assert_eq!((&replayed["matched"], &replayed["replayed"]), (&json!(0), &json!(0)), "{replayed}");
    }
    // A replay would have gone out before what is posted now.
    assert_eq!(world.post(&joined("EV_4", "d", "new.example")).await.status, 200);
    assert_eq!((victim.wait_for(1).await[0].id(), former.count()), ("EV_4", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_a_tenant_that_was_removed_is_closed_unless_a_call_goes_on() {
    let tenant = Tenant::open().await;
    let world = World::at(switchhook::Clock::system(), &format!("hooks:\n{}", acme(&tenant)), &[]).await;
    world.hooks("hooks: []\n");
    world.reloaded(1).await;
    assert_eq!(acme_posts(&world, &event("EV_1", "room_started", "c")).await.status, 404);
}

/// An operator who asks for a name gets the platform's.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_names_do_not_hide_the_platforms_from_the_operator() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let hooks = format!("{}{}", table(&[("b.example", &other)]), acme(&tenant));
    let world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
    let named = |id: &str, sid: &str, name: &str| {
        json!({ "event": "room_started", "id": id, "room": { "sid": sid, "name": name } }).to_string()
    };
    assert_eq!(world.post(&named("EV_1", "RM_p", "user@100")).await.status, 200);
    assert_eq!(acme_posts(&world, &named("EV_2", "user@100", "user@100")).await.status, 200);
    assert_eq!(acme_posts(&world, &named("EV_3", "RM_a", "desk")).await.status, 200);
    let call = async |name: &str| world.api(&format!("/v1/calls/{name}")).await.1["call"]["call"].clone();
    assert_eq!(call("user@100").await, "RM_p");
    assert_eq!(call("user@100@acme").await, "user@100");
    assert_eq!((call("desk").await, call("RM_a").await), (json!("RM_a"), json!("RM_a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_tenants_posts_per_second_its_url_says_try_again_and_others_notice_nothing() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let limits = "limits: {tenants: {acme: {posts: 3}}}\n";
    let hooks = format!(
        "{limits}hooks:\n{}{}",
        acme(&tenant),
        table(&[("b.example", &other)]).replace("hooks:\n", "")
    );
    let world = World::at(switchhook::Clock::manual(crate::spec::world::RECORDED), &hooks, &[]).await;
    let post = async |n: usize| acme_posts(&world, &event(&format!("EV_{n}"), "room_started", "web")).await;
    for n in 0..3 {
        assert_eq!(post(n).await.status, 200);
    }
    let refused = post(3).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (429, Some("1")));
    assert!(metric(&world, "events_rejected_total{reason=\"too_often\"} 1").await);
    world.logs(&["refused", "reason=\"too_often\"", "url_of=\"acme\""]).await;
    assert_eq!(world.post(&joined("EV_b", "c", "b.example")).await.status, 200);
    other.wait_for(1).await;
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(post(3).await.status, 200);
    tenant.wait_for(4).await;
}
