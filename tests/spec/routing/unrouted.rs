//! What had nowhere to go: seen, explained, and routed again once it is mended.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{RECORDED, Received, Tenant, World, event, joined, searched, table};

async fn post(world: &World, body: &str) {
    assert_eq!(world.post(body).await.status, 200);
}

/// An event of a participant that carries no attributes.
fn of(participant: &str, id: &str, name: &str, call: &str) -> String {
    let mut body: Value = serde_json::from_str(&event(id, name, call)).expect("JSON");
    body["participant"] = json!({ "sid": participant, "identity": participant.to_lowercase() });
    body.to_string()
}

/// A whole call of a caller who dialled `domain`.
fn whole(call: &str, domain: &str) -> Vec<String> {
    let id = |n: usize| format!("EV_{call}_{n}");
    vec![
        event(&id(1), "room_started", call),
        of("PA_agent", &id(2), "participant_joined", call),
        joined(&id(3), call, domain),
        of(&format!("PA_{}", id(3)), &id(4), "track_published", call),
        of("PA_agent", &id(5), "track_published", call),
        event(&id(6), "room_finished", call),
    ]
}

fn ids(call: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("EV_{call}_{n}")).collect()
}

async fn command(world: &World, args: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"))
        .args(args)
        .arg("--data")
        .arg(world.path("data"))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("switchhook");
    let output = searched(args, output);
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&told).into_owned())
}

/// As `serve` leaves it for the commands.
fn for_commands(world: &World) {
    std::fs::write(world.path("data/operator.token"), world.operator_token()).expect("a token");
    let address = world.api_url("").replace("http://", "");
    std::fs::write(world.path("data/api.address"), address).expect("an address");
}

/// Reason, domain, events and calls of a group of unrouted events.
fn counts(group: &Value) -> (&str, Option<&str>, Option<u64>, Option<u64>) {
    let reason = group["reason"].as_str().expect("text");
    (reason, group["domain"].as_str(), group["events"].as_u64(), group["calls"].as_u64())
}

/// All of a call came, as it was posted, in its order.
fn is_whole(received: &[Received], call: &str) {
    let of_call: Vec<_> =
        received.iter().filter(|one| one.header("switchhook-call") == format!("RM_{call}")).collect();
    assert_eq!(of_call.iter().map(|one| one.id().to_owned()).collect::<Vec<_>>(), ids(call, 6));
    let told = |name: &str| of_call.iter().map(|one| one.header(name).to_owned()).collect::<Vec<_>>();
    assert_eq!(told("switchhook-sequence"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(told("switchhook-route"), ["call", "call", "domain", "participant", "call", "call"]);
    let sent = whole(call, "calls.acme-typo.example");
    assert!(of_call.iter().zip(&sent).all(|(one, sent)| one.body == sent.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_the_hook_and_replaying_its_domain_delivers_the_whole_calls_in_order() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let world =
        World::at(Clock::system(), &table(&[("calls.acme.example", &other)]), &["--hold", "200ms"]).await;
    for call in ["c", "d"] {
        for body in whole(call, "calls.acme-typo.example") {
            post(&world, &body).await;
        }
    }
    post(&world, &event("EV_web", "room_started", "web")).await;
    for id in ["EV_c_1", "EV_c_5", "EV_d_6", "EV_web"] {
        world.story(id, |story| story["state"] == "unrouted").await;
    }
    let (_, page) = world.api("/v1/unrouted").await;
    let groups = page["unrouted"].as_array().expect("a list");
    let told: Vec<_> = groups.iter().map(counts).collect();
    assert_eq!(
        told,
        [
            ("no_hook", Some("calls.acme-typo.example"), Some(12), Some(2)),
            ("no_call", None, Some(1), Some(1)),
        ]
    );
    assert_eq!(groups[0]["nearest"], json!(["calls.acme.example"]));
    assert!(groups[0]["fix"].as_str().expect("text").contains("add the host"));

    for_commands(&world);
    let (_, listed) = command(&world, &["unrouted"]).await;
    assert!(listed.contains("calls.acme-typo.example") && listed.contains("--unrouted --domain"), "{listed}");
    // Nothing is done yet, whether it is asked for or not.
    let domain = ["--unrouted", "--domain", "Calls.Acme-Typo.example", "--yes"];
    let (_, early) = command(&world, &[&["replay"], &domain[..]].concat()).await;
    assert!(early.contains("0 unrouted events would be replayed"), "{early}");
    world.hooks(&table(&[("calls.acme.example", &other), ("calls.acme-typo.example", &tenant)]));
    world.reloaded(1).await;
    let (_, dry) = command(&world, &[&["replay", "--dry-run"], &domain[..]].concat()).await;
    assert!(dry.contains("12 unrouted events would be replayed"), "{dry}");
    assert_eq!(tenant.count(), 0);
    let (done, replayed) = command(&world, &[&["replay"], &domain[..]].concat()).await;
    assert!(done && replayed.contains("12 unrouted events replayed"), "{replayed}");
    let received = tenant.wait_for(12).await;
    for call in ["c", "d"] {
        is_whole(&received, call);
    }
    assert_eq!(other.count(), 0);
    let (_, page) = world.api("/v1/unrouted").await;
    assert_eq!(page["unrouted"].as_array().map(Vec::len), Some(1));
    // Asked again, nothing is sent twice.
    let (again, told) = command(&world, &[&["replay"], &domain[..]].concat()).await;
    assert!(!again && told.contains("no unrouted event that could have a hook passes the filters"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_goes_on_follows_what_was_replayed_of_it_and_a_bound_one_stays_whose_it_is() {
    let (tenant, other) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[("b.example", &other)]).await;
    let events = whole("c", "a.example");
    for body in &events[..4] {
        post(&world, body).await;
    }
    // In a room of b's, the same caller is nobody's.
    post(&world, &joined("EV_b", "b", "b.example")).await;
    post(&world, &joined("EV_s", "b", "a.example")).await;
    post(&world, &of("PA_EV_s", "EV_t", "track_published", "b")).await;
    world.story("EV_t", |story| story["domain"] == "a.example").await;
    world.hooks(&table(&[("a.example", &tenant), ("b.example", &other)]));
    world.reloaded(1).await;
    world.stop().await;
    world.start().await;
    let (_, replayed) =
        world.api_send("/v1/replays", &json!({ "unrouted": true, "domain": "a.example" })).await;
    assert_eq!(
        (&replayed["replayed"], &replayed["without_hook"], &replayed["calls"]),
        (&json!(6), &json!(0), &json!(2))
    );
    for body in &events[4..] {
        post(&world, body).await;
    }
    post(&world, &event("EV_f", "room_finished", "b")).await;
    other.wait_for(2).await;
    let received = tenant.wait_for(8).await;
    let of_call = |call: &str| {
        let of_call = received.iter().filter(|one| one.header("switchhook-call") == call);
        of_call.map(|one| one.id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((of_call("RM_c"), of_call("RM_b")), (ids("c", 6), vec!["EV_s".to_owned(), "EV_t".to_owned()]));
    assert_eq!(other.ids(), ["EV_b", "EV_f"]);
}

/// Before livekit-sip 1.1.1 the headers came after the participant had joined.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_old_livekit_sip_the_last_event_names_the_tenant_and_brings_the_whole_call() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    let early = json!({
        "event": "participant_joined", "room": { "sid": "RM_c", "name": "c" }, "id": "EV_2",
        "participant": { "sid": "PA_1", "kind": "SIP", "attributes": { "sip.ruleID": "SDR_x", "sip.trunkID": "ST_old" } },
    });
    let mut late: Value = serde_json::from_str(&joined("EV_5", "c", "a.example")).expect("JSON");
    late["event"] = "participant_left".into();
    late["participant"]["sid"] = "PA_1".into();
    for body in [
        event("EV_1", "room_started", "c"),
        early.to_string(),
        of("PA_1", "EV_3", "track_published", "c"),
        of("PA_agent", "EV_4", "participant_joined", "c"),
        late.to_string(),
        event("EV_6", "room_finished", "c"),
    ] {
        post(&world, &body).await;
    }
    // Its own earlier events came without headers, belonged to nobody, and are released with the rest.
    let received = tenant.wait_for(6).await;
    assert_eq!(tenant.ids(), ["EV_1", "EV_2", "EV_3", "EV_4", "EV_5", "EV_6"]);
    let rules: Vec<_> = received[1..3].iter().map(|one| one.header("switchhook-route")).collect();
    assert_eq!(rules, ["participant", "participant"]);
    let (_, page) = world.api("/v1/unrouted").await;
    assert_eq!(page["unrouted"], json!([]), "{page}");
}

/// The advice is as exact as the caller's own events.
#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_maps_no_header_is_named() {
    let world = World::with(&[]).await;
    let early = json!({
        "event": "participant_joined", "room": { "sid": "RM_c", "name": "c" }, "id": "EV_2",
        "participant": { "sid": "PA_1", "kind": "SIP", "attributes": { "sip.ruleID": "SDR_x", "sip.trunkID": "ST_old" } },
    });
    post(&world, &early.to_string()).await;
    post(&world, &of("PA_1", "EV_3", "track_published", "c")).await;
    let (_, page) = world.api("/v1/unrouted").await;
    let group = &page["unrouted"][0];
    assert_eq!((&group["reason"], &group["events"]), (&json!("no_domain"), &json!(2)));
    assert!(group["fix"].as_str().expect("text").starts_with("trunk ST_old maps no header"), "{group}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_comes_with_another_domain_is_remembered_told_and_counted() {
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[("a.example", &one), ("b.example", &two)]).await;
    let dialled = |id: &str, call: &str, domain: &str, number: &str| {
        let mut body: Value = serde_json::from_str(&joined(id, call, domain)).expect("JSON");
        body["participant"]["attributes"]["sip.trunkPhoneNumber"] = number.into();
        body.to_string()
    };
    post(&world, &dialled("EV_1", "c", "a.example", "+1 555 0101")).await;
    post(&world, &dialled("EV_2", "d", "a.example", "+15550101")).await;
    world.stop().await;
    world.start().await;
    post(&world, &dialled("EV_3", "e", "a.example", "15550101")).await;
    let count = async |world: &World| {
        let text = world.api("/metrics").await.1.as_str().expect("text").to_owned();
        let line =
            text.lines().find(|line| line.starts_with("switchhook_domain_changes_total ")).expect("it");
        line.rsplit(' ').next().expect("a number").to_owned()
    };
    assert_eq!(count(&world).await, "0");
    post(&world, &dialled("EV_4", "f", "b.example", "+15550101")).await;
    // The same event again, and the end of an older call, are no change.
    post(&world, &dialled("EV_2", "d", "a.example", "+15550101")).await;
    let left = dialled("EV_5", "c", "a.example", "+15550101").replace("PA_EV_5", "PA_EV_1");
    post(&world, &left.replace("participant_joined", "participant_left")).await;
    assert_eq!(count(&world).await, "1");
    world.stop().await;
    world.start().await;
    let expected = json!({
        "number": "15550101", "domain": "b.example", "tenant": "b.example",
        "before_domain": "a.example", "before_tenant": "a.example", "call": "RM_f",
    });
    for path in ["/v1/calls", "/v1/calls?tenant=a.example", "/v1/calls?tenant=b.example", "/v1/calls/RM_f"] {
        let (_, page) = world.api(path).await;
        let mut change = page["domain_changes"][0].clone();
        change.as_object_mut().expect("a change").remove("at");
        assert_eq!(change, expected, "{path}");
    }
    for path in ["/v1/calls/RM_c", "/v1/calls?tenant=c.example", "/v1/unrouted"] {
        assert_eq!(world.api(path).await.1["domain_changes"], json!([]), "{path}");
    }
    // What leads nowhere now stands under what is unrouted.
    post(&world, &dialled("EV_6", "g", "nobody.example", "+15550101")).await;
    let (_, page) = world.api("/v1/unrouted").await;
    let change = &page["domain_changes"][0];
    assert_eq!(
        (&change["domain"], &change["before_tenant"]),
        (&json!("nobody.example"), &json!("b.example"))
    );
    let said = world.command(&["unrouted", "--json"]).await;
    let last: Value = serde_json::from_str(said.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["domain_changes"][0]["domain"], &last["next"]),
        (&json!("nobody.example"), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calls_timeline_tells_every_event_and_where_it_went() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    for body in whole("c", "a.example").iter().chain(&whole("d", "nobody.example")) {
        post(&world, body).await;
    }
    tenant.wait_for(6).await;
    world.story("EV_c_6", |story| story["state"] == "delivered").await;
    for name in ["RM_c", "c"] {
        let (_, told) = world.api(&format!("/v1/calls/{name}")).await;
        assert_eq!((&told["call"]["call"], &told["call"]["tenant"]), (&json!("RM_c"), &json!("a.example")));
        let events = told["events"].as_array().expect("events");
        let states: Vec<_> = events
            .iter()
            .map(|event| {
                (event["id"].as_str().expect("id").to_owned(), event["state"].as_str().expect("state"))
            })
            .collect();
        let expected: Vec<_> = ids("c", 6).into_iter().map(|id| (id, "delivered")).collect();
        assert_eq!(states, expected);
        assert!(events[0]["held_ms"].is_i64() && events[0]["total_ms"].is_i64(), "{}", events[0]);
        assert_eq!(events[1]["who"], "pa_agent");
    }
    for_commands(&world);
    let (_, told) = command(&world, &["calls", "RM_c"]).await;
    assert!(
        told.contains("tenant a.example") && told.contains("6 events, 6 delivered") && told.contains("held "),
        "{told}"
    );
    let (_, listed) = command(&world, &["calls"]).await;
    assert!(
        listed.contains("RM_c") && listed.contains("RM_d") && listed.contains("1 unrouted caller"),
        "{listed}"
    );
    let (_, page) = world.api("/v1/calls?limit=1").await;
    assert_eq!(page["calls"][0]["call"], "RM_d");
    let (_, page) =
        world.api(&format!("/v1/calls?limit=1&after={}", page["next"].as_str().expect("next"))).await;
    assert_eq!(page["calls"][0]["call"], "RM_c");
    assert_eq!(world.api("/v1/calls/RM_x").await.0, 404);
}

/// Rooms that never see SIP are normal: their bodies go soon, their number stays.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_without_sip_stay_in_the_list_and_what_a_hook_may_be_added_for_is_all_there() {
    let (tenant, late) = (Tenant::open().await, Tenant::open().await);
    let hooks = [("a.example", &tenant), ("late.example", &late)];
    let world = World::at(Clock::manual(RECORDED), &table(&hooks[..1]), &[]).await;
    post(&world, &joined("EV_0", "b", "a.example")).await;
    world.story("EV_0", |story| story["state"] == "delivered").await;
    post(&world, &event("EV_1", "room_started", "web")).await;
    post(&world, &event("EV_2", "room_finished", "web")).await;
    for body in whole("c", "late.example") {
        post(&world, &body).await;
    }
    for id in ["EV_2", "EV_c_6"] {
        world.story_later(Duration::from_secs(1), id, |story| story["state"] == "unrouted").await;
    }
    // The round that removes what was delivered a day ago has looked after the rest, too.
    world.clock.advance(Duration::from_secs(25 * 3600));
    world.story_later(Duration::from_secs(10), "EV_0", |story| story["status"] == 404).await;
    let (_, page) = world.api("/v1/unrouted").await;
    let told: Vec<_> =
        page["unrouted"].as_array().expect("a list").iter().map(|group| group["events"].as_u64()).collect();
    assert_eq!(told, [Some(6), Some(2)]);
    world.hooks(&table(&hooks));
    world.reloaded(1).await;
    let (_, replayed) =
        world.api_send("/v1/replays", &json!({ "unrouted": true, "domain": "late.example" })).await;
    assert_eq!(replayed["replayed"], 6, "{replayed}");
    late.wait_for(6).await;
}

/// What is replayed is as old as that, and its call's numbers go on from it, whatever comes in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_replayed_late_keeps_its_number_and_is_not_swept_for_its_age() {
    let tenant = Tenant::open().await;
    let mut world = World::with_moved_time(&[]).await;
    let hour = Duration::from_secs(3600);
    for body in whole("c", "a.example") {
        post(&world, &body).await;
    }
    for _ in 0..36 {
        world.clock.advance(hour);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.stop().await;
    world.hooks(&table(&[("a.example", &tenant)]));
    world.start().await;
    tenant.reply(crate::spec::world::Reply::Status(410));
    let (_, replayed) =
        world.api_send("/v1/replays", &json!({ "unrouted": true, "domain": "a.example" })).await;
    assert_eq!(replayed["replayed"], 6, "{replayed}");
    tenant.wait_for(1).await;
    world.stop().await;
    world.start().await;
    assert_eq!(world.api_post("/v1/hooks/a.example/resume").await.0, 200);
    tenant.wait_for(7).await;
    world.story("EV_c_6", |story| story["state"] == "delivered").await;
    // A day and a half old, and delivered just now: it stays for another day.
    for _ in 0..20 {
        world.clock.advance(hour);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.story("EV_c_6", |story| story["state"] == "delivered").await;
    post(&world, &joined("EV_c_7", "c", "a.example")).await;
    assert_eq!(tenant.wait_for(8).await[7].header("switchhook-sequence"), "7");
}
