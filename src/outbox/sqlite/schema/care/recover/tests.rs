//! Damaged databases: what is found, and what is saved.

mod hostile;
mod settled;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::contents::count;
use super::super::log::bytes::PAGE;
use super::super::tests::{all_ids, database};
use super::super::{check, prepare_restore};
use super::pages::Pages;
use super::salvage::Salvage;
use super::{CareFault, RecoveryReport, prepare_recovery};
use crate::outbox::sqlite::schema::connection::{create, in_memory, open_reader, write_durably};
use crate::outbox::sqlite::schema::tests::rows as all_rows;
use crate::outbox::sqlite::schema::{files, open_writer};
use crate::time::UnixMillis;

const EVENTS: i64 = 4_000;
const NOW: UnixMillis = UnixMillis(1_795_742_900_000);

/// Every row of every table of ours, by its table.
fn rows(store: &Connection) -> BTreeMap<String, BTreeSet<String>> {
    let mut rows = all_rows(store);
    rows.retain(|table, _| !table.starts_with("sqlite_"));
    rows
}

/// Fills a table with rows of all sizes, with and without what may be absent.
fn fill(store: &Connection, table: &str) {
    let columns = "SELECT name, type, \"notnull\" OR pk > 0, pk FROM pragma_table_info(?1)";
    let mut columns = store.prepare(columns).expect("columns");
    let column = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
        let (name, kind, needed): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let value = match (kind.as_str(), name.as_str()) {
            ("INTEGER", name) if name.ends_with("_at") => "1795742856000 + n".to_owned(),
            ("INTEGER", _) if row.get::<_, i64>(3)? > 0 => "n".to_owned(),
            ("INTEGER", _) => "(n % 5 - 2) * (1 << (n % 62))".to_owned(),
            ("TEXT", name) => format!("'{name}-' || n || hex(zeroblob(n * n % 3000))"),
            _ => "randomblob(n * n * n % 20000)".to_owned(),
        };
        Ok(if needed { value } else { format!("iif(n % 3 = {}, NULL, {value})", name.len() % 3) })
    };
    let values: Vec<String> =
        columns.query_map([table], column).expect("columns").collect::<Result<_, _>>().expect("columns");
    let rows = if ["progress", "overwritten", "predecessor"].contains(&table) { 1 } else { 300 };
    let insert = format!(
        "DELETE FROM {table}; WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) \
         INSERT INTO {table} SELECT {} FROM n",
        values.join(", ")
    );
    store.execute_batch(&insert).unwrap_or_else(|error| panic!("{table}: {error}"));
}

#[test]
fn every_row_of_every_table_is_found_without_the_first_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_writer(folder.path()).expect("a database");
    for table in rows(&store).keys() {
        fill(&store, table);
    }
    let expected = rows(&store);
    drop(store);
    let database = files::path(folder.path());
    damage(&database, |bytes| bytes[..PAGE].fill(0));
    let (saved, pages) = (in_memory(), Pages::open(&database).expect("pages"));
    let mut salvage = Salvage::new(&saved).expect("a salvage");
    salvage.read(&pages, &|_, _| {}).expect("read");
    assert_eq!((salvage.unreadable_rows, salvage.unreadable_pages), (0, 0));
    drop(salvage);
    let mut found = rows(&saved);
    found.remove("named");
    for (table, expected) in &expected {
        let found = &found[table];
        assert!(!expected.is_empty() && found == expected, "{table}: {} of {}", found.len(), expected.len());
    }
}

fn damage(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file");
    change(&mut bytes);
    fs::write(file, bytes).expect("written");
}

/// A directory with [`EVENTS`] events, and the numbers of the pages of `events` at each height, the root's first.
fn undamaged(keeps_log: bool) -> (TempDir, Vec<Vec<usize>>) {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", EVENTS, keeps_log);
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'events'";
    let root = count(&open_writer(folder.path()).expect("a store"), root).expect("a root");
    let bytes = fs::read(files::path(folder.path())).expect("a file");
    let mut heights = vec![vec![root]];
    while bytes[(heights[heights.len() - 1][0] - 1) * PAGE] == 5 {
        let last = heights.last().expect("a height");
        heights.push(last.iter().flat_map(|page| children(&bytes[(page - 1) * PAGE..page * PAGE])).collect());
    }
    (folder, heights)
}

fn children(page: &[u8]) -> Vec<usize> {
    let four = |at: usize| u32::from_be_bytes(page[at..at + 4].try_into().expect("four")) as usize;
    let two = |at: usize| usize::from(u16::from_be_bytes(page[at..at + 2].try_into().expect("two")));
    (0..two(3)).map(|cell| four(two(12 + 2 * cell))).chain([four(8)]).collect()
}

/// Recovers; every event that is saved is as it was, and the new database is sound.
fn recovered(folder: &TempDir) -> RecoveryReport {
    let prepared = prepare_recovery(folder.path(), NOW, &|_, _| {}).expect("recovered");
    let report = prepared.report.clone();
    let aside = prepared.put(&|_| Ok(())).expect("in place");
    assert_eq!(aside.as_deref(), Some("switchhook.db.damaged"));
    let store = open_writer(folder.path()).expect("a database");
    write_durably(&store).expect("it can be written");
    let altered =
        "SELECT count(*) FROM events WHERE id <> 'EV_' || seq OR received_at <> 1795742856000 + seq";
    assert_eq!(store.query_row(altered, [], |row| row.get::<_, i64>(0)).expect("a count"), 0);
    drop(store);
    let checked = check(&files::path(folder.path()), None, &|_, _| {}).expect("checked");
    assert_eq!(checked.findings, []);
    report
}

fn found(folder: &TempDir) -> usize {
    check(&files::path(folder.path()), None, &|_, _| {}).expect("checked").count()
}

#[test]
fn of_a_zeroed_page_its_rows_alone_are_lost_and_the_index_names_them() {
    let (folder, heights) = undamaged(false);
    let leaf = heights.last().expect("leaves")[7];
    damage(&files::path(folder.path()), |bytes| bytes[(leaf - 1) * PAGE..leaf * PAGE].fill(0));
    assert!(found(&folder) > 0);
    let report = recovered(&folder);
    let lost = usize::try_from(EVENTS).expect("a count") - report.contents.events;
    assert!((1..60).contains(&lost), "{lost}");
    assert_eq!(report.lost.len(), lost);
    assert!(report.lost.iter().all(|event| event.id == format!("EV_{}", event.row)), "{:?}", report.lost);
    let events = report.tables.iter().find(|table| table.table == "events").expect("events");
    assert_eq!(events.had, Some(EVENTS as usize));
}

#[test]
fn nothing_is_lost_with_the_pages_that_lead_to_the_rows() {
    let (folder, heights) = undamaged(false);
    let inner: Vec<usize> = heights[..heights.len() - 1].concat();
    assert!(!inner.is_empty());
    damage(&files::path(folder.path()), |bytes| {
        inner.iter().for_each(|page| bytes[(page - 1) * PAGE..page * PAGE].fill(0));
    });
    assert!(found(&folder) > 0);
    assert_eq!(recovered(&folder).contents.events, EVENTS as usize);
}

#[test]
fn nothing_is_lost_with_the_first_page() {
    for change in
        [|page: &mut [u8]| page[3] ^= 0x20, |page: &mut [u8]| page.fill(0), |page: &mut [u8]| page[17] ^= 4]
    {
        let (folder, _) = undamaged(false);
        damage(&files::path(folder.path()), |bytes| change(&mut bytes[..PAGE]));
        assert!(found(&folder) > 0);
        let report = recovered(&folder);
        assert_eq!((report.contents.events, report.without_body.len()), (EVENTS as usize, 0));
    }
}

#[test]
fn of_a_file_that_was_cut_what_is_left_is_saved_and_events_without_bodies_are_dead_letters() {
    let (folder, _) = undamaged(false);
    damage(&files::path(folder.path()), |bytes| bytes.truncate(bytes.len() / 2));
    assert!(found(&folder) > 0);
    let whole = files::size(&files::path(folder.path())) / PAGE as u64 * 2;
    let report = recovered(&folder);
    assert!(u64::from(report.missing_pages).abs_diff(whole / 2) < 2, "{} of {whole}", report.missing_pages);
    assert!((1..EVENTS as usize).contains(&report.contents.events), "{}", report.contents.events);
    let store = open_reader(&files::path(folder.path())).expect("a database");
    let dead = "SELECT count(*) FROM events WHERE state = 2 AND dead_reason = 'damaged'";
    let dead = count(&store, dead).expect("a count");
    assert_eq!(dead, report.without_body.len());
    assert_eq!(report.contents.pending + dead, report.contents.events);
}

#[test]
fn what_is_in_the_log_is_saved_and_without_it_what_was_before() {
    let half = EVENTS as usize / 2;
    for (has_log, at_least) in [(true, EVENTS as usize), (false, half)] {
        let folder = tempfile::tempdir().expect("a folder");
        database(folder.path(), "EV_", EVENTS, true);
        if !has_log {
            files::remove(&files::beside(&files::path(folder.path()), "-wal")).expect("removed");
        }
        damage(&files::path(folder.path()), |bytes| bytes[..100].fill(0));
        let report = recovered(&folder);
        assert!(report.contents.events >= at_least, "{} of {at_least}", report.contents.events);
        assert_eq!(folder.path().join("switchhook.db.damaged-wal").exists(), has_log);
    }
}

#[test]
fn a_log_that_ends_within_a_commit_is_read_up_to_the_commit_before() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 100, true);
    let log = files::beside(&files::path(folder.path()), "-wal");
    damage(&log, |bytes| {
        let last = bytes.len() - 9;
        bytes[last] ^= 1;
    });
    let copy = tempfile::tempdir().expect("a folder");
    for part in files::parts(&files::path(folder.path())).take(2) {
        fs::copy(&part, copy.path().join(part.file_name().expect("a name"))).expect("copied");
    }
    let expected = all_ids(&open_writer(copy.path()).expect("as SQLite reads it"));
    assert_eq!(recovered(&folder).contents.events, expected.len());
}

#[test]
fn where_nothing_can_be_read_it_is_said_and_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = prepare_recovery(folder.path(), NOW, &|_, _| {}).err();
    assert!(matches!(nothing, Some(CareFault::Nothing(_))), "{nothing:?}");
    fs::write(files::path(folder.path()), vec![0xa5; 20 * PAGE]).expect("garbage");
    let unreadable = prepare_recovery(folder.path(), NOW, &|_, _| {}).err();
    assert!(matches!(unreadable, Some(CareFault::Unreadable(_))), "{unreadable:?}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn a_trigger_that_somebody_put_into_a_database_is_found_not_restored_and_not_recovered() {
    for foreign in [
        "CREATE TRIGGER divert AFTER INSERT ON calls BEGIN UPDATE calls SET url = 'https://x.example'; END",
        "CREATE VIEW other AS SELECT 1",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        database(folder.path(), "EV_", 60, false);
        open_writer(folder.path()).expect("a database").execute_batch(foreign).expect(foreign);
        let checked = check(&files::path(folder.path()), None, &|_, _| {}).expect("checked");
        assert!(checked.findings[0].found.contains("which is not Switchhook's"), "{:?}", checked.findings);
        let other = tempfile::tempdir().expect("a folder");
        let refused = prepare_restore(other.path(), &files::path(folder.path()), None, NOW, &|_, _| {}).err();
        assert!(matches!(refused, Some(CareFault::Damaged { .. })), "{refused:?}");
        assert_eq!(recovered(&folder).contents.events, 60);
    }
}

#[test]
fn a_record_that_says_it_is_longer_than_the_file_or_has_more_values_than_any_table_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("crafted");
    for size in [64 << 20, 12_000_u32] {
        let mut bytes = vec![0; 3 * PAGE];
        let leaf = &mut bytes[PAGE..2 * PAGE];
        // A page of a table with one row, whose record is `size` bytes of head: as many NULLs.
        (leaf[0], leaf[4], leaf[9]) = (13, 1, 16);
        let size_of = [21, 14, 7, 0].map(|shift| (size >> shift) as u8 | if shift > 0 { 0x80 } else { 0 });
        leaf[16..20].copy_from_slice(&[
            size_of[0] | 0x80,
            size_of[1] | 0x80,
            size_of[2] | 0x80,
            size_of[3] & 0x7f,
        ]);
        leaf[20] = 1;
        leaf[21..25].copy_from_slice(&[
            size_of[0] | 0x80,
            size_of[1] | 0x80,
            size_of[2] | 0x80,
            size_of[3] & 0x7f,
        ]);
        // It goes on in the third page, which names itself.
        let (least, most) = ((PAGE - 12) * 32 / 255 - 23, PAGE - 35);
        let more = least + (size as usize - least) % (PAGE - 4);
        leaf[21 + if more <= most { more } else { least } + 3] = 3;
        bytes[2 * PAGE + 3] = 3;
        fs::write(&file, bytes).expect("a file");
        let pages = Pages::open(&file).expect("pages");
        let page = pages.page(2).expect("a page");
        let cells: Vec<_> = super::record::cells(&pages, 2, &page).collect();
        assert!(cells.len() == 1 && cells[0].is_none(), "{size}");
    }
}

#[test]
fn no_table_has_more_values_than_are_read_of_a_row() {
    let store = in_memory();
    let most =
        "SELECT max((SELECT count(*) FROM pragma_table_info(name))) FROM sqlite_schema WHERE type = 'table'";
    assert!(count(&store, most).expect("a count") <= super::record::MOST_VALUES / 2);
}

#[test]
fn a_log_alone_gives_what_is_in_it() {
    for leaves_empty_file in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        database(folder.path(), "EV_", EVENTS, true);
        let file = files::path(folder.path());
        fs::remove_file(&file).expect("removed");
        if leaves_empty_file {
            fs::write(&file, "").expect("an empty file");
        }
        assert!(recovered(&folder).contents.events >= EVENTS as usize / 2);
    }
}

#[test]
fn an_event_that_says_that_it_is_delivered_and_has_a_body_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 20, false);
    assert_eq!(found(&folder), 0);
    let store = open_writer(folder.path()).expect("a database");
    store.execute_batch("UPDATE events SET state = 1 WHERE seq = 3").expect("altered");
    drop(store);
    assert_eq!(found(&folder), 1);
}

proptest::proptest! {
    // Each case fills a database. PROPTEST_CASES raises them.
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(proptest::prelude::ProptestConfig::default().cases / 10))]

    /// Whatever the bytes are: no panic, and nothing that was not there.
    #[test]
    fn any_bytes_may_be_altered(at in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 1..40), to: u8) {
        let folder = tempfile::tempdir().expect("a folder");
        database(folder.path(), "EV_", 60, false);
        damage(&files::path(folder.path()), |bytes| {
            let length = bytes.len();
            at.iter().for_each(|at| bytes[at.index(length)] = to);
        });
        let store = Connection::open_in_memory().expect("a database");
        create(&store).expect("the schema");
        let pages = Pages::open(&files::path(folder.path())).expect("pages");
        let mut salvage = Salvage::new(&store).expect("a salvage");
        salvage.read(&pages, &|_, _| {}).expect("read");
    }
}
