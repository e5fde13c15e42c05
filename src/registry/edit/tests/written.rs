//! What is written where a hook stands already.

use serde_json::{Value, json};

use super::FILE;
use super::world::{World, pattern, scope, url};
use crate::access::Scope;
use crate::registry::edit::*;

#[test]
fn an_operator_who_names_no_tenant_leaves_a_hook_to_its_own() {
    let (mut world, acme, operator) = (World::of(FILE), scope("acme"), Scope::for_tests());
    let made = world.put(&acme, "a.acme.example", url("1")).expect("made").after.expect("a hook");
    let changed = world.put(&operator, "a.acme.example", url("2")).expect("changed").after.expect("a hook");
    assert_eq!((changed.id, changed.tenant.as_str()), (made.id, "acme"));
    let given = json!({ "url": "https://b.example", "tenant": "b" });
    let given = world.put(&operator, "a.acme.example", given).expect("given to b");
    let owner = |hook: Option<Arc<Hook>>| hook.map(|hook| hook.tenant.to_string());
    assert_eq!(
        (owner(given.before), owner(given.after), given.is_new),
        (Some("acme".to_owned()), Some("b".to_owned()), false)
    );
    let new = world.put(&operator, "new.example", url("1")).expect("new");
    assert_eq!((owner(new.after), new.is_new), (Some("new.example".to_owned()), true));
}

#[test]
fn the_writer_reads_through_all_calls_only_where_there_may_be_some_to_move() {
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let now = |spec: Value| {
        let precondition = Precondition::None;
        EditRequest::Put { host: pattern("a.acme.example"), spec, now: true, precondition }
    };
    world.put(&acme, "a.acme.example", url("1")).expect("made");
    // Whether there are calls, what is asked for, and how many moves are planned: with the edit, and behind it.
    let cases = [(false, "1", (0, 0)), (true, "1", (1, 0)), (false, "2", (0, 1)), (true, "3", (1, 1))];
    for (calling, path, expected) in cases {
        world.calling = calling;
        let edit = world.edit(&acme, &now(url(path))).expect("planned");
        let moves = edit.moves.len();
        let found = (if edit.has_calls { moves } else { 0 }, if edit.edited.is_change { moves } else { 0 });
        assert_eq!(found, expected, "{calling} {path}");
    }
}

#[test]
fn eight_secrets_sign_at_most() {
    let secret = |n: u32| format!("whsec_{}{n:04}", "A".repeat(28));
    let (mut world, acme) = (World::of(FILE), scope("acme"));
    let spec = |n| json!({ "url": "https://a.example", "secret": secret(n) });
    for n in 0..8 {
        world.put(&acme, "a.acme.example", spec(n)).expect("as many may sign");
    }
    let refused = |result: Result<Edited, EditRefusal>| result.map(|edited| edited.is_change);
    assert_eq!(refused(world.put(&acme, "a.acme.example", spec(8))), Err(EditRefusal::ManySecrets));
    // One that signs already adds none; nor does what concerns no secret.
    for more in [json!({ "timeout": "5s", "secret": secret(7) }), json!({ "secret": secret(3) })] {
        let mut spec = url("1");
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        assert_eq!(refused(world.put(&acme, "a.acme.example", spec)), Ok(true));
    }
    assert_eq!(world.table.by_host(&pattern("a.acme.example")).map(|hook| hook.secrets.len()), Some(8));
    // The file is in force in any case: the oldest one gives way.
    let file = |n| {
        format!(
            "hooks:\n  - {{host: f.acme.example, tenant: acme, url: 'https://f.example/', secret: {}}}\n",
            secret(n)
        )
    };
    for n in 0..8 {
        assert!(world.file(&file(n)).unsigned.is_empty(), "{n}");
    }
    assert_eq!(world.file(&file(8)).unsigned, ["f.acme.example"]);
    let hook = world.table.by_host(&pattern("f.acme.example")).expect("in force");
    assert_eq!(hook.secrets.len(), 8);
    let signs = |n| hook.secrets.iter().any(|signing| *signing.secret.reveal() == secret(n));
    assert_eq!((signs(0), signs(1), signs(8)), (false, true, true));
}
