//! What a real LiveKit has posted, and where it belongs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::tenant::Tenant;

/// The hosts of the recordings' table.
pub const HOSTS: [&str; 3] = ["calls.acme.example", "voice.globex.example", "sip.initech.example"];

/// The folder of recorded calls.
pub fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/livekit")
}

/// The POSTs of a recording: `posted`, `authorization`, `body`.
pub fn recording(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a recording");
    text.lines().map(|line| serde_json::from_str(line).expect("a recorded POST")).collect()
}

/// A row of `expected.tsv`: recording, event id, event, host or `-`, rule or reason.
pub type Row = [String; 5];

/// The rows of a folder.
pub fn rows(folder: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(folder.join("expected.tsv")).expect("expected.tsv");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<_> = line.split('\t').map(str::to_owned).collect();
        columns.try_into().expect("five columns")
    })
    .collect()
}

/// The table the rows are written for, with these receivers in the order of its hooks.
pub fn hooks(folder: &Path, tenants: &[Tenant]) -> String {
    let text = std::fs::read_to_string(folder.join("hooks.yaml")).expect("hooks.yaml");
    let mut tenants = tenants.iter();
    let line = |line: &str| match line.split_once("url: ") {
        Some((indent, _)) => format!("{indent}url: {}\n", tenants.next().expect("a receiver").url()),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A receiver for each of [`HOSTS`].
pub async fn tenants() -> Vec<Tenant> {
    vec![Tenant::open().await, Tenant::open().await, Tenant::open().await]
}

/// The recordings of a folder but the SIP API's answers, by name.
pub fn all(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let files = std::fs::read_dir(folder).expect("recordings");
    let paths = files.map(|entry| entry.expect("an entry").path());
    let named = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let named = named.filter(|path| !path.ends_with("sip-api.jsonl"));
    named
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), recording(&path)))
        .collect()
}

/// Checks that each tenant got exactly what the rows say, by that rule (see [`arrived`]).
pub async fn delivered_right(
    folder: &Path,
    hosts: &[&str],
    tenants: &[Tenant],
    played: &BTreeMap<String, Vec<Value>>,
) {
    for (host, tenant) in hosts.iter().zip(tenants) {
        arrived(folder, host, tenant, played, None).await;
    }
}

/// Checks that a receiver got exactly what the rows say of this host, by the rule they give or by `rule`, byte for
/// byte, once, in order and numbered without gaps per call.
pub async fn arrived(
    folder: &Path,
    host: &str,
    tenant: &Tenant,
    played: &BTreeMap<String, Vec<Value>>,
    rule: Option<&str>,
) {
    let bodies = bodies(played);
    let rows = rows(folder);
    let due: Vec<_> =
        rows.iter().filter(|row| played.contains_key(&row[0])).filter(|row| row[3] == host).collect();
    let came = tenant.wait_for(due.len()).await;
    let rules: BTreeMap<_, _> =
        due.iter().map(|row| (row[1].as_str(), rule.unwrap_or(row[4].as_str()))).collect();
    let mut calls: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for received in &came {
        let id = received.id();
        assert_eq!(received.body, bodies[id].as_bytes(), "{id} is not LiveKit's body");
        assert_eq!(Some(&received.header("switchhook-route")), rules.get(id), "{id} at {host}");
        let order = calls.entry(received.header("switchhook-call")).or_default();
        order.push(id);
        assert_eq!(received.header("switchhook-sequence"), order.len().to_string(), "{id} at {host}");
    }
    assert_eq!(came.len(), due.len(), "{host}");
    // The rows have LiveKit's order.
    for (call, order) in calls {
        let mut expected: Vec<_> =
            due.iter().map(|row| row[1].as_str()).filter(|id| order.contains(id)).collect();
        expected.dedup();
        assert_eq!(order, expected, "{call} at {host}");
    }
}

/// The recorded bodies by event id.
fn bodies(played: &BTreeMap<String, Vec<Value>>) -> BTreeMap<String, String> {
    let posts = played.values().flatten().map(|post| text(post, "body"));
    posts
        .map(|body| {
            let event: Value = serde_json::from_str(body).expect("JSON");
            (event["id"].as_str().expect("an id").to_owned(), body.to_owned())
        })
        .collect()
}

/// A text of a recorded POST.
pub fn text<'v>(post: &'v Value, key: &str) -> &'v str {
    post[key].as_str().expect(key)
}
