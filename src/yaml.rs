//! YAML read into a tree that knows where everything stands, so that all faults of a file can be
//! named at once, each with its line and column.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Budget, Location, Spanned};

use crate::visible::plain;

/// Where something stands in a file, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TextPosition {
    pub line: u64,
    pub column: u64,
}

/// Something wrong in a file: what, where and, where it helps, how to mend it. Never quotes a
/// secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextFault {
    pub place: TextPosition,
    /// The key it concerns.
    pub key: String,
    pub message: String,
    pub fix: Option<String>,
}

impl TextFault {
    /// A fault of `key` at `place`.
    pub fn new(place: TextPosition, key: &str, message: impl Into<String>) -> Self {
        Self { place, key: key.to_owned(), message: message.into(), fix: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for TextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format!("{}:{}", self.place.line, self.place.column);
        // They quote the text, and may name a file by its own name.
        write!(f, "{place:>7}  {:<8} {}", plain(&self.key), plain(&self.message))?;
        match &self.fix {
            Some(fix) => write!(f, "\n{:>18} → {}", "", plain(fix)),
            None => Ok(()),
        }
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    pub value: Value,
    pub place: TextPosition,
}

/// What YAML can hold, untyped.
#[derive(Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    /// In the file's order; a key may stand twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Debug)]
pub struct Key {
    pub name: String,
    pub place: TextPosition,
}

/// A YAML file may hold this many nodes: a million hooks with all their keys.
const MAX_NODES: usize = 32_000_000;

/// Levels of lists and maps; ours have six. Each is a recursion of the parser, which takes up to 32 KiB of the stack.
const MAX_DEPTH: usize = 16;

/// Nodes, and bytes of texts, that aliases may add to those of a file as long as itself: a few lines of them could stand
/// for a terabyte.
const ALIASED_NODES: usize = 50_000;
const ALIASED_BYTES: usize = 16 << 20;

/// Reads one YAML document; an empty file is [`Value::Null`].
///
/// # Errors
/// The first syntax fault: behind it the parser cannot know what was meant.
pub fn parse(text: &str) -> Result<Node, TextFault> {
    // No snippet: an error must not quote the file, which may hold secrets. Doubled keys pass here,
    // so that they can be reported together with everything else.
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.max_nodes = MAX_NODES;
    budget.max_events = 2 * MAX_NODES;
    // Escapes make two bytes of a text up to three; what is more comes of aliases.
    budget.max_total_scalar_bytes = text.len().saturating_mul(2).saturating_add(ALIASED_BYTES);
    let aliased =
        text.len().saturating_mul(4).saturating_add(ALIASED_NODES).min(budget.max_recorded_anchor_events);
    budget.max_recorded_anchor_events = aliased;
    let options = serde_saphyr::options! {
        budget: Some(budget),
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: aliased },
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        strict_booleans: true,
    };
    let spanned: Spanned<Value> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_fault(&error))?;
    Ok(node(spanned))
}

fn syntax_fault(error: &serde_saphyr::Error) -> TextFault {
    let place = error.location().map_or(TextPosition { line: 1, column: 1 }, place);
    let message = error.without_snippet().to_string();
    let message = message.lines().next().unwrap_or_default().to_owned();
    TextFault::new(place, "yaml", message)
}

fn place(location: Location) -> TextPosition {
    TextPosition { line: location.line(), column: location.column() }
}

fn node(spanned: Spanned<Value>) -> Node {
    Node { value: spanned.value, place: place(spanned.referenced) }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    // Exact up to 2^53; whatever is larger is out of every range here.
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }
    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }
    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            list.push(node(item));
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            let key = Key { place: place(key.referenced), name: key.value };
            entries.push((key, node(value)));
        }
        Ok(Value::Map(entries))
    }
}

impl Value {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_know_their_place_even_when_doubled() {
        let root = parse("hooks:\n  - host: a\n    url: b\n    host: [1, true]\n").expect("yaml");
        let Value::Map(top) = root.value else { panic!("map") };
        let Value::List(hooks) = &top[0].1.value else { panic!("list") };
        let Value::Map(entries) = &hooks[0].value else { panic!("map") };
        let places: Vec<_> = entries
            .iter()
            .map(|(key, node)| (key.name.as_str(), key.place.line, key.place.column, node.place.column))
            .collect();
        assert_eq!(places, [("host", 2, 5, 11), ("url", 3, 5, 10), ("host", 4, 5, 11)]);
    }

    #[test]
    fn a_syntax_fault_has_a_place_and_quotes_nothing() {
        let fault = parse("hooks:\n  - secret: whsec_hush\n   url: x\n").expect_err("bad indent");
        assert_eq!(fault.place.line, 3, "{fault}");
        assert!(!fault.to_string().contains("hush"), "{fault}");
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn lists_may_be_sixteen_levels_deep() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn aliases_may_stand_for_fifty_thousand_nodes_and_four_times_the_file() {
        // An alias of this list stands for 1002 events of the parser: its nodes, its beginning and its end.
        let aliases = |count: usize| {
            let list = format!("- &list [{}]\n", vec!["x"; 1000].join(","));
            format!("{list}{}", "- *list\n".repeat(count))
        };
        let allowed = |count: usize| (aliases(count).len() * 4 + ALIASED_NODES) / 1002;
        let most = (1..).find(|count| allowed(*count) < *count).expect("a number") - 1;
        assert!(parse(&aliases(most)).is_ok());
        assert!(parse(&aliases(most + 1)).is_err());
    }

    #[test]
    fn aliases_may_stand_for_sixteen_megabytes_and_twice_the_file() {
        let aliases =
            |count: usize| format!("- &text {}\n{}", "x".repeat(1 << 20), "- *text\n".repeat(count));
        // One such text is that of the file, whose length counts twice.
        let most = (ALIASED_BYTES >> 20) + 1;
        assert!(parse(&aliases(most)).is_ok());
        assert!(parse(&aliases(most + 1)).is_err());
    }
}
