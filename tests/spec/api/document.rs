//! The description of the API, and the problems it names.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::spec::world::{Client, World};

/// Whoever has no token.
fn nobody(world: &World) -> Client {
    Client::with_token(world, String::new())
}

async fn document(world: &World) -> Value {
    let served = nobody(world).get("/openapi.json").await;
    assert_eq!(
        (served.status, &served.headers["content-type"]),
        (200, &"application/json".parse().expect("it"))
    );
    served.body
}

/// Every operation: path, method, description.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("an item").clone();
        item.into_iter().map(|(method, operation)| (path.clone(), method, operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// Every `$ref` in it.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_whole_and_the_command_prints_the_same() {
    let world = World::with(&[]).await;
    let document = document(&world).await;
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"), "{}", document["openapi"]);
    let mut refs = BTreeSet::new();
    references(&document, &mut refs);
    for reference in &refs {
        let pointer = reference.strip_prefix('#').expect("a local one");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for name in schemas.keys() {
        assert!(refs.contains(&format!("#/components/schemas/{name}")), "{name} is used nowhere");
    }
    let tags: BTreeSet<_> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| tag["name"].clone().to_string())
        .collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let here = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{here}: its id is another's");
        assert!(operation["summary"].is_string(), "{here} says nothing");
        assert!(tags.contains(&operation["tags"][0].to_string()), "{here}");
        let named: BTreeSet<_> = path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let declared = parameters.iter().filter(|one| one["in"] == "path");
        let declared: BTreeSet<_> =
            declared.map(|one| one["name"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(named, declared, "{here}");
        let is_open = operation["security"] == json!([{}]);
        let responses = operation["responses"].as_object().expect("responses");
        assert_eq!(responses.contains_key("401"), !is_open, "{here}");
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with('4')) {
            assert!(response["content"]["application/problem+json"].is_object(), "{here} {status}");
        }
        for status in ["429", "503"].iter().filter(|_| !is_open) {
            let example = &responses[*status]["content"]["application/problem+json"]["example"];
            assert_eq!(example["status"].to_string(), *status, "{here}");
        }
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_switchhook")).arg("openapi").output();
    let printed: Value = serde_json::from_slice(&output.expect("switchhook").stdout).expect("JSON");
    assert_eq!(printed, document);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_operation_exists_and_needs_a_token_if_it_says_so() {
    let world = World::with(&[]).await;
    let (nobody, operator) = (nobody(&world), Client::operator(&world));
    for (path, method, operation) in operations(&document(&world).await) {
        let filled = path.replace("{kind}", "taken").replace(['{', '}'], "");
        let method: Method = method.to_uppercase().parse().expect("a method");
        let bare = nobody.ask(method.clone(), &filled, &[], &Value::Null).await;
        let expected = if operation["security"] == json!([{}]) { 200 } else { 401 };
        assert_eq!(bare.status, expected, "{method} {path}: {}", bare.body);
        let wrong = operator.ask(Method::TRACE, &filled, &[], &Value::Null).await;
        assert_eq!(wrong.refused(), (405, "method-not-allowed"), "{path}: {}", wrong.body);
        let allowed = wrong.headers["allow"].to_str().expect("text");
        assert!(allowed.contains(method.as_str()), "{path}: {allowed}");
        let succeeds = ["200", "202", "204"].iter().any(|status| operation["responses"][status].is_object());
        assert!(succeeds, "{method} {path}");
    }
}

/// There is one way to a route: by its description.
#[test]
fn no_route_is_without_a_description() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let mut folders = vec![std::path::PathBuf::from(folder).join("api"), folder.into()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder.clone()).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && folder.ends_with("api") {
                folders.push(path);
            } else if path.ends_with("api.rs") || path.to_string_lossy().contains("/src/api/") {
                sources.push(path);
            }
        }
    }
    assert!(sources.len() > 5);
    for path in sources.into_iter().filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).expect("a source");
        assert!(!text.contains(".route(") && !text.contains("json!("), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_has_a_page_that_needs_no_token() {
    let world = World::with(&[]).await;
    for kind in switchhook::wire::ProblemKind::ALL {
        let page = nobody(&world).get(&kind.path()).await;
        assert_eq!(
            (page.status, &page.headers["content-type"]),
            (200, &"text/plain; charset=utf-8".parse().expect("it"))
        );
        let text = page.body.as_str().expect("text");
        assert!(text.contains(kind.title()) && text.contains(kind.fix()), "{text}");
    }
    assert_eq!(nobody(&world).get("/problems/none").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_request_is_a_problem() {
    let world = World::with(&[]).await;
    let operator = Client::operator(&world);
    let posted = async |kind: &str, body: &str| {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(world.api_url("/v1/replays")).bearer_auth(&operator.token);
        let answer = request.header("content-type", kind).body(body.to_owned()).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").cloned();
        assert_eq!(kind.expect("a type"), "application/problem+json", "{status}");
        (status, answer.json::<Value>().await.expect("JSON"))
    };
    let json_type = "application/json";
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(3 << 20));
    for (kind, body, status, problem) in [
        (json_type, "{", 400, "malformed"),
        (json_type, "[]", 422, "invalid"),
        ("text/plain", "{}", 415, "not-json"),
        (json_type, &*large, 413, "too-large"),
    ] {
        let (found, told) = posted(kind, body).await;
        assert_eq!((found, &told["type"]), (status, &json!(format!("/problems/{problem}"))), "{told}");
    }
    for (body, field) in [
        (json!({ "since": "yesterday" }), "since"),
        (json!({ "limit": 0 }), "limit"),
        (json!({ "colour": "red" }), "colour"),
        (json!({ "call": "RM_c" }), "call"),
        (json!({ "unrouted": true, "host": "a.example" }), "host"),
    ] {
        let (status, told) = posted(json_type, &body.to_string()).await;
        assert_eq!((status, &told["errors"][0]["field"]), (422, &json!(field)), "{told}");
    }
    for (path, detail) in [
        ("/v1/deliveries?after=x", "`after` is what the page before gave as `next`"),
        ("/v1/audit?after=x", "`after` is what the page before gave as `next`"),
        ("/v1/deliveries?since=2026-11", "a time is written as 2026-11-21T05:46:00Z"),
    ] {
        let told = operator.get(path).await;
        assert_eq!(told.refused(), (400, "malformed"), "{path}");
        assert!(told.body["detail"].as_str().expect("a detail").contains(detail), "{}", told.body);
    }
    for path in ["/v1/deliveries?since=2026-11-26", "/v1/deliveries?after=7&until=2026-11-26T00:00:00Z"] {
        assert_eq!(operator.get(path).await.status, 200, "{path}");
    }
    for path in ["/v1/calls?colour=red", "/v1/calls?limit=0", "/v1/calls?after=x", "/v1/unrouted?tenant=a"] {
        let told = operator.get(path).await;
        assert_eq!(told.refused(), (400, "malformed"), "{path}");
    }
    for path in ["/v1", "/v1/nothing", "/V1/calls", "/v1/calls/a/b"] {
        let told = operator.get(path).await;
        assert_eq!(told.refused(), (404, "unknown-path"), "{path}");
    }
    let told = operator.get("/v1/events/%ff").await;
    assert_eq!(told.refused(), (400, "malformed"));
}
