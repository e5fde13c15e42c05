//! The Markdown pages of this repository as text: their links, the anchors of their headings, their sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing written here.
const FOREIGN: [&str; 3] = ["target", "node_modules", "data"];

/// Every page, by its path in the repository.
pub fn pages() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, &mut found);
    // Recordings are data, but their description is a page.
    walk(&root.join("tests/data"), &mut found);
    let page = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a page");
        (path.strip_prefix(root).expect("in the repository").to_path_buf(), text)
    };
    found.into_iter().map(page).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
            walk(&path, found);
        } else if path.is_file() && name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The lines outside of fenced code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// A line without its code spans: what stands in them is no Markdown.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// A line with its links replaced by their words.
fn without_targets(line: &str) -> String {
    let mut parts = line.split("](");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        words.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    words.replace(['[', '!'], "")
}

/// Where the links and pictures of a page lead to.
pub fn links(page: &str) -> Vec<String> {
    let target = |part: &str| part.split(')').next().unwrap_or_default().to_owned();
    let of_line = |line: &str| without_code(line).split("](").skip(1).map(target).collect::<Vec<_>>();
    prose(page).flat_map(of_line).collect()
}

/// The anchors of a page's headings, as GitHub makes them: lower case, punctuation dropped, hyphens for spaces, a number
/// for one that was there before.
pub fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(page).filter(|line| line.starts_with('#')) {
        let words = without_targets(line.trim_start_matches('#').trim()).to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// The sentences of a page's paragraphs and lists, in lower case and without markup; not those of tables, headings and
/// pictures.
pub fn sentences(page: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in prose(page).map(str::trim) {
        let apart = line.is_empty() || line.starts_with(['|', '#', '<', '!']);
        if apart || line.starts_with("- ") || line.starts_with(|c: char| c.is_ascii_digit()) {
            paragraphs.push(String::new());
        }
        if let (false, Some(paragraph)) = (apart, paragraphs.last_mut()) {
            paragraph.push_str(&without_targets(line.trim_start_matches("- ")));
            paragraph.push(' ');
        }
    }
    let plain = |text: &str| text.replace(['`', '*', '_'], "").trim().trim_end_matches('.').to_lowercase();
    let split = |text: &String| text.split(". ").map(plain).collect::<Vec<_>>();
    paragraphs.iter().flat_map(split).collect()
}
