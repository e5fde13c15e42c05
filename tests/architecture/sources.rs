//! The sources as text: files, the modules they are, and their code without tests and comments.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of Rust in a folder of this repository, by their paths in it.
pub fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    walk(&root.join(folder), &mut |path, text| {
        found.insert(path.strip_prefix(root).expect("in the repository").to_path_buf(), text);
    });
    found
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path, String)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found(&path, fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// The path of a file's module from the root of the crate: empty for `lib.rs`, none for `main.rs`.
pub fn module_path(file: &Path) -> Option<Vec<String>> {
    let inside = file.strip_prefix("src").ok()?.with_extension("");
    let names: Vec<_> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    match names[..].iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["main"] => None,
        ["lib"] => Some(Vec::new()),
        _ => Some(names),
    }
}

/// The top-level module a file belongs to; none for `lib.rs` and `main.rs`.
pub fn module(file: &Path) -> Option<String> {
    module_path(file)?.into_iter().next()
}

/// The code of a file, without its tests and comments.
pub fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
