//! What the pages about limits and threats claim: each test that they name exists, and each number is that of the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::pages::pages;
use super::sources::sources;

/// The code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests that the rows of a page name: in the last cell.
fn named_tests(page: &str) -> Vec<&str> {
    rows(page).iter().filter_map(|row| row.last()).flat_map(|cell| spans(cell)).collect()
}

/// The names of all functions of the sources.
fn functions() -> BTreeSet<String> {
    let texts = ["src", "tests"].into_iter().flat_map(|folder| sources(folder).into_values());
    let names = texts.flat_map(|text| {
        let after = text.split("fn ").skip(1);
        let names = after.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned);
        names.collect::<Vec<_>>()
    });
    names.collect()
}

#[test]
fn every_test_that_the_pages_on_limits_and_threats_name_exists() {
    let (pages, functions) = (pages(), functions());
    for page in ["docs/limits.md", "docs/threats.md"] {
        let text = &pages[Path::new(page)];
        let named = named_tests(text);
        let missing: Vec<_> = named.iter().filter(|name| !functions.contains(**name)).collect();
        assert!(missing.is_empty() && named.len() > 20, "{page}: {missing:#?} of {}", named.len());
    }
}

/// The rows of the tables of a page, without their headings.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| !["test", "---"].contains(cells.last().unwrap_or(&""))).collect()
}

/// A number of the page, in bytes or milliseconds where it has such a unit: the first number of `512 quick`, `10 000`,
/// `one line in 10 s`.
fn shown(bound: &str) -> Option<u64> {
    let digits = &bound[bound.find(|c: char| c.is_ascii_digit())?..];
    let is_part = |c: char| c.is_ascii_digit() || c == ' ';
    let end = digits.find(|c| !is_part(c)).unwrap_or(digits.len());
    let number: u64 = digits[..end].replace(' ', "").parse().ok()?;
    let unit = digits[end..].split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let times = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "s" => 1000,
        "h" => 3_600_000,
        _ => 1,
    };
    Some(number * times)
}

/// The value of an expression of the code, if it is a number, a product, a shift or a duration of one.
fn value(expression: &str) -> Option<u64> {
    let within = |name: &str| expression.strip_prefix(name)?.strip_suffix(')').map(str::to_owned);
    if let Some(seconds) = within("Duration::from_secs(") {
        return Some(value(&seconds)? * 1000);
    }
    if let Some(milliseconds) = within("Duration::from_millis(") {
        return value(&milliseconds);
    }
    if let Some((number, bits)) = expression.split_once("<<") {
        return Some(value(number.trim())? << value(bits.trim())?);
    }
    let factors = expression.split('*').map(|factor| factor.trim().replace('_', "").parse::<u64>().ok());
    factors.product()
}

/// The values that a constant, or a field, has in a source.
fn values(source: &str, name: &str) -> Vec<u64> {
    let constant = |line: &str| {
        let rest = line.trim().trim_start_matches("pub ").strip_prefix("const ")?.strip_prefix(name)?;
        rest.starts_with(':').then(|| rest.split_once("= "))?.map(|(_, value)| value.to_owned())
    };
    let field = format!(" {name}: ");
    let fields = |line: &str| {
        let line = format!(" {line}");
        let parts = line.split(&field).skip(1).filter_map(|rest| rest.split([',', '}', ';']).next());
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    let found = source.lines().flat_map(|line| constant(line).into_iter().chain(fields(line)));
    found.filter_map(|text| value(text.trim().trim_end_matches(';').trim())).collect()
}

#[test]
fn every_bound_on_the_page_of_limits_is_that_of_the_code_and_has_a_test() {
    let (pages, sources) = (pages(), sources("src"));
    let rows = rows(&pages[Path::new("docs/limits.md")]);
    let mut wrong = Vec::new();
    for row in &rows {
        let [what, bound, _, _, place, tests] = row[..] else { panic!("six cells: {row:?}") };
        if spans(tests).next().is_none() {
            wrong.push(format!("{what}: it names no test"));
        }
        let [name, file] = spans(place).collect::<Vec<_>>()[..] else {
            assert!(place.is_empty(), "{what}: {place}");
            continue;
        };
        let source = sources.get(&PathBuf::from("src").join(file)).map_or("", String::as_str);
        let of_code = values(source, name);
        if !shown(bound).is_some_and(|shown| of_code.contains(&shown)) {
            wrong.push(format!("{what}: {bound}, and {name} in {file} is {of_code:?}"));
        }
    }
    assert!(rows.len() > 100 && wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn numbers_are_read_as_the_page_and_the_code_spell_them() {
    let spelled = ["512 quick, 256 slow", "10 000", "1 MiB", "one line in 10 s", "250 ms", "25 h", "half"];
    let expected = [Some(512), Some(10_000), Some(1 << 20), Some(10_000), Some(250), Some(90_000_000), None];
    assert_eq!(spelled.map(shown), expected);
    let source = "pub const A: usize = 10_000;\n    const B: Duration = Duration::from_secs(24 * 3600);\n\
                  Self { body: 1 << 20, bodies: 64 << 20 }\n    pub body: usize,\n";
    assert_eq!(values(source, "A"), [10_000]);
    assert_eq!(values(source, "B"), [86_400_000]);
    assert_eq!((values(source, "body"), values(source, "bodies")), (vec![1 << 20], vec![64 << 20]));
}
