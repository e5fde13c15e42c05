//! The house: each row imports only from rows below it, no files import one another in a circle, and
//! no file, folder or secret of a module grows beyond what one reader can hold.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says where")]

mod architecture {
    mod claims;
    mod documents;
    pub mod imports;
    mod pages;
    pub mod sources;
}

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use architecture::imports::{arrows, circle};
use architecture::sources::{code, module, sources};

/// Top to bottom, as in `src/lib.rs`.
const ROWS: &[&[&str]] = &[
    &["cli", "bench"],
    &["service"],
    &["config"],
    &["ingress", "api"],
    &["http"],
    &["dispatch"],
    &["outbox"],
    &["telemetry", "watch", "background", "tapped"],
    &["calls"],
    &["registry"],
    &["access"],
    &["delivery"],
    &["route"],
    &["hooks", "samples"],
    &["event", "signature", "redact"],
    &["domain", "ids", "network", "wire", "yaml"],
    &["time", "visible"],
];

/// Modules without IO and without `async`.
const PURE: &[&str] = &[
    "calls",
    "registry",
    "access",
    "route",
    "hooks",
    "domain",
    "event",
    "delivery",
    "signature",
    "redact",
    "samples",
    "network",
    "ids",
    "visible",
    "wire",
    "yaml",
];

fn row(module: &str) -> usize {
    ROWS.iter().position(|row| row.contains(&module)).unwrap_or_else(|| panic!("{module} is in no row"))
}

#[test]
fn arrows_point_down() {
    let mut upward = Vec::new();
    for (path, text) in sources("src") {
        let Some(from) = module(&path) else { continue };
        for import in code(&text).split("crate::").skip(1) {
            let to: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if to != from && row(&to) <= row(&from) {
                upward.push(format!("{} imports {to}", path.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn what_decides_does_no_io_and_waits_for_nothing() {
    for (path, text) in sources("src") {
        let pure = module(&path).is_some_and(|module| PURE.contains(&module.as_str()))
            || path.to_string_lossy().contains("dispatch/lane")
            || path.ends_with("dispatch/judge.rs")
            || path.ends_with("dispatch/backoff.rs");
        let code = code(&text);
        for banned in ["async ", ".await", "std::fs", "std::net::Tcp", "tokio::", "Clock"] {
            assert!(!pure || !code.contains(banned), "{} has {banned}", path.display());
        }
    }
}

#[test]
fn the_outbox_knows_no_http_and_only_its_engine_knows_sql() {
    for (path, text) in &sources("src") {
        let code = code(text);
        let module = module(path).unwrap_or_default();
        let is_engine = path.with_extension("").starts_with("src/outbox/sqlite");
        assert!(is_engine || !code.contains("rusqlite"), "{} knows SQL", path.display());
        let http = code.contains("axum::") || code.contains("reqwest::Client") || code.contains("hyper");
        assert!(module != "outbox" || !http, "{} knows HTTP", path.display());
    }
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    if let Some(way) = circle(&arrows()) {
        panic!("{way:#?}");
    }
}

#[test]
fn no_two_public_types_share_a_name() {
    let mut named: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (path, text) in sources("src") {
        let words = |line: &str| -> Option<String> {
            let line = line.strip_prefix("pub ")?;
            let kinds = ["struct ", "enum ", "trait "];
            let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
            Some(rest.chars().take_while(|c| c.is_alphanumeric()).collect())
        };
        // Each module has its own `Config`, each command its own `Flags`.
        let names =
            text.lines().filter_map(words).filter(|name| !["Config", "Flags"].contains(&name.as_str()));
        let is_test = path.components().any(|part| {
            part.as_os_str().to_string_lossy().starts_with("tests")
                || part.as_os_str() == "contract"
                || part.as_os_str() == "contract.rs"
        });
        names.filter(|_| !is_test).for_each(|name| named.entry(name).or_default().push(path.clone()));
    }
    named.retain(|_, paths| paths.len() > 1);
    assert!(named.is_empty(), "{named:#?}");
}

/// Lines of a file.
const LINES: usize = 400;

#[test]
fn no_file_is_longer_than_400_lines() {
    let files = FOLDERS.iter().flat_map(|folder| sources(folder));
    let long = files.filter(|(_, text)| text.lines().count() > LINES);
    let long: Vec<_> = long.map(|(path, _)| path).collect();
    assert!(long.is_empty(), "{long:#?}");
}

const FOLDERS: [&str; 4] = ["src", "tests", "benches", "examples"];

/// Folders that may hold more files: the rows of the house, which `src/lib.rs` lists.
const WIDE: &[&str] = &["src"];

/// Files beside each other.
const FILES: usize = 12;

#[test]
fn no_folder_has_more_than_12_files_beside_each_other() {
    let mut counts: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for path in FOLDERS.iter().flat_map(|folder| sources(folder).into_keys()) {
        *counts.entry(path.parent().expect("a folder").to_path_buf()).or_default() += 1;
    }
    counts.retain(|folder, count| *count > FILES && !WIDE.iter().any(|wide| folder == Path::new(wide)));
    assert!(counts.is_empty(), "{counts:#?}");
}
