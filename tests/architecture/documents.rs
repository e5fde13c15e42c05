//! The documents: links lead somewhere, pictures are those that the script draws, nothing is said twice.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::pages::{anchors, links, pages, sentences};

/// A path without `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(tidy.pop()),
            Component::CurDir => {}
            part => tidy.push(part),
        }
    }
    tidy
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let pages = pages();
    let mut broken = Vec::new();
    for (page, text) in &pages {
        for link in links(text).iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(f, a)| (f, Some(a)));
            let folder = page.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { page.clone() } else { tidy(&folder.join(file)) };
            let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists();
            let found = |anchor| pages.get(&target).is_some_and(|text| anchors(text).contains(anchor));
            if !there || !anchor.is_none_or(found) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Sentences with fewer words may stand twice.
const WORDS: usize = 8;

#[test]
fn no_sentence_stands_twice() {
    let mut said: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    // The changelog says once more what is new.
    for (page, text) in pages().into_iter().filter(|(page, _)| page != Path::new("CHANGELOG.md")) {
        for sentence in sentences(&text) {
            if sentence.split_whitespace().count() >= WORDS {
                said.entry(sentence).or_default().push(page.clone());
            }
        }
    }
    said.retain(|_, pages| pages.len() > 1);
    assert!(said.is_empty(), "{said:#?}");
}

/// What is read in two minutes: 240 words a minute, and the code and tables in between.
const README_WORDS: usize = 1000;

#[test]
fn the_readme_is_read_in_two_minutes() {
    let readme = &pages()[Path::new("README.md")];
    let words = readme.split_whitespace().count();
    assert!(words <= README_WORDS, "{words} words: move depth into docs/");
}

#[test]
fn the_pictures_are_what_the_script_draws() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures/draw.py");
    let drawn = Command::new("python3").arg(script).arg("--check").output();
    let drawn = drawn.expect("python3, which `tests/run` installs");
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
}

#[test]
fn pages_are_read_as_github_shows_them() {
    let page = "# hooks.yaml: the `hook` table\n## A tenant's own URL\n```sh\n# no heading\n```\n## Test\n## Test\n\
                ## [Slow](x.md), full or broken";
    let expected = ["hooksyaml-the-hook-table", "a-tenants-own-url", "test", "test-1", "slow-full-or-broken"];
    assert_eq!(anchors(page), expected.map(str::to_owned).into());
    assert_eq!(links("[a](b.md#c) `[no](link)` ![d](e.svg)\n```\n[f](g)\n```"), ["b.md#c", "e.svg"]);
    let page = "A **sentence**\nof [two](x) lines. Another.\n| no | row |\n- An item.";
    let expected = ["a sentence of two lines", "another", "an item"];
    let found = sentences(page).into_iter().filter(|sentence| !sentence.is_empty());
    assert_eq!(found.collect::<Vec<_>>(), expected);
}
