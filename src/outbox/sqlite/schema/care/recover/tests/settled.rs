//! What was altered or is incomplete is settled, and a check of the new database finds none of it again.

use super::super::super::check;
use super::super::super::contents::count;
use super::super::super::tests::database;
use super::super::prepare_recovery;
use super::{NOW, found, recovered};
use crate::outbox::sqlite::schema::connection::open_reader;
use crate::outbox::sqlite::schema::{files, open_writer};

#[test]
fn altered_rows_are_settled_once_and_a_check_finds_none_of_them_again() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 200, false);
    let store = open_writer(folder.path()).expect("a database");
    let call = "INSERT INTO calls (call, began_at, seen_at, tenant, sum) VALUES ('RM_1', 1795742856000, 1795742856000, \
                'acme', newsum('call', 'RM_1', 'room', NULL, 'hook', NULL, 'url', NULL, 'format', NULL, 'participant', NULL, \
                'began_at', 1795742856000, 'tenant', 'acme', 'space', NULL))";
    store.execute_batch(call).expect("a call");
    assert_eq!(check::count_altered(&store).expect("read"), 0);
    let altered = "UPDATE calls SET tenant = 'globex'; UPDATE progress SET unsummed = 47; \
                   UPDATE events SET sum = 7 WHERE seq > 47; UPDATE events SET bound_sum = 7 WHERE seq = 1; \
                   UPDATE events SET state = 4, hook = NULL WHERE seq = 198; \
                   UPDATE events SET state = 2, dead_reason = 'expired', settled_at = 9 WHERE seq = 199; \
                   UPDATE events SET state = 1, settled_at = 9 WHERE seq = 200; DELETE FROM bodies WHERE seq = 200; \
                   INSERT INTO hooks (id, host, tenant, url, layer, version, removed_at, sum) \
                   VALUES (2, 'old.example', 'acme', 'http://a.example/', 'api', 1, 9, 7); \
                   UPDATE events SET hook = 2 WHERE seq = 2";
    store.execute_batch(altered).expect("altered");
    // 151 that wait, a dead letter, one bound elsewhere, a hook and a call.
    assert_eq!(check::count_altered(&store).expect("read"), 155);
    drop(store);
    assert!(found(&folder) > 100);
    let report = recovered(&folder);
    assert_eq!((report.altered_rows, report.altered.len()), (155, 155));
    let became =
        |row| report.altered.iter().find(|settled| settled.row == row).map(|row| row.became.as_str());
    assert_eq!(became(Some(48)), Some("EV_48 is a dead letter now (damaged)"));
    assert_eq!(became(Some(198)), Some("EV_198, which had no hook yet, is removed"));
    assert_eq!(became(None), Some("RM_1 is removed: its next event that names a domain binds it anew"));
    let store = open_reader(&files::path(folder.path())).expect("a database");
    let of = |sql| count(&store, sql).expect("a count");
    let dead = "SELECT count(*) FROM events WHERE state = 2 AND dead_reason = 'damaged'";
    assert_eq!((of(dead), of("SELECT count(*) FROM calls"), of("SELECT count(*) FROM hooks")), (153, 0, 1));
    drop(store);
    // A replay must not deliver them: their sums stay wrong.
    let store = open_writer(folder.path()).expect("a database");
    let known = |from, to| {
        let update = format!("UPDATE events SET dead_reason = '{to}' WHERE dead_reason = '{from}'");
        store.execute_batch(&update).expect("changed");
    };
    known("damaged", "expired");
    assert_eq!(check::count_altered(&store).expect("read"), 151);
    known("expired", "damaged");
    drop(store);
    let again = prepare_recovery(folder.path(), NOW, &|_, _| {}).expect("recovered").report;
    assert_eq!(again.altered_rows, 0);
}

#[test]
fn an_altered_revocation_refuses_all_tokens_of_before_and_is_found_once() {
    let insert = "INSERT INTO tenants (tenant, generation, sum) VALUES ('acme', 2, newsum('tenant', 'acme', 'generation', 2, \
                  'rotated_at', NULL, 'revoked_at', NULL)); \
                  INSERT INTO revoked_tokens (jti, expires_at, revoked_at, sum) \
                  SELECT value, 1795742956000, 1795742856000, \
                  newsum('jti', value, 'expires_at', 1795742956000, 'revoked_at', 1795742856000) \
                  FROM json_each('[\"one\", \"two\"]')";
    for (alter, table, key, tokens) in [
        ("UPDATE tenants SET generation = 1", "tenants", "acme", 2),
        ("UPDATE revoked_tokens SET jti = 'three' WHERE jti = 'one'", "revoked_tokens", "three", 1),
        ("UPDATE revoked_tokens SET sum = NULL WHERE jti = 'one'", "revoked_tokens", "one", 1),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        database(folder.path(), "EV_", 20, false);
        let store = open_writer(folder.path()).expect("a database");
        store.execute_batch(insert).expect("revoked");
        assert_eq!(check::count_altered(&store).expect("read"), 0);
        store.execute_batch(alter).expect(alter);
        drop(store);
        let checked = check(&files::path(folder.path()), None, &|_, _| {}).expect("checked");
        let [finding] = &checked.findings[..] else { panic!("{alter}: {:?}", checked.findings) };
        assert_eq!((finding.table.as_deref(), finding.key.as_deref()), (Some(table), Some(key)));
        assert!(finding.means.starts_with("API tokens that were issued before"), "{}", finding.means);
        let report = recovered(&folder);
        assert_eq!((report.altered[0].table, report.altered[0].key.as_deref()), (table, Some(key)));
        assert!(report.altered[0].became.contains("all API tokens of before are refused"), "{alter}");
        assert_eq!(found(&folder), 0, "{alter}");
        let store = open_reader(&files::path(folder.path())).expect("a database");
        let everybody = format!("SELECT count(*) FROM tenants WHERE tenant = '' AND revoked_at = {}", NOW.0);
        assert_eq!(count(&store, &everybody).expect("a count"), 1, "{alter}");
        assert_eq!(count(&store, "SELECT count(*) FROM revoked_tokens").expect("a count"), tokens, "{alter}");
    }
}

#[test]
fn no_mark_is_beyond_the_last_event_that_is_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 60, false);
    let store = open_writer(folder.path()).expect("a database");
    let marks = "UPDATE progress SET seq = 90, numbered = 90, digested = 90; \
                 INSERT INTO erasures (tenant, asked_at, event, record, step, cursor, report) \
                 VALUES ('acme', 1795742856000, 90, 90, 0, '', '{}'); \
                 DELETE FROM bodies WHERE seq > 55; UPDATE events SET state = 3 WHERE seq > 55";
    store.execute_batch(marks).expect("marked");
    drop(store);
    recovered(&folder);
    let store = open_writer(folder.path()).expect("a database");
    let marks = "SELECT seq, numbered, digested, event, record FROM progress, erasures";
    let marks = store.query_row(marks, [], |row| (0..5).map(|column| row.get(column)).collect());
    let marks: Vec<i64> = marks.expect("the marks");
    assert_eq!(marks, [0, 0, 55, 55, 0], "events 56 to 60 had no body: the next one is 56 again");
}

#[test]
fn a_hook_that_is_lost_gives_its_number_to_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 20, false);
    let store = open_writer(folder.path()).expect("a database");
    store.execute_batch("UPDATE events SET hook = 7 WHERE seq > 10").expect("another hook's");
    drop(store);
    let report = recovered(&folder);
    assert_eq!(report.contents.pending, 10, "the others have no hook any more");
    let store = open_writer(folder.path()).expect("a database");
    let used = "SELECT seq FROM sqlite_sequence WHERE name = 'hooks'";
    assert_eq!(store.query_row(used, [], |row| row.get::<_, i64>(0)).expect("a number"), 7);
}
