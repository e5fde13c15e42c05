//! Third parties verify what tenants receive.

use serde_json::{Value, json};

use super::world::{Received, Tenant, World, joined, judge};

/// A received delivery as the judges read it.
pub fn delivery(secret: &str, received: &Received) -> String {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), received.header(name).into())).collect();
    let body = std::str::from_utf8(&received.body).expect("text");
    json!({ "secret": secret, "headers": headers, "body": body }).to_string() + "\n"
}

async fn secret(world: &World, tenant: &str) -> String {
    let (status, answer) = world.api(&format!("/v1/tenants/{tenant}/secret")).await;
    assert_eq!(status, 200, "{answer}");
    answer["secrets"][0].as_str().expect("a secret").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_verify_derived_and_given_secrets() {
    let (derived, given) = (Tenant::open().await, Tenant::open().await);
    let secrets =
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];
    let hooks = super::world::table(&[("derived.example", &derived), ("given.example", &given)]);
    let hooks = format!("{hooks}    tenant: given\n    secrets: [\"{}\", \"{}\"]\n", secrets[0], secrets[1]);
    let world = World::at(switchhook::Clock::system(), &hooks, &[]).await;
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
    for (program, script) in
        [("python", "standardwebhooks_verify.py"), ("node", "standardwebhooks_verify.js")]
    {
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
