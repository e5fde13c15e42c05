//! Databases of version 3 are amended in place.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::connection::VERSION;
use super::super::{begin_to_read, path, version_of};
use super::names;
use crate::calls::tests::world::{room, table};
use crate::calls::{Change, Keys};
use crate::hooks::{Layer, Origin};
use crate::ids::{DeliveryId, HookId};
use crate::outbox::engine::Engine;
use crate::outbox::engine::contract::bench::{added, at, begun, destination, owned, session, tenant};
use crate::outbox::sqlite::{PendingDelivery, Sqlite, pending_delivery, revocations, stored_hooks};
use crate::registry::{HookChange, Seals};
use crate::signature::MasterSecret;

fn routed(id: i64, sequence: i64) -> Change {
    added(id, &room(&format!("EV_{id}"), "room_started", "c"), Ok(destination(1, "c", sequence)))
}

/// A directory with two pending events, a call, a hook, a renewed secret and a revoked token.
fn filled() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut engine = Sqlite::open(folder.path()).expect("a database");
    let origin = Origin { layer: Layer::Api, version: 1, created_at: None, changed_at: None };
    let (host, url) = ("a.example".to_owned(), "https://a.example/".to_owned());
    let added = HookChange::Add { id: HookId(1), host, tenant: "acme".to_owned(), url, kept: None, origin };
    let bound = Change::CallBound { session: session("c"), bound: owned(1), participant: None };
    let changes = [
        Change::Hook(added),
        begun("c", 1),
        bound,
        routed(1, 1),
        routed(2, 2),
        Change::SecretRotated { tenant: tenant("acme"), generation: 2, at: at(1) },
        Change::TenantRevoked { tenant: tenant("acme"), at: at(1) },
        Change::TokenRevoked { jti: "jti".into(), expires_at: at(99), at: at(1) },
    ];
    engine.commit(&[&changes]).expect("committed");
    folder
}

/// Makes it one that a release of version 3 left, which knew no sums.
fn left_by_version_3(folder: &TempDir) {
    let store = Connection::open(path(folder.path())).expect("a database");
    for (table, column) in [
        ("events", "sum"),
        ("events", "bound_sum"),
        ("calls", "sum"),
        ("participants", "sum"),
        ("hooks", "sum"),
        ("tenants", "sum"),
        ("revoked_tokens", "sum"),
        ("progress", "unsummed"),
    ] {
        store.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {column}")).expect("as it was");
    }
    store.pragma_update(None, "user_version", 3).expect("a version");
}

fn is_whole(engine: &Sqlite, id: i64) -> bool {
    let table = table(&["host: a.example, tenant: acme, url: 'https://a.example/'"]);
    let seals = Seals::new(&MasterSecret::parse(&"m".repeat(32)).expect("strong"));
    let found = pending_delivery(engine.connection(), &table, &seals, DeliveryId(id)).expect("read");
    matches!(found, (PendingDelivery::Whole(_), None))
}

/// The tables of which something is damaged, as a start and the next event of the call find them.
fn damaged(engine: &mut Sqlite) -> Vec<&'static str> {
    let hooks = stored_hooks(engine.connection(), at(9)).expect("hooks");
    let mut found: Vec<_> = hooks.hooks.iter().filter(|hook| hook.is_damaged).map(|_| "hooks").collect();
    let (_, rows) = revocations(engine.connection(), at(9)).expect("revocations");
    let loaded = engine.load(&Keys { sessions: vec![session("c")], ..Keys::default() }).expect("loaded");
    engine.rest();
    found.extend(rows.iter().chain(&loaded.damaged).map(|row| row.table));
    found
}

#[test]
fn a_database_of_version_3_is_amended_in_place_and_what_it_has_is_intact() {
    let folder = filled();
    left_by_version_3(&folder);
    let mut engine = Sqlite::open(folder.path()).expect("amended");
    assert_eq!(version_of(engine.connection()).expect("a version"), VERSION);
    assert!(names(folder.path()).iter().all(|name| !name.contains(".v")), "{:?}", names(folder.path()));
    assert_eq!(damaged(&mut engine), Vec::<&str>::new());
    assert!(is_whole(&engine, 1) && is_whole(&engine, 2));
    engine.commit(&[&[routed(3, 3)]]).expect("committed");
    drop(engine);
    let engine = Sqlite::open(folder.path()).expect("opened");
    engine.connection().execute_batch("UPDATE events SET sum = NULL").expect("altered");
    let whole = [1, 2, 3].map(|id| is_whole(&engine, id));
    assert_eq!(whole, [true, true, false], "a younger event has a sum");
}

#[test]
fn a_row_that_lacks_its_sum_or_was_altered_is_damaged_and_nothing_else_is() {
    for (is_amended, alter) in [(true, "sum = NULL"), (false, "sum = NULL"), (true, "sum = sum + 1")] {
        for table in ["hooks", "calls", "tenants", "revoked_tokens"] {
            let folder = filled();
            if is_amended {
                left_by_version_3(&folder);
            }
            let mut engine = Sqlite::open(folder.path()).expect("opened");
            assert_eq!(damaged(&mut engine), Vec::<&str>::new());
            let update = format!("UPDATE {table} SET {alter}");
            engine.connection().execute_batch(&update).expect("altered");
            assert_eq!(damaged(&mut engine), [table], "{update}");
        }
    }
}

#[test]
fn an_event_or_a_binding_that_lacks_its_sum_or_its_rule_is_damaged() {
    for alter in [
        "sum = NULL",
        "state = 9",
        "bound_sum = NULL",
        "bound_url = NULL",
        "outcome = 'rule'",
        "outcome = x'00'",
    ] {
        let folder = filled();
        let engine = Sqlite::open(folder.path()).expect("opened");
        assert!(is_whole(&engine, 1));
        let update = format!("UPDATE events SET {alter} WHERE seq = 1");
        engine.connection().execute_batch(&update).expect("altered");
        assert_eq!([1, 2].map(|id| is_whole(&engine, id)), [false, true], "{update}");
    }
}

/// What a flipped bit makes of a column: no text, no number, or another kind of value.
#[test]
fn a_start_reads_whatever_is_in_its_small_tables_and_names_the_damaged_rows() {
    for (table, columns) in [
        (
            "hooks",
            &[
                "host",
                "tenant",
                "url",
                "layer",
                "version",
                "paused_ms",
                "paused_by",
                "created_at",
                "removed_at",
            ][..],
        ),
        ("tenants", &["tenant", "generation", "rotated_at", "revoked_at"]),
        ("revoked_tokens", &["jti", "expires_at", "revoked_at"]),
    ] {
        for column in columns {
            for value in ["x'ff'", "CAST(x'ff' AS TEXT)", "0.5", "'other'"] {
                let folder = filled();
                let engine = Sqlite::open(folder.path()).expect("opened");
                let update = format!("UPDATE {table} SET {column} = {value}");
                engine.connection().execute_batch(&update).expect("altered");
                drop(engine);
                let mut engine = Sqlite::open(folder.path()).expect("opened");
                crate::outbox::sqlite::pauses(engine.connection()).expect("pauses");
                let found = damaged(&mut engine);
                // What is no text there is one of those that a hook need not have.
                let is_covered = !["version", "paused_ms", "paused_by", "created_at"].contains(column);
                assert!(found == [table] || (!is_covered && found.is_empty()), "{update}: {found:?}");
            }
        }
    }
}

#[test]
fn a_database_with_a_trigger_is_refused_and_stays_as_it_is() {
    for is_older in [false, true] {
        let folder = filled();
        if is_older {
            left_by_version_3(&folder);
        }
        let store = Connection::open(path(folder.path())).expect("a database");
        let trigger = "CREATE TRIGGER divert AFTER UPDATE ON calls BEGIN \
                       UPDATE calls SET url = 'https://x.example/' WHERE call = new.call; END; \
                       PRAGMA wal_checkpoint(TRUNCATE)";
        store.execute_batch(trigger).expect("a trigger");
        drop(store);
        let before = fs::read(path(folder.path())).expect("a file");
        let refused = Sqlite::open(folder.path()).err().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(refused.contains("the trigger \"divert\"") && refused.contains("store recover"), "{refused}");
        assert!(fs::read(path(folder.path())).expect("a file") == before);
    }
}

#[test]
fn a_database_of_version_3_that_cannot_be_written_waits_until_it_can() {
    let folder = filled();
    left_by_version_3(&folder);
    let refused = begin_to_read(Path::new(folder.path())).err().map(|fault| fault.to_string());
    assert!(
        refused.as_ref().is_some_and(|refused| refused.contains("once it can be written")),
        "{refused:?}"
    );
}
