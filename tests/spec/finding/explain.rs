//! A running router explains where an event would go.

use serde_json::{Value, json};

use crate::spec::world::{Client, Tenant, World, event, joined, searched};

/// Rows of the conformance table, and what finds no host.
const VALUES: [&str; 10] = [
    r#""Company Name" <sip:user@calls.acme.example>"#,
    "CALLS.ACME.EXAMPLE:5060",
    "<sip:+1@calls.globex.example>;user=phone;tag=SCL_x7Yz",
    "calls.globex.example.",
    "sip:alice;day=tuesday@a.b.globex.example",
    "[2001:db8::7]",
    "calls.acme-typo.example",
    "10.0.0.1",
    "not a host",
    "",
];

async fn with_two() -> (World, [Tenant; 2]) {
    let tenants = [Tenant::open().await, Tenant::open().await];
    let hooks = format!(
        "hooks:
  - {{host: calls.acme.example, url: '{0}?token=the-token-of-an-explained-url', tenant: acme, numbers: ['+15550102']}}
  - {{host: calls.globex.example, url: '{1}', tenant: globex}}
  - {{host: '*.globex.example', url: '{1}', tenant: globex, trunks: [ST_globex]}}
",
        tenants[0].url(),
        tenants[1].url()
    );
    (World::at(switchhook::Clock::system(), &hooks, &[]).await, tenants)
}

/// What the command prints of the same table.
async fn command(world: &World, args: &[&str]) -> Value {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchhook"));
    command.arg("explain").args(args).arg("--json").arg("--hooks").arg(world.path("hooks.yaml")).env_clear();
    let output = searched(&["explain"], command.output().await.expect("explain"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The same, wherever the hook is declared: the command names the file and the line.
fn anywhere(mut told: Value, world: &World) -> Value {
    let file = world.path("hooks.yaml").display().to_string();
    for step in told["steps"].as_array_mut().expect("steps") {
        let text = step.as_str().expect("text");
        let end = text.find(&file).or_else(|| text.find("in the hooks file")).unwrap_or(text.len());
        *step = json!(text[..end].to_owned());
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_the_command_prints() {
    let (world, _tenants) = with_two().await;
    let operator = Client::operator(&world);
    let same = async |asked: Value, args: &[&str]| {
        let told = operator.post("/v1/explain", &asked).await;
        assert_eq!(told.status, 200, "{asked}: {}", told.body);
        assert_eq!(
            anywhere(told.body.clone(), &world),
            anywhere(command(&world, args).await, &world),
            "{asked}"
        );
        told.body
    };
    for value in VALUES {
        same(json!({ "x_to_ip": value }), &["--x-to-ip", value]).await;
        same(json!({ "x_to_ip": "10.0.0.1", "to": value }), &["--x-to-ip", "10.0.0.1", "--to", value]).await;
    }
    let told = same(json!({ "to": VALUES[0] }), &["--to", VALUES[0]]).await;
    assert_eq!((&told["outcome"], &told["rule"]), (&json!("routed"), &json!("domain")), "{told}");
    assert!(!told["url"].as_str().expect("a URL").contains("the-token"), "{told}");
    let told = same(json!({ "number": "1 555 0102" }), &["--number", "1 555 0102"]).await;
    assert_eq!((&told["rule"], &told["tenant"]), (&json!("number"), &json!("acme")), "{told}");
    let told =
        same(json!({ "trunk": "ST_globex", "tenant": "acme" }), &["--trunk", "ST_globex", "--at", "acme"]);
    assert_eq!(told.await["rule"], "url");
    let path = world.path("event.json");
    for body in [joined("EV_1", "c", "calls.acme-typo.example"), event("EV_2", "room_started", "c")] {
        std::fs::write(&path, &body).expect("written");
        let event: Value = serde_json::from_str(&body).expect("JSON");
        same(json!({ "event": event }), &[path.to_str().expect("a path")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_told_of_its_own_hooks_only() {
    let (world, _tenants) = with_two().await;
    let acme = Client::tenant(&world, "acme", &["*.acme.example"]);
    let told = async |asked: Value| {
        let told = acme.post("/v1/explain", &asked).await;
        assert_eq!(told.status, 200, "{asked}: {}", told.body);
        told.body
    };
    assert_eq!(told(json!({ "x_to_ip": "calls.acme.example" })).await["host"], "calls.acme.example");
    // As a name that nobody has, also in each of its steps.
    let (theirs, nobodys) = ("calls.globex.example", "calls.glubex.example");
    for asked in [
        json!({ "x_to_ip": theirs }),
        json!({ "event": serde_json::from_str::<Value>(&joined("EV", "c", theirs)).expect("JSON") }),
    ] {
        let other: Value = serde_json::from_str(&asked.to_string().replace(theirs, nobodys)).expect("JSON");
        let (one, other) = (told(asked).await, told(other).await);
        assert_eq!((&one["outcome"], &one["reason"]), (&json!("unrouted"), &json!("no_hook")), "{one}");
        assert_eq!(one.to_string(), other.to_string().replace(nobodys, theirs));
        assert!(one["steps"].to_string().contains("none of 1 matches"), "{one}");
    }
    // Nor does another's host take what one of its own rules finds.
    let both = told(json!({ "x_to_ip": theirs, "number": "+15550102" })).await;
    assert_eq!((&both["rule"], &both["tenant"]), (&json!("number"), &json!("acme")));
    assert_eq!(told(json!({ "trunk": "ST_globex" })).await["reason"], "no_domain");
    let typo = json!({ "x_to_ip": "calls.globex.exampl" });
    let all = Client::operator(&world).post("/v1/explain", &typo).await.body["nearest"].clone();
    assert_eq!(all, json!(["calls.globex.example", "calls.acme.example"]));
    assert_eq!(told(typo).await["nearest"], json!(["calls.acme.example"]));
    let refused = async |tenant: &str| {
        let answered = acme.post("/v1/explain", &json!({ "to": theirs, "tenant": tenant })).await;
        (answered.status, answered.body)
    };
    assert_eq!(refused("globex").await, refused("nobody").await);
    assert_eq!(refused("globex").await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_is_refused_by_its_field() {
    let (world, _tenants) = with_two().await;
    let operator = Client::operator(&world);
    for (asked, field) in [
        (json!({}), "event"),
        (json!({ "event": {}, "to": "a.example" }), "event"),
        (json!({ "event": "text" }), "event"),
        (json!({ "event": [{}] }), "event"),
        (json!({ "x_to_ip": 7 }), "x_to_ip"),
        (json!({ "colour": "red", "to": "a.example" }), "colour"),
        (json!({ "to": "a.example", "tenant": "no such name" }), "tenant"),
        (json!({ "to": "a.example", "tenant": "nobody" }), "tenant"),
    ] {
        let refused = operator.post("/v1/explain", &asked).await;
        let fault = &refused.body["errors"][0]["field"];
        assert_eq!(
            (refused.refused(), fault),
            ((422, "invalid"), &json!(field)),
            "{asked}: {}",
            refused.body
        );
    }
    // Of no type that LiveKit sends: absent, as in an event.
    let told = operator.post("/v1/explain", &json!({ "event": { "event": 7, "participant": [] } })).await;
    assert_eq!((told.status, &told.body["reason"]), (200, &json!("no_call")), "{}", told.body);
}
