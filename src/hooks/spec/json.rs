//! One hook in the API's spelling: the keys of `hooks.yaml`, as JSON.

use serde_json::Value as Json;

use super::around::Around;
use super::options::{OWN, Terms};
use super::reader::SpecReader;
use crate::hooks::hook::{Entry, HostPattern, Tenant};
use crate::yaml::{Key, Node, TextFault, TextPosition, Value};

/// JSON that is read has no lines.
const NOWHERE: TextPosition = TextPosition { line: 0, column: 0 };

/// Reads what the API was given for a host. `owner`: whose it is if it does not say so. `around`: see
/// [`Around::of_api`].
///
/// # Errors
/// Every fault, by its key; their places say nothing. Never quotes a secret.
pub fn read_entry(
    host: &HostPattern,
    owner: Option<&Tenant>,
    given: &Json,
    around: &Around<'_>,
    terms: &Terms,
) -> Result<Entry, Vec<TextFault>> {
    let mut reader = SpecReader::new(around);
    let Json::Object(given) = given else {
        let message = format!("an object with the key url belongs here, not {}", node(given).value.kind());
        return Err(vec![TextFault::new(NOWHERE, "", message)]);
    };
    let mut entries: Vec<_> = given.iter().map(|(name, value)| (key(name), node(value))).collect();
    for (name, fix) in [("host", "the host stands in the path"), ("now", "?now=true in the query")] {
        if let Some(at) = entries.iter().position(|(key, _)| key.name == name) {
            entries.remove(at);
            reader.faults.push(TextFault::new(NOWHERE, name, "it does not belong here").fix(fix));
        }
    }
    entries.push((key("host"), text(&host.to_string())));
    if let Some(owner) = owner
        && !given.contains_key("tenant")
    {
        entries.push((key("tenant"), text(owner.as_str())));
    }
    let hook = Node { value: Value::Map(entries), place: NOWHERE };
    let entry = reader.hook(hook, terms, &OWN);
    match entry {
        Some(entry) if reader.faults.is_empty() => Ok(entry),
        Some(_) | None => Err(reader.faults),
    }
}

fn key(name: &str) -> Key {
    Key { name: name.to_owned(), place: NOWHERE }
}

fn text(text: &str) -> Node {
    Node { value: Value::Text(text.to_owned()), place: NOWHERE }
}

/// As deep as [`serde_json`] reads, which is bounded.
fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::INFINITY)),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(entries) => {
            Value::Map(entries.iter().map(|(name, value)| (key(name), node(value))).collect())
        }
    };
    Node { value, place: NOWHERE }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hooks::{PUBLIC_TARGETS, Source};
    use crate::network::Network;

    fn read(given: &Json) -> Result<Entry, Vec<String>> {
        let network = Network { allowed: vec!["10.0.0.0/8".parse().expect("a network")], allow_http: true };
        // What the operator's file may read.
        let around = Around::new(network, |_: Source<'_>| {
            Ok("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into())
        });
        let host = HostPattern::parse("calls.acme.com").expect("a host");
        let owner = Tenant::new("acme");
        let entry =
            read_entry(&host, owner.as_ref(), given, &around.of_api(false, |_| true), &Terms::default());
        let told = |fault: TextFault| format!("{}: {} → {:?}", fault.key, fault.message, fault.fix);
        entry.map_err(|faults| faults.into_iter().map(told).collect())
    }

    #[test]
    fn an_entry_has_the_keys_of_the_file_and_belongs_to_its_owner() {
        let entry = read(&json!({
            "url": "https://api.acme.com/x", "numbers": ["+1 555 0100"], "retry": { "max_age": "2h" },
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "sign": ["standard"],
        }));
        let entry = entry.expect("no fault");
        assert_eq!((entry.tenant.as_str(), entry.host.to_string()), ("acme", "calls.acme.com".to_owned()));
        assert_eq!((entry.numbers[0].as_str(), entry.secrets.len()), ("15550100", 1));
        assert_eq!(entry.settings.retry.max_age.as_secs(), 7200);
        assert_eq!(
            read(&json!({ "url": "https://a.example", "tenant": "b" })).expect("b's").tenant.as_str(),
            "b"
        );
    }

    #[test]
    fn nothing_of_the_servers_environment_files_and_networks_is_reached() {
        let secrets = [
            json!({ "url": "https://a.example", "secret": "${ACME}" }),
            json!({ "url": "https://a.example", "secret": { "file": "/etc/passwd" } }),
            json!({ "url": "https://a.example", "secrets": ["${ACME}"] }),
            json!({ "url": "https://a.example", "headers": { "x-key": "${ACME}" } }),
            json!({ "url": "https://a.example", "headers": { "x-key": { "file": "k" } } }),
            json!({ "url": "https://a.example", "livekit": { "key": "K", "secret": "${ACME}" } }),
            json!({ "url": "https://a.example", "sign": ["livekit"], "livekit_sign": { "key": "K", "secret": { "file": "k" } } }),
        ];
        for given in secrets {
            let faults = read(&given).expect_err("refused");
            assert!(faults[0].contains("in hooks.yaml only"), "{given}: {faults:?}");
        }
        for url in ["https://10.0.0.7/", "http://a.example/", "https://[::1]/", "https://127.1/"] {
            let faults = read(&json!({ "url": url })).expect_err("refused");
            assert!(faults[0].starts_with("url:") && faults[0].contains(PUBLIC_TARGETS), "{faults:?}");
        }
        let faults = read(&json!({ "url": "https://user:hush@a.example/" })).expect_err("refused");
        assert!(faults[0].ends_with("None"), "{faults:?}");
    }

    #[test]
    fn every_fault_is_named_by_its_key() {
        let faults = read(&json!({
            "host": "x", "now": true, "colour": "red", "timeout": 10, "numbers": ["1-2", "12"],
            "retry": { "max_age": "100h" }, "concurrency": 65, "secret": "hush",
        }));
        let faults = faults.expect_err("faults");
        let keys =
            ["host", "now", "colour", "url", "numbers", "timeout", "retry.max_age", "concurrency", "secret"];
        for key in keys {
            assert!(faults.iter().any(|fault| fault.starts_with(&format!("{key}:"))), "{key}: {faults:?}");
        }
        assert_eq!(faults.len(), keys.len(), "{faults:?}");
        assert!(!faults.concat().contains("hush"), "{faults:?}");
        for given in [json!(null), json!([]), json!("x"), json!({ "url": null }), json!({ "url": 1e300 })] {
            assert!(read(&given).is_err(), "{given}");
        }
    }
}
