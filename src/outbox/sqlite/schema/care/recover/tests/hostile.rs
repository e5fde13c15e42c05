//! Files that somebody has made so that reading them never ends: what they cost is bounded by their size.

use std::fs;
use std::path::Path;

use super::super::super::check;
use super::super::super::log::bytes::PAGE;
use super::super::super::log::frames::checksum;
use super::super::super::tests::database;
use super::super::pages::Pages;
use super::super::prepare_recovery;
use super::super::salvage::Salvage;
use super::{NOW, damage, undamaged};
use crate::outbox::sqlite::schema::connection::in_memory;
use crate::outbox::sqlite::schema::{files, open_writer};

/// Pages of rows in the first half, and a chain of pages in the second.
const PAGES: usize = 64;

/// Bytes of a page's list of rows, and where its only row is.
const LIST: usize = 2000;
const ROW: usize = 2100;

#[test]
fn pages_that_many_records_share_are_not_read_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("crafted");
    let mut bytes = vec![0; PAGES * PAGE];
    for (number, page) in (1_u32..).zip(bytes.chunks_exact_mut(PAGE)) {
        if number as usize > PAGES / 2 {
            page[..4].copy_from_slice(&(number + 1).to_be_bytes());
            continue;
        }
        page[0] = 13;
        page[3..5].copy_from_slice(&(LIST as u16 / 2).to_be_bytes());
        page[8..8 + LIST].chunks_exact_mut(2).for_each(|at| at.copy_from_slice(&(ROW as u16).to_be_bytes()));
        // 120 000 bytes, row 1: 1332 bytes are here, and the rest begins in the first page of the chain.
        page[ROW..ROW + 4].copy_from_slice(&[0x87, 0xa9, 0x40, 1]);
        page[ROW + 4 + 1332..][..4].copy_from_slice(&(PAGES as u32 / 2 + 1).to_be_bytes());
    }
    fs::write(&file, &bytes).expect("a file");
    let (saved, pages) = (in_memory(), Pages::open(&file).expect("pages"));
    let mut salvage = Salvage::new(&saved).expect("a salvage");
    salvage.read(&pages, &|_, _| {}).expect("read");
    // The list of the first page is behind the header of the file.
    assert_eq!(salvage.unreadable_rows, (PAGES / 2 - 1) * LIST / 2);
    assert!(pages.further(PAGES as u32).is_none(), "no more are read");
}

#[test]
fn rows_that_share_bytes_are_read_as_long_as_the_page_has_so_many() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 60, false);
    let file = files::path(folder.path());
    let bytes = fs::read(&file).expect("a file");
    let leaf =
        bytes.chunks_exact(PAGE).position(|page| page[0] == 13 && page[3] == 0 && matches!(page[4], 2..=4));
    let leaf = leaf.expect("a page with large rows");
    // Its list has a thousand entries, and all of them are the first row's.
    damage(&file, |bytes| {
        let page = &mut bytes[leaf * PAGE..(leaf + 1) * PAGE];
        let row = [page[8], page[9]];
        page[3..5].copy_from_slice(&1000_u16.to_be_bytes());
        page[8..2008].chunks_exact_mut(2).for_each(|at| at.copy_from_slice(&row));
    });
    let pages = Pages::open(&file).expect("pages");
    let page = pages.page(leaf as u32 + 1).expect("a page");
    let read = super::super::record::cells(&pages, leaf as u32 + 1, &page).flatten().count();
    assert!((1..100).contains(&read), "{read}");
}

/// Gives the last commit of a log another number of pages, with the checksum that belongs to it.
fn say_pages(log: &Path, said: u32) {
    damage(log, |bytes| {
        let last = bytes.len() - 24 - PAGE;
        bytes[last + 4..last + 8].copy_from_slice(&said.to_be_bytes());
        let before = if last > 32 { last - 24 - PAGE + 16 } else { 24 };
        let four = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four"));
        let sum = (four(&bytes[before..]), four(&bytes[before + 4..]));
        let is_big = cfg!(target_endian = "big");
        let sum = checksum(sum, &bytes[last..last + 8], is_big);
        let sum = checksum(sum, &bytes[last + 24..], is_big);
        bytes[last + 16..last + 20].copy_from_slice(&sum.0.to_be_bytes());
        bytes[last + 20..last + 24].copy_from_slice(&sum.1.to_be_bytes());
    });
}

#[test]
fn no_pages_are_read_behind_the_last_one_whatever_a_commit_says() {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 60, true);
    let (file, log) = (files::path(folder.path()), files::beside(&files::path(folder.path()), "-wal"));
    let before = Pages::open(&file).expect("pages").count;
    say_pages(&log, u32::MAX);
    let pages = Pages::open(&file).expect("pages");
    assert_eq!((pages.count, pages.missing()), (before, u32::MAX - before));
}

#[test]
fn a_recovery_and_a_check_end_though_what_they_read_does_not() {
    let endless = "DROP TABLE attempts; CREATE VIEW attempts AS \
                   WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS seq FROM n WHERE i < 0";
    let disguised = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 0, sql = 'CREATE VIEW bodies AS \
                     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS seq FROM n WHERE i < 0' \
                     WHERE name = 'bodies'";
    for (sql, events) in [(endless, 60), (disguised, 60)] {
        let folder = tempfile::tempdir().expect("a folder");
        database(folder.path(), "EV_", events, false);
        open_writer(folder.path()).expect("a database").execute_batch(sql).expect(sql);
        let checked = check(&files::path(folder.path()), None, &|_, _| {}).expect("checked");
        // Of what is disguised as a table, SQLite itself says that it is malformed.
        let is_named = |what: &str| checked.findings.iter().any(|finding| finding.found.contains(what));
        assert!(is_named("which is not Switchhook's") || is_named("malformed"), "{:?}", checked.findings);
        let report = prepare_recovery(folder.path(), NOW, &|_, _| {}).expect("recovered").report;
        assert_eq!(report.contents.events, events as usize);
    }
}

#[test]
fn a_recovery_and_a_check_end_though_pages_lead_to_one_another_in_more_ways_than_can_be_gone() {
    const WAYS: usize = 400;
    let (folder, heights) = undamaged(false);
    let leaves = heights.last().expect("leaves");
    damage(&files::path(folder.path()), |bytes| {
        // The root leads to the first page, each page to the next one, in so many ways, and the last one to rows.
        for (from, to) in heights[0].iter().chain(&leaves[..9]).zip(&leaves[..10]) {
            let page = &mut bytes[(from - 1) * PAGE..from * PAGE];
            page.fill(0);
            page[0] = 5;
            page[3..5].copy_from_slice(&(WAYS as u16).to_be_bytes());
            page[5..7].copy_from_slice(&(PAGE as u16 - 5).to_be_bytes());
            page[8..12].copy_from_slice(&u32::try_from(*to).expect("a page").to_be_bytes());
            page[12..12 + 2 * WAYS]
                .chunks_exact_mut(2)
                .for_each(|at| at.copy_from_slice(&(PAGE as u16 - 5).to_be_bytes()));
            page[PAGE - 5..PAGE - 1].copy_from_slice(&u32::try_from(*to).expect("a page").to_be_bytes());
            page[PAGE - 1] = 1;
        }
    });
    let checked = check(&files::path(folder.path()), None, &|_, _| {}).expect("checked");
    assert!(checked.count() > 0 && checked.contents.is_none());
    let report = prepare_recovery(folder.path(), NOW, &|_, _| {}).expect("recovered").report;
    assert!(report.contents.events > 3000, "{}", report.contents.events);
    assert_eq!(report.tables.iter().find(|table| table.table == "bodies").expect("bodies").had, Some(4000));
}
