//! Third parties verify what tenants receive.

use serde_json::{Value, json};
use switchhook::Clock;

use crate::spec::world::{RECORDED, Received, Tenant, World, joined, judge, table};

/// The official libraries, each behind a few lines.
pub const OFFICIAL: [(&str, &str); 2] =
    [("python", "standardwebhooks_verify.py"), ("node", "standardwebhooks_verify.js")];

/// A received delivery as the judges read it.
pub fn delivery(secret: &str, received: &Received) -> String {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), received.header(name).into())).collect();
    let body = std::str::from_utf8(&received.body).expect("text");
    json!({ "secret": secret, "headers": headers, "body": body }).to_string() + "\n"
}

/// Rotated by the operator, and given anew in the file: the one before signs beside it for a day.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_both_secrets_sign_for_a_day_and_the_official_libraries_verify_both() {
    let (derived, given) = (Tenant::open().await, Tenant::open().await);
    let secrets = [
        "whsec_dGhlLXNlY3JldC1vZi10ZXN0cy1hbG9uZS0wMDAx",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ];
    let hooks = |secret: &str| {
        let hooks = table(&[("derived.example", &derived), ("given.example", &given)]);
        format!("{hooks}    secret: {secret}\n")
    };
    let mut world = World::at(Clock::manual(RECORDED), &hooks(secrets[0]), &[]).await;
    let own = secret(&world, "derived.example").await;
    let (status, problem) = world.api_post("/v1/tenants/given.example/rotate").await;
    assert_eq!((status, &problem["title"]), (409, &json!("Not a derived secret")));
    let (status, rotated) = world.api_post("/v1/tenants/derived.example/rotate").await;
    assert_eq!((status, &rotated["secrets"][1]), (200, &json!(own)), "{rotated}");
    assert_eq!(rotated["until"], json!([null, "2026-11-22T05:46:52.110Z"]));
    let renewed = rotated["secrets"][0].as_str().expect("a secret").to_owned();
    assert_ne!(renewed, own);
    let (status, problem) = world.api_post("/v1/tenants/derived.example/rotate").await;
    assert_eq!((status, &problem["title"]), (409, &json!("Renewed already")));
    world.hooks(&hooks(secrets[1]));
    let reloaded = "reloads_total{result=\"ok\"} 1";
    while !world.api("/metrics").await.1.as_str().expect("text").contains(reloaded) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let pairs = [(&derived, own.as_str(), renewed.as_str()), (&given, secrets[0], secrets[1])];
    // At once, after a restart, and when the day is over.
    let hours = |hours: u64| std::time::Duration::from_secs(3600 * hours);
    for (round, (wait, older)) in
        [(hours(0), "ok"), (hours(23), "ok"), (hours(2), "refused")].into_iter().enumerate()
    {
        world.clock.advance(wait);
        for host in ["derived.example", "given.example"] {
            assert_eq!(world.post(&joined(&format!("EV_{round}_{host}"), "c", host)).await.status, 200);
        }
        for (tenant, before, now) in &pairs {
            let received = &tenant.wait_for(round + 1).await[round];
            let signatures = received.header("webhook-signature").split(' ').count();
            assert_eq!(signatures, if older == "ok" { 2 } else { 1 });
            let now_is = format!(r#""now":{},"secret""#, world.clock.unix().seconds());
            let input = [delivery(now, received), delivery(before, received)].concat();
            let input = input.replace(r#""secret""#, &now_is);
            for (program, script) in OFFICIAL {
                let verdicts = judge(program, script, &input).await;
                let verdicts: Vec<_> =
                    verdicts.lines().map(|line| line.split(':').next().expect("a word")).collect();
                assert_eq!(verdicts, ["ok", older], "{program}, round {round}");
            }
        }
        world.stop().await;
        world.start().await;
    }
}

/// The secret that signs a tenant's deliveries, as the API tells it.
pub async fn secret(world: &World, tenant: &str) -> String {
    let (status, answer) = world.api(&format!("/v1/tenants/{tenant}/secret")).await;
    assert_eq!(status, 200, "{answer}");
    answer["secrets"][0].as_str().expect("a secret").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_verify_derived_and_given_secrets() {
    let (derived, given) = (Tenant::open().await, Tenant::open().await);
    let secrets = [
        "whsec_dGhlLXNlY3JldC1vZi10ZXN0cy1hbG9uZS0wMDAx",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ];
    let hooks = table(&[("derived.example", &derived), ("given.example", &given)]);
    let hooks = format!("{hooks}    tenant: given\n    secrets: [\"{}\", \"{}\"]\n", secrets[0], secrets[1]);
    let world = World::at(Clock::system(), &hooks, &[]).await;
    for (id, host) in [("EV_1", "derived.example"), ("EV_2", "given.example")] {
        let body = joined(id, "größe", host);
        assert_eq!(world.post(&body).await.status, 200);
    }
    let own = secret(&world, "derived.example").await;
    let (of_derived, of_given) = (&derived.wait_for(1).await[0], &given.wait_for(1).await[0]);
    // Both of the given secrets verify; another tenant's does not, nor does an altered body.
    let mut altered = of_given.clone();
    altered.body = String::from_utf8_lossy(&altered.body).replace("EV_2", "EV_3").into();
    let input = [
        delivery(&own, of_derived),
        delivery(secrets[0], of_given),
        delivery(secrets[1], of_given),
        delivery(&own, of_given),
        delivery(secrets[0], &altered),
    ]
    .concat();
    for (program, script) in OFFICIAL {
        let said = judge(program, script, &input).await;
        let verdicts: Vec<_> = said.lines().map(|line| line == "ok").collect();
        assert_eq!(verdicts, [true, true, true, false, false], "{script}: {said}");
    }
    assert_eq!(secret(&world, "given").await, secrets[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_secret_is_its_own_and_outlives_restarts() {
    let (one, two) = (Tenant::open().await, Tenant::open().await);
    let mut world = World::with(&[("one.example", &one), ("two.example", &two)]).await;
    let (first, second) = (secret(&world, "one.example").await, secret(&world, "two.example").await);
    assert_ne!(first, second);
    world.stop().await;
    // An older master secret in a second line signs beside the new one.
    let path = world.path("data/master.secret");
    let master = std::fs::read_to_string(&path).expect("the master secret");
    std::fs::write(&path, format!("{}\n{master}\n", "a-new-master-secret-of-32-characters"))
        .expect("rotated");
    world.start().await;
    let (_, answer) = world.api("/v1/tenants/one.example/secret").await;
    assert_eq!(answer["secrets"][1], Value::String(first));
    assert_eq!(world.post(&joined("EV_1", "c", "one.example")).await.status, 200);
    let received = &one.wait_for(1).await[0];
    assert_eq!(received.header("webhook-signature").split(' ').count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_says_what_it_is() {
    let tenant = Tenant::open().await;
    let world = World::with(&[("a.example", &tenant)]).await;
    assert_eq!(world.post(&joined("EV_1", "c", "A.Example.:5060")).await.status, 200);
    let received = &tenant.wait_for(1).await[0];
    let expected = [
        ("content-type", "application/webhook+json"),
        ("webhook-id", "EV_1"),
        ("switchhook-event", "participant_joined"),
        ("switchhook-tenant", "a.example"),
        ("switchhook-domain", "a.example"),
        ("switchhook-route", "domain"),
        ("switchhook-call", "RM_c"),
        ("switchhook-sequence", "1"),
        ("switchhook-attempt", "1"),
    ];
    for (name, value) in expected {
        assert_eq!(received.header(name), value, "{name}");
    }
    assert!(received.header("switchhook-received-at").parse::<jiff::Timestamp>().is_ok());
    assert!(received.header("user-agent").starts_with("Switchhook/"));
    assert!(received.headers.get("authorization").is_none(), "LiveKit's token is not the tenant's");
}
