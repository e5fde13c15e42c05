//! What the documents say about the program, asked of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::spec::world::World;

/// What the program prints as help.
fn help(args: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_switchhook");
    let printed = Command::new(program).args(args).arg("--help").env_clear().output().expect("switchhook");
    assert!(printed.status.success(), "{args:?}: {}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8(printed.stdout).expect("text")
}

/// The flags and variables of a text.
fn settings(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    let flag =
        |word: &&str| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic));
    words.filter(|word| flag(word) || word.starts_with("SWITCHHOOK_")).collect()
}

/// Variables that the help does not name: two whose value may be a path instead, and those of other commands.
const UNNAMED: [&str; 5] = [
    "SWITCHHOOK_MASTER_SECRET",
    "SWITCHHOOK_API_SECRET",
    "SWITCHHOOK_URL",
    "SWITCHHOOK_TOKEN",
    "SWITCHHOOK_SECRET",
];

#[test]
fn the_page_of_settings_has_every_setting_and_no_other() {
    let (page, help) = (include_str!("../../../docs/settings.md"), help(&["serve"]));
    let (mut page, mut known) = (settings(page), settings(&help));
    for words in [&mut page, &mut known] {
        words.retain(|word| !["--help", "--version"].contains(word));
    }
    known.extend(UNNAMED);
    assert_eq!(page.symmetric_difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new());
}

fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_folder = |folder: &str| fs::read_dir(root.join(folder)).expect("a folder");
    let files = ["", "docs", "examples/kamailio", "examples/livekit"].into_iter().flat_map(of_folder);
    let paths = files.map(|entry| entry.expect("an entry").path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(path).expect("a page"))).collect()
}

/// The command lines of a page that begin with the program's name: in blocks of shell, and in code spans.
fn command_lines(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let joined = blocks.map(|block| block.replace("\\\n", " ")).collect::<Vec<_>>();
    let lines = joined.iter().flat_map(|block| block.lines());
    let prose = page.split("```").step_by(2).collect::<String>().replace('\n', " ");
    let spans = prose.split('`').skip(1).step_by(2);
    let all = lines.chain(spans).map(str::trim).filter_map(|line| line.strip_prefix("switchhook "));
    all.map(|line| line.split(" #").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_command_in_the_documents_is_one_the_program_has() {
    let root = help(&[]);
    let has = |help: &str, name: &str| {
        name.starts_with(char::is_alphabetic)
            && help.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")))
    };
    for (path, page) in pages() {
        for line in command_lines(&page) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [command, rest @ ..] = &words[..] else { continue };
            let named = command.starts_with("--") || has(&root, command);
            assert!(named, "{}: switchhook {line}: there is no such command", path.display());
            let command: &[&str] = if command.starts_with("--") { &[] } else { &[command] };
            let of_command = help(command);
            let sub = rest.first().filter(|word| of_command.contains("Commands:") && has(&of_command, word));
            let text = sub.map_or(of_command.clone(), |sub| help(&[command, &[*sub]].concat()));
            for flag in settings(&line).into_iter().filter(|word| word.starts_with("--")) {
                assert!(settings(&text).contains(flag), "{}: switchhook {line}: no {flag}", path.display());
            }
        }
    }
}

#[test]
fn every_command_the_program_has_is_in_the_documents() {
    let documents = pages().into_iter().filter(|(path, _)| !path.ends_with("CHANGELOG.md"));
    let all: String = documents.map(|(_, page)| page).collect();
    let help = help(&[]);
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        assert!(all.contains(&format!("switchhook {name}")), "switchhook {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_every_rule_and_every_reason_is_in_the_documents() {
    let (running, routing) =
        (include_str!("../../../docs/running.md"), include_str!("../../../docs/routing.md"));
    let world = World::with(&[]).await;
    let (_, metrics) = world.api("/metrics").await;
    let lines: Vec<&str> = metrics.as_str().expect("text").lines().collect();
    for line in lines.iter().filter_map(|line| line.strip_prefix("# TYPE switchhook_")) {
        let name = line.split(' ').next().expect("a name");
        assert!(running.contains(&format!("`{name}")), "docs/running.md: {name}");
    }
    for family in ["events_routed_total{rule", "events_unrouted_total{reason"] {
        let prefix = format!("switchhook_{family}=\"");
        let names: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix(&*prefix)?.split('"').next()).collect();
        assert!(!names.is_empty(), "{family}: {lines:#?}");
        for name in names.into_iter().filter(|name| *name != "held") {
            assert!(routing.contains(&format!("| `{name}` |")), "docs/routing.md: {name}");
        }
    }
}
