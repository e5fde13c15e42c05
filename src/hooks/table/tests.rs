//! What a table finds, and that a changed one finds what a new one of the same hooks would.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::spec::{Around, parse};
use super::*;
use crate::network::Network;

#[test]
fn the_most_specific_pattern_wins_at_any_depth() {
    let text = "hooks:
  - {host: calls.acme.com, url: 'https://exact.example', tenant: exact}
  - {host: '*.acme.com', url: 'https://acme.example', tenant: acme}
  - {host: '*.eu.acme.com', url: 'https://eu.example', tenant: eu}
  - {host: '*', url: 'https://any.example', tenant: any}
";
    let entries = parse(text, &Around::new(Network::default(), |_| Err(String::new()))).expect("a table");
    let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
    let table = HookTable::build(numbered.collect(), Vec::new());
    let expected = [
        ("calls.acme.com", Some("exact")),
        ("sip.acme.com", Some("acme")),
        ("a.b.acme.com", Some("acme")),
        ("eu.acme.com", Some("acme")),
        ("a.eu.acme.com", Some("eu")),
        ("a.calls.acme.com", Some("acme")),
        ("acme.com", None),
        ("evilacme.com", None),
        ("192.0.2.1", None),
        ("[2001:db8::1]", None),
    ];
    for (host, tenant) in expected {
        let domain = Domain::from_host(host).expect(host);
        assert_eq!(table.by_domain(&domain).map(|hook| hook.tenant.as_str()), tenant, "{host}");
    }
    assert_eq!(table.any().map(|hook| hook.tenant.as_str()), Some("any"));
    assert_eq!(table.len(), 4);
}

/// What a hook of the model is found by.
#[derive(Clone, Debug)]
struct Made {
    id: i64,
    host: usize,
    tenant: usize,
    number: usize,
    key: bool,
}

const PATTERNS: [&str; 6] = ["a.example", "b.example", "*.example", "*.b.example", "*", "c.example"];
const TENANTS: [&str; 3] = ["x", "y", "z"];

fn made(host: usize) -> impl Strategy<Value = Made> {
    (0..TENANTS.len(), 0..4_usize, any::<bool>()).prop_map(move |(tenant, number, key)| Made {
        id: host as i64,
        host,
        tenant,
        number: host * 4 + number,
        key,
    })
}

fn hook(made: &Made) -> Arc<Hook> {
    let tenant = TENANTS[made.tenant];
    let key = if made.key { format!(", livekit: {{key: K{tenant}, secret: s}}") } else { String::new() };
    let text = format!(
        "hooks: [{{host: '{}', tenant: {tenant}, url: 'https://{}.example', numbers: ['{}'], trunks: [T{}]{key}}}]",
        PATTERNS[made.host], made.number, made.number, made.number
    );
    let entries = parse(&text, &Around::new(Network::default(), |_| Err(String::new()))).expect("a table");
    let entry = entries.into_iter().next().expect("an entry");
    Arc::new(Hook::new(entry, HookId(made.id), Vec::new(), Origin::default()))
}

/// All that a table finds, by ids.
fn found(table: &HookTable) -> Vec<(String, Option<i64>)> {
    let id = |hook: Option<&Arc<Hook>>| hook.map(|hook| hook.id.0);
    let mut found = Vec::new();
    for host in ["a.example", "b.example", "c.example", "d.example", "d.b.example", "x.test"] {
        let domain = Domain::from_host(host).expect("a host");
        found.push((host.to_owned(), id(table.by_domain(&domain))));
    }
    for host in PATTERNS {
        found.push((host.to_owned(), id(table.by_host(&HostPattern::parse(host).expect("a pattern")))));
    }
    for number in 0..PATTERNS.len() * 4 {
        found.push((format!("number {number}"), id(table.by_number(&number.to_string()))));
        found.push((format!("trunk {number}"), id(table.by_trunk(&format!("T{number}")))));
    }
    for (at, name) in TENANTS.iter().enumerate() {
        let tenant = Tenant::new(name).expect("a name");
        let owner = table.owner_of_key(&format!("K{name}"));
        found.push((format!("key of {name}"), owner.map(|owner| i64::from(*owner == tenant))));
        let mut hooks: Vec<_> = table.hooks_of(&tenant).iter().map(|hook| hook.id.0).collect();
        hooks.sort_unstable();
        found.extend(hooks.into_iter().map(|hook| (format!("hook of {at}"), Some(hook))));
    }
    found.push(("hooks".into(), Some(table.len() as i64)));
    found
}

proptest! {
    #[test]
    fn a_changed_table_finds_what_a_new_one_would(
        steps in prop::collection::vec((0..PATTERNS.len()).prop_flat_map(|host| (made(host), any::<bool>())), 1..40),
    ) {
        let (mut table, mut model) = (HookTable::default(), BTreeMap::new());
        let mut retired = BTreeMap::new();
        for (made, put) in steps {
            let before = (table.clone(), found(&table));
            if put {
                let hook = hook(&made);
                // Another tenant's is another hook.
                let passes = model.get(&made.id).is_some_and(|old: &Arc<Hook>| old.tenant != hook.tenant);
                if passes {
                    table.retire(HookId(made.id), false);
                    model.remove(&made.id);
                    retired.insert(made.id, ());
                    continue;
                }
                if retired.contains_key(&made.id) {
                    continue;
                }
                table.put(Arc::clone(&hook));
                model.insert(made.id, hook);
            } else if model.remove(&made.id).is_some() {
                table.retire(HookId(made.id), made.key);
                retired.insert(made.id, ());
            }
            let new = HookTable::index(model.values().cloned().collect(), Vec::new(), SetAside::default());
            prop_assert_eq!(found(&table), found(&new));
            prop_assert_eq!(&found(&before.0), &before.1, "the old table is as it was");
            for id in retired.keys() {
                prop_assert!(table.by_id(HookId(*id)).is_some());
            }
        }
    }
}
