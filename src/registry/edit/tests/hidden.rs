//! What a URL whose query is hidden stands for, and to whom.

use serde_json::json;

use super::FILE;
use super::world::{World, pattern, scope, url};
use crate::access::Scope;
use crate::hooks::Hook;
use crate::registry::edit::*;
use crate::registry::pauses::Pauses;

const HOST: &str = "a.acme.example";

/// A world in which acme's hook has a token in its URL.
fn world() -> World {
    let mut world = World::of(FILE);
    world.put(&scope("acme"), HOST, url("hook?token=hush")).expect("made");
    world
}

fn is_faulty(put: &Result<Edited, EditRefusal>) -> bool {
    matches!(put, Err(EditRefusal::Faults(faults)) if faults.len() == 1 && faults[0].key == "url")
}

fn in_force(world: &World, host: &str) -> Hook {
    Hook::clone(world.table.by_host(&pattern(host)).expect("in force"))
}

#[test]
fn a_hook_keeps_its_query_where_the_mark_follows_the_same_url() {
    let (mut world, acme) = (world(), scope("acme"));
    let same = world.put(&acme, HOST, url("hook?***")).expect("the same");
    assert!(!same.is_change);
    // However it is spelled.
    let spelled = json!({ "url": "HTTPS://api.example:443/hook?***", "tenant": "acme", "timeout": "3s" });
    assert_eq!(world.put(&acme, HOST, spelled).expect("changed").parts, ["timeout"]);
    assert_eq!(in_force(&world, HOST).url.as_str(), "https://api.example/hook?token=hush");
    let elsewhere = [
        "https://api.example/other?***",
        "https://api.example:8443/hook?***",
        "https://b.example/hook?***",
        "https://api.example/hook?***#",
        "https://api.example/hook?***&a=b",
        "https://api.example/hook?token=***",
        "https://10.0.0.7/hook?***",
        "no URL?***",
    ];
    for url in elsewhere {
        let refused = world.put(&acme, HOST, json!({ "url": url }));
        assert!(is_faulty(&refused), "{url}: {refused:?}");
    }
    assert_eq!(in_force(&world, HOST).url.as_str(), "https://api.example/hook?token=hush");
    world.put(&acme, HOST, url("hook?token=other")).expect("replaced");
    assert_eq!(in_force(&world, HOST).url.query(), Some("token=other"));
    world.put(&acme, HOST, url("hook")).expect("removed");
    assert_eq!(in_force(&world, HOST).url.query(), None);
    assert!(is_faulty(&world.put(&acme, HOST, url("hook?***"))), "there is none to keep");
}

#[test]
fn the_mark_gives_a_query_to_no_other_hook_and_shows_nobody_elses() {
    let (mut world, acme, operator) = (world(), scope("acme"), Scope::for_tests());
    assert!(is_faulty(&world.put(&acme, "new.acme.example", url("hook?***"))), "a new hook has none");
    let given = json!({ "url": "https://api.example/hook?***", "tenant": "b" });
    assert!(is_faulty(&world.put(&operator, HOST, given)), "another tenant's is another hook");
    // Of a host that both may have, the second sees nothing: not whether the URL is the first one's.
    world.put(&acme, "shared.example", url("hook?token=hush")).expect("made");
    for guess in ["hook?***", "other?***"] {
        assert!(is_faulty(&world.put(&scope("b"), "shared.example", url(guess))), "{guess}");
    }
    // One that is the file's stays the file's.
    let of_file = world.put(&acme, "file.acme.example", url("?***"));
    assert_eq!(of_file.err(), Some(EditRefusal::OfFile));
    world.put(&operator, HOST, url("hook?***")).expect("an operator sees all");
    assert_eq!(in_force(&world, HOST).url.query(), Some("token=hush"));
    // One that was deleted has left nothing.
    world.edit(&acme, &super::world::delete(HOST)).expect("deleted");
    assert!(is_faulty(&world.put(&acme, HOST, url("hook?***"))));
}

#[test]
fn the_mark_is_of_the_version_that_was_read() {
    let (mut world, acme) = (world(), scope("acme"));
    let put = |world: &mut World, path: &str, precondition: Precondition| {
        let edit = EditRequest::Put { host: pattern(HOST), spec: url(path), now: false, precondition };
        world.edit(&acme, &edit).map(|edit| edit.edited.is_change)
    };
    let read = Etag::of(&in_force(&world, HOST));
    assert_eq!(put(&mut world, "hook?***", Precondition::OneOf(vec![read])), Ok(false));
    assert_eq!(put(&mut world, "moved?token=hush", Precondition::None), Ok(true));
    let current = Some(Etag::of(&in_force(&world, HOST)));
    for precondition in [Precondition::OneOf(vec![read]), Precondition::Absent] {
        assert_eq!(put(&mut world, "hook?***", precondition), Err(EditRefusal::Stale { current }));
    }
}

#[test]
fn a_query_that_cannot_be_opened_is_none_to_keep() {
    let (mut world, acme) = (world(), scope("acme"));
    world.rows.iter_mut().for_each(|row| row.is_locked = true);
    let (table, around, pauses) = (world.table.clone(), super::world::around(), Pauses::default());
    let rows = world.rows.clone();
    let ground =
        EditGround { table: &table, pauses: &pauses, rows, calling: false, around: &around, now: world.now };
    let edit = super::world::put(HOST, url("hook?***"));
    let refused = world.registry.plan_edit(&acme, &edit, &ground).map(|edit| edit.edited);
    assert!(is_faulty(&refused), "{refused:?}");
}
