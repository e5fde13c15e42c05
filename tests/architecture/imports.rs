//! Which file imports from which: paths in `use` and in the code, followed to the file of the item.
//!
//! A module that declares another and re-exports its items imports nothing by that; it does if it uses
//! them itself. An item that is re-exported is followed to where it is defined.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::sources::{code, module_path, sources};

/// The path of a module from the root of the crate.
type Module = Vec<String>;

/// What a file's text says of other files.
struct File {
    path: PathBuf,
    /// Names its `use` brings in, and the paths they stand for.
    names: BTreeMap<String, Vec<String>>,
    /// Paths it uses: its imports that are no mere re-exports, and paths in the code.
    paths: Vec<Vec<String>>,
}

/// The files of the library and the arrows between them.
pub fn arrows() -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let all = sources("src").into_iter();
    let files: BTreeMap<Module, File> =
        all.filter_map(|(path, text)| Some((module_path(&path)?, File::read(path, &code(&text))))).collect();
    let targets = |module: &Module, file: &File| {
        let found = file.paths.iter().filter_map(|path| resolve(&files, module, path, 0));
        found.map(|target| files[&target].path.clone()).filter(|path| *path != file.path).collect()
    };
    files.iter().map(|(module, file)| (file.path.clone(), targets(module, file))).collect()
}

impl File {
    fn read(path: PathBuf, code: &str) -> Self {
        let (uses, rest) = split_uses(code);
        let words = words(&rest);
        let (mut names, mut paths) = (BTreeMap::new(), inline_paths(&rest));
        for Use { public, tree } in uses {
            for (path, name) in expand(&tree) {
                // A re-export alone imports nothing.
                if !public || words.contains(name.as_str()) {
                    paths.push(path.clone());
                }
                names.insert(name, path);
            }
        }
        Self { path, names, paths }
    }
}

/// The module whose file defines what `path` names in the module `from`; none: it is another crate's.
fn resolve(files: &BTreeMap<Module, File>, from: &Module, path: &[String], depth: usize) -> Option<Module> {
    assert!(depth < 20, "{from:?}: {path:?} leads round in a circle of re-exports");
    let first = path.first()?;
    let (mut at, mut rest) = match first.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (from.clone(), &path[1..]),
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            (from[..from.len().checked_sub(ups)?].to_vec(), &path[ups..])
        }
        // A child, or a name that `use` brought in; everything else is another crate's, or its own.
        _ if files.contains_key(&child(from, first)) => (child(from, first), &path[1..]),
        _ => {
            let known = files[from].names.get(first).filter(|known| known.first() != Some(first))?;
            (resolve(files, from, known, depth + 1)?, &path[1..])
        }
    };
    while let Some(name) = rest.first() {
        let below = child(&at, name);
        if files.contains_key(&below) {
            (at, rest) = (below, &rest[1..]);
            continue;
        }
        return match files.get(&at)?.names.get(name) {
            Some(known) => resolve(files, &at, known, depth + 1).or(Some(at)),
            None => Some(at),
        };
    }
    files.contains_key(&at).then_some(at)
}

fn child(module: &[String], name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

struct Use {
    public: bool,
    tree: String,
}

/// The `use` declarations of a code, and the code without them.
fn split_uses(code: &str) -> (Vec<Use>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        let public = start.starts_with("pub");
        let after =
            if public { start.split_once(" use ").map(|(_, tree)| tree) } else { start.strip_prefix("use ") };
        let visibility =
            |start: &str| start.split(" use ").next().is_some_and(|head| !head.contains([' ', '{']));
        let Some(tree) = after.filter(|_| !public || visibility(start)) else {
            rest += line;
            rest += "\n";
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            tree += lines.next().expect("the end of a use");
        }
        tree.retain(|c| !c.is_whitespace() || c == ' ');
        uses.push(Use { public, tree: tree.trim_end_matches(';').to_owned() });
    }
    (uses, rest)
}

/// The paths of a `use`, and the names they bring in.
fn expand(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let head: Vec<_> = segments(head.trim_end_matches("::"));
        let group = &group[..group.rfind('}').expect("the end of a group")];
        let parts = outer_parts(group).into_iter().flat_map(expand);
        return parts
            .map(|(path, name)| match path.first().map(String::as_str) {
                Some("self") if path.len() == 1 => (head.clone(), head.last().cloned().unwrap_or(name)),
                _ => (head.iter().cloned().chain(path).collect(), name),
            })
            .collect();
    }
    let (path, renamed) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let path = segments(path);
    let name = renamed.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    // Everything of a module: the module itself is the target.
    let path = path.into_iter().filter(|name| name != "*").collect();
    vec![(path, name)]
}

/// The parts between the commas that stand in no inner group.
fn outer_parts(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[from..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The paths of two names and more that stand in a code.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let candidates = code.split(|c: char| !in_path(c)).filter(|text| text.contains("::"));
    candidates.map(segments).filter(|path| path.len() > 1).collect()
}

fn words(code: &str) -> BTreeSet<&str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect()
}

/// A way round that begins and ends at the same file, if there is one.
pub fn circle(arrows: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Option<Vec<PathBuf>> {
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|from| walk(arrows, from, &mut Vec::new(), &mut done))
}

fn walk(
    arrows: &BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    at: &PathBuf,
    way: &mut Vec<PathBuf>,
    done: &mut BTreeSet<PathBuf>,
) -> Option<Vec<PathBuf>> {
    if let Some(begin) = way.iter().position(|before| before == at) {
        return Some(way[begin..].iter().chain([at]).cloned().collect());
    }
    if done.contains(at) {
        return None;
    }
    way.push(at.clone());
    let found = arrows.get(at).into_iter().flatten().find_map(|to| walk(arrows, to, way, done));
    way.pop();
    done.insert(at.clone());
    found
}
