//! Nobody gets at another's: every operation of the API's own document, tried by another tenant.

use reqwest::Method;
use serde_json::{Value, json};

use crate::spec::world::{Client, Reply, Tenant, World, joined};

/// A world in which acme has a hook, a live call, delivered, pending and unrouted events; and globex has a hook.
async fn two_tenants() -> (World, Tenant, Tenant) {
    let acme = Tenant::answering([Reply::Status(200), Reply::Status(500)]).await;
    let globex = Tenant::open().await;
    let world = World::with(&[]).await;
    let client = Client::tenant(&world, "acme", &["calls.acme.example"]);
    let hook = json!({ "url": acme.url(), "numbers": [], "trunks": [] });
    assert_eq!(client.put("/v1/hooks/calls.acme.example", &hook).await.status, 201);
    let client = Client::tenant(&world, "globex", &["*.globex.example"]);
    let hook = json!({ "url": globex.url() });
    assert_eq!(client.put("/v1/hooks/calls.globex.example", &hook).await.status, 201);
    world.post(&joined("EV_secret1", "secretcall", "calls.acme.example")).await;
    acme.wait_for(1).await;
    world.post(&joined("EV_secret2", "secretcall", "calls.acme.example")).await;
    world.post(&joined("EV_secret3", "secretother", "typo.acme.example")).await;
    world.story("EV_secret3", |story| story["state"] == "unrouted").await;
    (world, acme, globex)
}

/// What a path's parameter is replaced by: acme's thing, and one that nobody has.
fn replaced(parameter: &str) -> (&'static str, &'static str) {
    match parameter {
        "host" => ("calls.acme.example", "calls.nobody.example"),
        "id" => ("EV_secret1", "EV_nothing1"),
        "room" => ("RM_secretcall", "RM_nothingcal"),
        "tenant" => ("acme", "nobd"),
        "jti" => ("test-acme", "test-nobd"),
        "kind" => ("not-found", "not-found"),
        other => panic!("what is {{{other}}}?"),
    }
}

/// The path with every parameter replaced.
fn filled(template: &str, choose: impl Fn((&'static str, &'static str)) -> &'static str) -> String {
    let mut path = String::new();
    for part in template.split_inclusive(['{', '}']) {
        match part.strip_suffix('}') {
            Some(parameter) => path.push_str(choose(replaced(parameter))),
            None => path.push_str(part.trim_end_matches('{')),
        }
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_tells_another_tenant_whether_a_thing_exists() {
    let (world, _acme, _globex) = two_tenants().await;
    let globex = Client::tenant(&world, "globex", &["*.globex.example"]);
    let document = globex.get("/openapi.json").await.body;
    let paths = document["paths"].as_object().expect("paths");
    let mut tried = 0;
    for (template, operations) in paths {
        for name in operations.as_object().expect("operations").keys() {
            let Ok(method) = name.to_uppercase().parse::<Method>() else { continue };
            if !["GET", "PUT", "POST", "DELETE"].contains(&method.as_str()) || template == "/v1/stream" {
                continue;
            }
            let has_body = !document["paths"][template][name]["requestBody"].is_null();
            let body = match (&*method.to_string(), template.as_str()) {
                ("PUT", _) => json!({ "url": "https://globex.example/hook" }),
                (_, "/v1/replays") => json!({ "tenant": "acme", "dry_run": true }),
                _ if has_body => json!({}),
                _ => Value::Null,
            };
            let [theirs, nobodys] = [true, false]
                .map(|theirs| filled(template, |(acme, nobody)| if theirs { acme } else { nobody }));
            let there = globex.ask(method.clone(), &theirs, &[], &body).await;
            let absent = globex.ask(method.clone(), &nobodys, &[], &body).await;
            let what = format!("{method} {theirs}: {} {}", there.status, there.body);
            tried += 1;
            for own in ["EV_secret", "secretcall", "secretother"] {
                assert!(!there.body.to_string().replace(&theirs, "").contains(own), "{what}");
            }
            if template.contains('{') && template != "/problems/{kind}" {
                assert!([401, 403, 404].contains(&there.status), "{what}");
                assert_eq!(there.status, absent.status, "{what}");
                let same = |body: &Value, [acme, nobody]: [&str; 2]| {
                    let text = body.to_string().replace(acme, "?").replace(nobody, "?");
                    text.replace("calls.acme.example", "?").replace("calls.nobody.example", "?")
                };
                let parts = [theirs.as_str(), nobodys.as_str()];
                assert_eq!(same(&there.body, parts), same(&absent.body, parts), "{what}");
            } else if theirs.starts_with("/v1/") {
                assert!(!there.body.to_string().contains("acme"), "{what}");
            }
        }
    }
    assert!(tried > 20, "{tried} operations");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_worth_more_than_it_says() {
    let (world, ..) = two_tenants().await;
    let now = world.clock.unix().seconds();
    let sub = |more: Value| {
        let mut claims = json!({ "sub": "acme", "hosts": ["calls.acme.example"] });
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("claims").clone());
        Client::with_claims(&world, &claims)
    };
    let forged = {
        let good = sub(json!({})).token;
        let (head, signature) = good.rsplit_once('.').expect("a JWT");
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        Client::with_token(&world, format!("{head}.{first}{}", &signature[1..]))
    };
    let cases = [
        (sub(json!({ "exp": now - 1 })), "expired"),
        (sub(json!({ "aud": "livekit" })), "wrong_audience"),
        (sub(json!({ "nbf": now + 600 })), "not_yet_valid"),
        (sub(json!({ "scope": "admin" })), "malformed_token"),
        (forged, "bad_signature"),
        (Client::with_token(&world, "nonsense".to_owned()), "malformed_token"),
    ];
    for (client, reason) in cases {
        let refused = client.get("/v1/hooks").await;
        assert_eq!((refused.status, &refused.body["reason"]), (401, &json!(reason)), "{}", refused.body);
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
    }
    let acme = sub(json!({}));
    assert_eq!(acme.get("/metrics").await.refused(), (403, "scope-too-small"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_takes_nothing_that_its_token_does_not_name_or_that_is_another_s() {
    let (world, acme, _globex) = two_tenants().await;
    let operator = Client::operator(&world);
    let pair = json!({ "key": "APIacme", "secret": "an-acme-secret-of-some-length-000001" });
    let claimed = json!({
        "url": acme.url(), "tenant": "acme", "numbers": ["+15550100"], "trunks": ["ST_acme"], "livekit": pair,
    });
    let put = operator.put("/v1/hooks/calls.acme.example", &claimed).await;
    assert_eq!(put.status, 200, "{}", put.body);
    let globex = Client::with_claims(
        &world,
        &json!({
            "sub": "globex", "hosts": ["*.globex.example", "calls.acme.example"],
            "numbers": ["+15550100", "+15550101"], "trunks": ["ST_acme"],
            "livekit": ["APIacme", crate::spec::world::KEY],
        }),
    );
    let url = "https://globex.example/hook";
    let cases = [
        // Within its own patterns a conflict is told, but not whose it is.
        ("calls.acme.example", json!({ "url": url }), 409, "taken"),
        ("a.globex.example", json!({ "url": url, "numbers": ["+1 555 0100"] }), 409, "taken"),
        ("a.globex.example", json!({ "url": url, "trunks": ["ST_acme"] }), 409, "taken"),
        // Beyond them nothing is.
        ("voice.acme.example", json!({ "url": url }), 403, "not-covered"),
        ("*.acme.example", json!({ "url": url }), 403, "not-covered"),
        ("*", json!({ "url": url }), 403, "not-covered"),
        ("a.globex.example", json!({ "url": url, "numbers": ["+15550199"] }), 403, "not-covered"),
        ("a.globex.example", json!({ "url": url, "trunks": ["ST_other"] }), 403, "not-covered"),
        ("a.globex.example", json!({ "url": url, "tenant": "acme" }), 403, "not-covered"),
        ("a.globex.example", json!({ "url": url, "livekit": pair }), 409, "taken"),
        (
            "a.globex.example",
            json!({ "url": url, "livekit": { "key": "APInobody", "secret": "s" } }),
            403,
            "not-covered",
        ),
        // Nor the server's environment, files or private network, nor higher limits.
        ("a.globex.example", json!({ "url": url, "secret": "${PATH}" }), 422, "invalid"),
        ("a.globex.example", json!({ "url": url, "secret": { "file": "/etc/hostname" } }), 422, "invalid"),
        ("a.globex.example", json!({ "url": url, "headers": { "x-a": "${HOME}" } }), 422, "invalid"),
        ("a.globex.example", json!({ "url": "http://127.0.0.1:9/hook" }), 422, "invalid"),
        ("a.globex.example", json!({ "url": "https://10.0.0.1/hook" }), 422, "invalid"),
        ("a.globex.example", json!({ "url": url, "timeout": "200s" }), 422, "invalid"),
        ("a.globex.example", json!({ "url": url, "concurrency": 500 }), 422, "invalid"),
        ("a.globex.example", json!({ "url": url, "limits": { "hooks": 1000 } }), 422, "invalid"),
        ("a.globex.example", json!({ "url": url, "retry": { "max_age": "700h" } }), 422, "invalid"),
    ];
    for (host, body, status, problem) in cases {
        let refused = globex.put(&format!("/v1/hooks/{}", host.replace('*', "%2A")), &body).await;
        assert_eq!(refused.refused(), (status, problem), "{host} {body}: {}", refused.body);
        // It says nothing that the request does not.
        let told = refused.body.to_string().replace(host, "").replace("ST_acme", "").replace("APIacme", "");
        let told = if body["tenant"] == "acme" { told.replace("acme", "") } else { told };
        assert!(!told.contains("acme"), "{host} {body}: {told}");
    }
    // Of a key that the token does not name it is not told whether it is the platform's, another's or nobody's.
    let without = Client::tenant(&world, "globex", &["*.globex.example"]);
    for key in ["APIacme", "APInobody", crate::spec::world::KEY] {
        let body = json!({ "url": url, "livekit": { "key": key, "secret": "s" } });
        let refused = without.put("/v1/hooks/a.globex.example", &body).await;
        assert_eq!(refused.refused(), (403, "not-covered"), "{key}: {}", refused.body);
    }
    let own = globex.get("/v1/hooks").await;
    assert_eq!(own.body["hooks"].as_array().map(Vec::len), Some(1), "{}", own.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_tokens_are_refused_at_once_and_after_a_restart() {
    let (mut world, ..) = two_tenants().await;
    let operator = Client::operator(&world);
    let single = Client::with_claims(&world, &json!({ "sub": "acme", "jti": "one", "hosts": [] }));
    assert_eq!(single.get("/v1/hooks").await.status, 200);
    let revoked = operator.delete("/v1/tokens/one").await;
    assert!([200, 204].contains(&revoked.status), "{}", revoked.body);
    assert_eq!(single.get("/v1/hooks").await.body["reason"], "revoked");
    let acme = Client::tenant(&world, "acme", &[]);
    assert_eq!(acme.get("/v1/hooks").await.status, 200);
    assert_eq!(operator.post("/v1/tenants/acme/revoke", &Value::Null).await.status, 200);
    assert_eq!(acme.get("/v1/hooks").await.body["reason"], "revoked");
    let (acme, single) = (acme.token, single.token);
    world.stop().await;
    world.start().await;
    for token in [acme, single] {
        let client = Client::with_token(&world, token);
        assert_eq!(client.get("/v1/hooks").await.body["reason"], "revoked");
    }
    assert_eq!(Client::tenant(&world, "globex", &[]).get("/v1/hooks").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_ten_thousand_revoked_tokens_a_further_one_is_refused_with_the_way_that_takes_no_room() {
    let (mut world, ..) = two_tenants().await;
    world.stop().await;
    let store = rusqlite::Connection::open(world.path("data/switchhook.db")).expect("the store");
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
                INSERT INTO revoked_tokens (jti, expires_at, revoked_at) \
                SELECT 'token_' || i, 9000000000000, 0 FROM n";
    store.execute(fill, []).expect("revoked");
    // As a release that had no sums stored them.
    store.pragma_update(None, "user_version", 3).expect("as it was");
    drop(store);
    world.start().await;
    let operator = Client::operator(&world);
    let single = Client::with_claims(&world, &json!({ "sub": "acme", "jti": "one", "hosts": [] }));
    let refused = operator.delete("/v1/tokens/one").await;
    assert_eq!((refused.status, &refused.body["type"]), (409, &json!("/problems/too-many-revoked")));
    assert_eq!(single.get("/v1/hooks").await.status, 200);
    assert_eq!(operator.delete("/v1/tokens/token_1").await.status, 200, "it is revoked already");
    assert_eq!(operator.post("/v1/tenants/acme/revoke", &Value::Null).await.status, 200);
    assert_eq!(single.get("/v1/hooks").await.body["reason"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_and_every_refused_attempt_is_in_the_audit_log() {
    let (world, ..) = two_tenants().await;
    let globex = Client::tenant(&world, "globex", &["*.globex.example"]);
    let refused = globex.put("/v1/hooks/calls.acme.example", &json!({ "url": "https://g.example" })).await;
    assert_eq!(refused.status, 403);
    let operator = Client::operator(&world);
    let entries = async || -> Vec<Value> {
        operator.get("/v1/audit").await.body["entries"].as_array().cloned().unwrap_or_default()
    };
    let mut found = entries().await;
    for _ in 0..200 {
        if found
            .iter()
            .any(|entry| entry["outcome"].as_str().is_some_and(|outcome| outcome.contains("refused")))
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        found = entries().await;
    }
    let of = |actor: &str, outcome: &str| {
        let fits = |entry: &&Value| {
            entry["actor"] == actor && entry["outcome"].as_str().is_some_and(|text| text.starts_with(outcome))
        };
        found.iter().find(fits).cloned().unwrap_or_else(|| panic!("{actor} {outcome}: {found:#?}"))
    };
    let done = of("acme", "done");
    assert_eq!((&done["action"], &done["target"]), (&json!("hook.put"), &json!("calls.acme.example")));
    assert!(done["after"].to_string().contains("url") && done["before"].is_null(), "{done}");
    assert!(done["from"].as_str().is_some_and(|from| from.starts_with("127.0.0.1")), "{done}");
    assert!(!found.iter().any(|entry| entry.to_string().contains("whsec_")));
    of("globex", "refused");
    // A tenant sees what concerns it.
    let own = globex.get("/v1/audit").await;
    assert_eq!(own.status, 200, "{}", own.body);
    let entries = own.body["entries"].as_array().expect("entries");
    assert!(
        entries.iter().all(|entry| entry["actor"] == "globex" || entry["tenant"] == "globex"),
        "{}",
        own.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_passes_to_another_tenant_is_in_the_audit_log_of_both() {
    let (world, ..) = two_tenants().await;
    let operator = Client::operator(&world);
    let hook = json!({ "url": "https://other.example/hook", "tenant": "globex" });
    assert_eq!(operator.put("/v1/hooks/calls.acme.example", &hook).await.status, 200);
    for (tenant, has_before, has_after) in [("acme", true, false), ("globex", false, true)] {
        let log = Client::tenant(&world, tenant, &[]).get("/v1/audit").await.body;
        let last = &log["entries"][0];
        assert_eq!(last["actor"], "operator", "{log}");
        assert_eq!((!last["before"].is_null(), !last["after"].is_null()), (has_before, has_after), "{last}");
    }
    assert_eq!(Client::tenant(&world, "acme", &[]).get("/v1/hooks").await.body["hooks"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_at_a_private_target_is_in_the_audit_log_and_names_no_flag_of_the_server() {
    let (world, ..) = two_tenants().await;
    let globex = Client::with_claims(&world, &json!({ "sub": "globex", "hosts": ["*.globex.example"] }));
    let refused = globex
        .put("/v1/hooks/a.globex.example", &json!({ "url": "https://10.0.0.1/?the-token-of-a-refused-url" }))
        .await;
    assert_eq!(refused.refused(), (422, "invalid"));
    let fix = refused.body["errors"][0]["fix"].as_str().expect("a fix");
    assert!(fix.contains("--private") && !fix.contains("--allow-network"), "{fix}");
    for _ in 0..200 {
        let log = globex.get("/v1/audit").await.body;
        let last = log["entries"][0].clone();
        if last["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("refused: url")) {
            assert!(!last.to_string().contains("the-token"), "{last}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it is not recorded");
}
