//! How the findings are printed.

use std::collections::{BTreeMap, HashSet};

use super::finding::{Finding, Severity, Subject};
use crate::cli::terminal::{counted, grouped, paragraph, plain, say};

/// Before what belongs to a finding.
const INDENT: &str = "           ";

/// Things that are printed; `--json` prints all.
const THINGS: usize = 100;

/// Prints what was asked, and the findings by what they are about, the worst first.
pub fn print(asked: &[[String; 3]], findings: &[Finding]) {
    let widths = [0, 1].map(|at| asked.iter().map(|row| plain(&row[at]).chars().count()).max().unwrap_or(0));
    for [thing, name, told] in asked {
        let (thing, name) = (plain(thing), plain(name));
        say(format_args!("{thing:<0$}  {name:<1$}  {told}", widths[0], widths[1], told = plain(told)));
    }
    let groups = groups(findings);
    let mut told = HashSet::new();
    groups.iter().take(THINGS).for_each(|group| say(block(group, &mut told)));
    if groups.len() > THINGS {
        say(format_args!("\n{}", left_out(&groups[THINGS..])));
    }
    if let Some(needs) = needs(findings) {
        say(format_args!("\n{needs}"));
    }
    say(format_args!("\n{}", summary(findings)));
}

/// What the commands need; None: there is none.
fn needs(findings: &[Finding]) -> Option<String> {
    let commands: Vec<_> = findings.iter().filter_map(|finding| finding.command.as_deref()).collect();
    let have = |text: &str| commands.iter().any(|command| command.contains(text));
    let jq = if have("jq ") { ", and jq" } else { "" };
    let variables =
        [("EDGE_IP", "your edge's address"), ("TRUNK_IDS", "the ids of the rule's trunks, with commas")];
    let set = variables.iter().filter(|(name, _)| have(name));
    let set: String = set.map(|(name, value)| format!(" Set {name} first: {value}.")).collect();
    (!commands.is_empty()).then(|| format!("The commands need LiveKit's lk 2.16 or newer{jq}.{set}"))
}

/// The findings of one thing together, the worst things first.
fn groups(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        match groups.last_mut().filter(|group| group[0].subject == finding.subject) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    for group in &mut groups {
        group.sort_by_key(|finding| finding.severity);
    }
    groups.sort_by_key(|group| group[0].severity);
    groups
}

/// The lines of one thing: its name, each finding, and the commands that mend them. A finding whose text was printed for
/// another thing is shortened to "see above"; `told` holds the texts that were printed.
fn block<'f>(group: &[&'f Finding], told: &mut HashSet<[&'f str; 3]>) -> String {
    let mut lines = vec![String::new(), title(&group[0].subject)];
    for Finding { severity, what, why, fix, .. } in group {
        let begin = format!("  {:<9}", severity.as_str());
        if told.insert([what, why, fix]) {
            lines.extend(paragraph(&begin, &ended(what)));
            lines.extend(paragraph(INDENT, &ended(&capital(why))));
            lines.extend(paragraph("         → ", &ended(&capital(fix))));
        } else {
            lines.extend(paragraph(&begin, &format!("{what}; see above.")));
        }
    }
    let mut printed = HashSet::new();
    let commands = group.iter().filter_map(|finding| finding.command.as_deref());
    let commands = commands.filter(|command| printed.insert(*command));
    lines.extend(commands.map(|command| format!("{INDENT}{}", plain(command))));
    lines.join("\n")
}

/// What is not printed, by the names of the checks.
fn left_out(groups: &[Vec<&Finding>]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in groups.iter().flatten() {
        *counts.entry(finding.check).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(check, count)| format!("{} {check}", grouped(*count))).collect();
    let text = format!("{} more, which --json prints: {}", grouped(groups.len()), counts.join(", "));
    paragraph("… ", &text).join("\n")
}

fn title(subject: &Subject) -> String {
    let Subject { thing, id, name } = subject;
    let id = id.as_deref().map(|id| format!(" {}", plain(id))).unwrap_or_default();
    let name = name.as_deref().map(|name| format!(" ({})", plain(name))).unwrap_or_default();
    format!("{thing}{id}{name}")
}

/// A sentence with its mark.
fn ended(text: &str) -> String {
    let mark = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{text}{mark}")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// How many findings of each kind.
fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let kinds =
        [Severity::Problem, Severity::Warning, Severity::Note].map(|kind| (count(kind), kind.as_str()));
    let told: Vec<_> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| counted(*count, kind)).collect();
    if told.is_empty() { "no finding".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::WIDTH;

    #[test]
    fn a_thing_is_told_once_in_lines_that_fit_and_steers_no_terminal() {
        let long = "word ".repeat(40);
        let subject = Subject::of("inbound trunk", "ST_1", "evil\u{1b}[2J\nname");
        let finding = |severity, what: &str| {
            let text = [what.to_owned(), long.trim().to_owned(), "is it mended?".to_owned()];
            Finding::new(severity, "check", subject.clone(), text)
        };
        let by = |finding: Finding, command: &str| finding.by(Some(command.to_owned()));
        let all = [
            by(finding(Severity::Warning, "second"), "lk sip inbound list"),
            by(finding(Severity::Warning, "third"), "lk sip dispatch list"),
            by(finding(Severity::Warning, "fourth"), "lk sip inbound list"),
            by(finding(Severity::Problem, "first"), "lk sip inbound list"),
        ];
        let groups = groups(&all);
        assert_eq!(groups.len(), 1);
        let told = block(&groups[0], &mut HashSet::new());
        assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
        assert!(
            told.contains("inbound trunk ST_1 (evil\\u{1b}[2J\\u{a}name)\n  problem  first.\n"),
            "{told}"
        );
        assert_eq!(told.matches("\n           lk sip inbound list").count(), 1, "{told}");
        assert!(told.contains("\n         → Is it mended?\n"), "{told}");
        assert_eq!(summary(&all), "1 problem, 3 warnings");
        assert_eq!(summary(&[]), "no finding");
        assert_eq!(left_out(&groups), "… 1 more, which --json prints: 4 check");
    }
}
