//! A hook's URL may hold its receiver's token: no answer shows it, and who sends the answer back keeps it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::spec::world::{Answered, Client, Tenant, World, event, joined};

const PATH: &str = "/v1/hooks/calls.acme.example";

/// Where each delivery went, as the query of its URL.
async fn queries(tenant: &Tenant, count: usize) -> Vec<String> {
    let received = tenant.wait_for(count).await;
    let query = |path: &str| path.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
    received.iter().map(|received| query(&received.path)).collect()
}

/// Refused as a fault of the URL, which says what to do.
fn is_refused(put: &Answered) -> bool {
    let fault = &put.body["errors"][0];
    let fix = fault["fix"].as_str().unwrap_or_default();
    put.refused() == (422, "invalid") && fault["field"] == "url" && fix.contains("the whole URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_never_shown_and_kept_replaced_or_removed_by_the_next_put() {
    let tenant = Tenant::open().await;
    let mut world = World::with(&[]).await;
    let acme = Client::tenant(&world, "acme", &["*.acme.example"]);
    let with = |query: &str| json!({ "url": format!("{}{query}", tenant.url()) });
    let made = acme.put(PATH, &with("?token=the-first-hidden-token")).await;
    let shown = format!("{}?***", tenant.url());
    assert_eq!((made.status, made.body["url"].as_str()), (201, Some(&*shown)));
    let listed = acme.get("/v1/hooks").await;
    assert_eq!(listed.body["hooks"][0]["url"], shown, "{}", listed.body);

    // What was read is sent back: unchanged, and with another timeout; over a restart, too.
    let read = acme.get(PATH).await;
    let same = acme.ask(Method::PUT, PATH, &[("if-match", &read.etag())], &with("?***")).await;
    assert_eq!((same.status, same.etag()), (200, made.etag()));
    world.stop().await;
    world.start().await;
    let acme = Client::tenant(&world, "acme", &["*.acme.example"]);
    let changed = json!({ "url": read.body["url"], "timeout": "3s" });
    let changed = acme.ask(Method::PUT, PATH, &[("if-match", &read.etag())], &changed).await;
    assert_eq!((changed.status, &changed.body["url"]), (200, &json!(shown)));
    assert_eq!(
        acme.ask(Method::PUT, PATH, &[("if-match", &read.etag())], &with("?***")).await.refused(),
        (412, "stale")
    );
    world.post(&joined("EV_1", "c1", "calls.acme.example")).await;
    assert_eq!(queries(&tenant, 1).await, ["token=the-first-hidden-token"]);

    for url in [with("other?***"), with("?***&more=1"), json!({ "url": "http://127.0.0.1:1/?***" })] {
        let refused = acme.put(PATH, &url).await;
        assert!(is_refused(&refused), "{url}: {}", refused.body);
    }
    let new = acme.put("/v1/hooks/new.acme.example", &with("?***")).await;
    assert!(is_refused(&new), "{}", new.body);

    assert_eq!(acme.put(PATH, &with("?token=the-second-hidden-token")).await.body["url"], shown);
    world.post(&joined("EV_2", "c2", "calls.acme.example")).await;
    assert_eq!(queries(&tenant, 2).await[1], "token=the-second-hidden-token");
    let removed = acme.put(PATH, &with("")).await;
    assert_eq!((removed.status, removed.body["url"].as_str()), (200, Some(&*tenant.url())));
    world.post(&joined("EV_3", "c3", "calls.acme.example")).await;
    assert_eq!(queries(&tenant, 3).await[2], "");
    assert!(is_refused(&acme.put(PATH, &with("?***")).await), "there is none to keep");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_a_hook_and_no_command_prints_its_query() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    let host = "calls.acme.example";
    let [first, second] =
        ["first", "second"].map(|name| format!("{}?token=the-{name}-token-of-a-command", tenant.url()));
    let shown = format!("{}?***", tenant.url());
    let made = world.command(&["hooks", "set", host, &first, "--tenant", "acme"]).await;
    assert!(made.success && made.err.contains(&shown), "{}", made.err);

    // What will happen to the query is said before it is asked.
    for (url, question) in [
        (&*shown, "Its URL stays."),
        (&*second, "?*** gets the query that is given"),
        (&*tenant.url(), &*format!("{shown} becomes {}; ", tenant.url())),
    ] {
        let asked = world.command(&["hooks", "set", host, url]).await;
        assert!(asked.err.contains(question), "{}", asked.err);
    }
    let kept = world.command(&["hooks", "set", host, &shown, "--yes"]).await;
    assert!(kept.success && kept.out.contains(&shown), "{}{}", kept.out, kept.err);
    world.post(&joined("EV_1", "c1", host)).await;
    assert_eq!(queries(&tenant, 1).await, ["token=the-first-token-of-a-command"]);
    let refused = world.command(&["hooks", "set", host, "https://b.example/?***", "--yes"]).await;
    assert!(refused.err.contains("the whole URL"), "{}", refused.err);
    assert!(world.command(&["hooks", "set", host, &second, "--yes"]).await.success);
    world.post(&event("EV_2", "room_started", "nowhere")).await;

    // The world searches what each of them prints.
    let file = world.path("new.yaml").display().to_string();
    std::fs::write(&file, format!("hooks:\n  - {{host: {host}, tenant: acme, url: '{second}'}}\n"))
        .expect("a file");
    for args in [
        &["hooks"][..],
        &["hooks", host],
        &["hooks", "show", host, "--json"],
        &["hooks", "test", host],
        &["hooks", "pause", host],
        &["hooks", "delete", host],
        &["tenants"],
        &["deliveries"],
        &["deliveries", "--json"],
        &["events", "EV_1"],
        &["events", "EV_1", "--json"],
        &["calls"],
        &["unrouted"],
        &["audit", "--json"],
        &["check", &file, "--dev"],
        &["check", &file, "--dev", "--json"],
        &["doctor"],
    ] {
        let said = world.command(args).await;
        assert!(!said.out.is_empty() || !said.err.is_empty(), "{args:?}");
        assert_ne!(said.code, Some(2), "{args:?}: {}", said.err);
    }
    let audit = Client::operator(&world).get("/v1/audit").await.body;
    let written = written(&audit);
    assert!(!written.is_empty() && written.iter().all(|url| *url == shown), "{audit}");
}

/// The URL of each hook as the audit log has it after an edit.
fn written(audit: &Value) -> Vec<&str> {
    let entries = audit["entries"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["after"]["url"].as_str()).collect()
}
