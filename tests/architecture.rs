//! The direction of the arrows: each row of the house imports only from rows below it.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Top to bottom, as in `src/lib.rs`.
const ROWS: &[&[&str]] = &[
    &["cli", "bench"],
    &["service"],
    &["config"],
    &["ingress", "api"],
    &["http"],
    &["dispatch"],
    &["outbox"],
    &["telemetry", "watch", "background"],
    &["delivery"],
    &["route"],
    &["hooks"],
    &["event", "signature", "redact"],
    &["domain", "ids", "network", "yaml"],
    &["time"],
];

/// Modules without IO and without `async`.
const PURE: &[&str] =
    &["route", "hooks", "domain", "event", "delivery", "signature", "redact", "network", "ids", "yaml"];

fn row(module: &str) -> usize {
    ROWS.iter().position(|row| row.contains(&module)).unwrap_or_else(|| panic!("{module} is in no row"))
}

fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.insert(path, text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// The top-level module a file belongs to; none for `lib.rs` and `main.rs`.
fn module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("in src");
    let first = inside.components().next()?.as_os_str().to_string_lossy().into_owned();
    let name = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    (!matches!(name.as_str(), "lib" | "main")).then_some(name)
}

/// The code of a file, without its tests and comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn arrows_point_down() {
    let mut upward = Vec::new();
    for (path, text) in sources() {
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
    for (path, text) in sources() {
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
fn the_outbox_knows_no_http_and_nobody_else_knows_sql() {
    for (path, text) in sources() {
        let code = code(&text);
        let module = module(&path).unwrap_or_default();
        let sql = code.contains("rusqlite");
        let http = code.contains("axum::") || code.contains("reqwest::Client") || code.contains("hyper");
        assert!(module == "outbox" || !sql, "{} knows SQL", path.display());
        assert!(module != "outbox" || !http, "{} knows HTTP", path.display());
    }
}
