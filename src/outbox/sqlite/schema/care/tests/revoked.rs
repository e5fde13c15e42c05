//! What was revoked or renewed since a backup stays so after its restore.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::{RestoredRevocations, back_up, check, prepare_restore};
use super::database;
use crate::hooks::Tenant;
use crate::outbox::sqlite::audit;
use crate::outbox::sqlite::schema::connection::open_reader;
use crate::outbox::sqlite::schema::{files, open_writer};
use crate::time::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_795_742_900_000);

/// A directory whose database, since its backup, has revoked tokens of acme, two single ones and a secret of globex.
fn used() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "old", 4, false);
    let store = open_writer(folder.path()).expect("a database");
    audit::revoke_token(&store, "before", UnixMillis(i64::MAX), UnixMillis(1)).expect("revoked");
    rotate(&store, "initech", 5);
    back_up(folder.path(), &backup(&folder), false, &|_, _| {}).expect("a backup");
    audit::revoke_tenant(&store, &Tenant::new("acme").expect("a tenant"), UnixMillis(7)).expect("revoked");
    audit::revoke_token(&store, "since", UnixMillis(i64::MAX), UnixMillis(8)).expect("revoked");
    rotate(&store, "globex", 2);
    folder
}

fn backup(folder: &TempDir) -> std::path::PathBuf {
    fs::create_dir_all(folder.path().join("backups")).expect("a folder");
    folder.path().join("backups/backup.db")
}

fn rotate(store: &Connection, tenant: &str, generation: i64) {
    let insert = "INSERT OR REPLACE INTO tenants (tenant, generation, rotated_at, sum) \
                  VALUES (?1, ?2, 9, newsum('tenant', ?1, 'generation', ?2, 'rotated_at', 9, 'revoked_at', NULL))";
    store.execute(insert, (tenant, generation)).expect("renewed");
}

/// Restores the backup; what is known of tokens and tenants then.
fn restored(folder: &TempDir, into: &Path) -> (RestoredRevocations, Vec<String>) {
    let prepared = prepare_restore(into, &backup(folder), None, NOW, &|_, _| {}).expect("a backup");
    let revocations = prepared.plan.revocations;
    prepared.put(&|_| Ok(())).expect("restored");
    let checked = check(&files::path(into), None, &|_, _| {}).expect("checked");
    assert_eq!(checked.findings, [], "sums are right");
    let store = open_reader(&files::path(into)).expect("a database");
    let rows = "SELECT jti FROM revoked_tokens UNION ALL \
                SELECT tenant || ' ' || generation || coalesce(' ' || revoked_at, '') FROM tenants";
    let mut rows = store.prepare(rows).expect("rows");
    let rows = rows.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("rows");
    (revocations, rows)
}

#[test]
fn what_was_revoked_or_renewed_since_a_backup_stays_so_after_its_restore() {
    let folder = used();
    let (revocations, rows) = restored(&folder, folder.path());
    assert_eq!(revocations, RestoredRevocations::Kept);
    assert_eq!(rows, ["before", "since", "acme 1 7", "globex 2", "initech 5"]);
}

#[test]
fn of_a_database_that_was_begun_anew_an_older_secret_is_not_taken() {
    let folder = used();
    let anew = tempfile::tempdir().expect("a folder");
    database(anew.path(), "new", 4, false);
    rotate(&open_writer(anew.path()).expect("a database"), "initech", 2);
    let (revocations, rows) = restored(&folder, anew.path());
    assert_eq!(
        (revocations, rows),
        (RestoredRevocations::Kept, vec!["before".to_owned(), "initech 5".to_owned()])
    );
}

#[test]
fn if_it_is_not_known_what_was_revoked_since_all_tokens_of_before_are_refused() {
    let altered = "UPDATE tenants SET revoked_at = 1 WHERE tenant = 'acme'";
    for alter in [altered, "UPDATE revoked_tokens SET jti = 'other' WHERE jti = 'since'", ""] {
        let folder = used();
        match alter {
            "" => fs::write(files::path(folder.path()), "no database").expect("written"),
            alter => open_writer(folder.path()).expect("a database").execute_batch(alter).expect("altered"),
        }
        let (revocations, rows) = restored(&folder, folder.path());
        assert_eq!(revocations, RestoredRevocations::AllTokens, "{alter}");
        assert_eq!(rows, ["before".to_owned(), format!(" 1 {}", NOW.0), "initech 5".to_owned()], "{alter}");
    }
    let (folder, log_alone) = (used(), tempfile::tempdir().expect("a folder"));
    fs::write(files::beside(&files::path(log_alone.path()), "-wal"), "what was committed last")
        .expect("written");
    assert_eq!(restored(&folder, log_alone.path()).0, RestoredRevocations::AllTokens);
    let (folder, nothing) = (used(), tempfile::tempdir().expect("a folder"));
    assert_eq!(restored(&folder, nothing.path()).0, RestoredRevocations::NotKnown);
}
