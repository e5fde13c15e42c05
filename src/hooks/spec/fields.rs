//! Typed values out of untyped maps. Whatever is wrong is noted, and reading goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::time::Duration;

use zeroize::Zeroizing;

use super::around::Source;
use super::reader::SpecReader;
use crate::hooks::settings::{KeyPair, Masked};
use crate::time::{parse_duration, spell_duration};
use crate::yaml::{Key, Node, TextFault, TextPosition, Value};

/// The entries of one map, with doubled and unknown keys already reported.
pub struct Fields {
    /// What stands before a key's name in messages: `retry.`.
    within: &'static str,
    nodes: HashMap<String, Node>,
}

impl Fields {
    /// The value of a key, once.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        self.nodes.remove(key)
    }

    /// Whether any of these keys is there.
    pub fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.nodes.contains_key(*key))
    }

    /// Where the first of these keys stands that is there.
    pub fn place_of(&self, keys: &[&str]) -> Option<TextPosition> {
        keys.iter().find_map(|key| self.nodes.get(*key)).map(|node| node.place)
    }
}

impl SpecReader<'_> {
    /// Sorts a map's entries by key; unknown and doubled keys are faults.
    pub fn fields(&mut self, within: &'static str, entries: Vec<(Key, Node)>, known: &[&str]) -> Fields {
        let mut nodes = HashMap::new();
        for (key, node) in entries {
            let label = format!("{within}{}", key.name);
            if !known.contains(&key.name.as_str()) {
                let fault = TextFault::new(key.place, &label, "there is no such key");
                self.faults.push(fault.fix(suggestion(&key.name, known)));
                continue;
            }
            match nodes.entry(key.name) {
                Slot::Vacant(slot) => {
                    slot.insert(node);
                }
                Slot::Occupied(_) => self.fault(key.place, &label, "the key stands here twice"),
            }
        }
        Fields { within, nodes }
    }

    /// The map under `key`.
    pub fn map(
        &mut self,
        fields: &mut Fields,
        key: &str,
        within: &'static str,
        known: &[&str],
    ) -> Option<(TextPosition, Fields)> {
        let node = fields.take(key)?;
        match node.value {
            Value::Map(entries) => Some((node.place, self.fields(within, entries, known))),
            other => {
                let message = format!("a map of {} belongs here, not {}", known.join(", "), other.kind());
                self.fault(node.place, key, message);
                None
            }
        }
    }

    pub fn text<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text.trim()),
            Value::Text(_) => {
                self.fault(node.place, key, "it is empty");
                None
            }
            other => {
                let fault =
                    TextFault::new(node.place, key, format!("text belongs here, not {}", other.kind()));
                let quoted = matches!(other, Value::Number(_) | Value::Bool(_));
                self.faults.push(if quoted { fault.fix("put it in quotes") } else { fault });
                None
            }
        }
    }

    /// A text that may stand elsewhere: `${NAME}` or `{file: path}`.
    pub fn secret_text(&mut self, node: &Node, key: &str) -> Option<Zeroizing<String>> {
        let looked = if let Value::Map(entries) = &node.value {
            let [(Key { name, .. }, Node { value: Value::Text(path), .. })] = &entries[..] else {
                self.fault(node.place, key, "a secret, `${NAME}` or `{file: path}` belongs here, not a map");
                return None;
            };
            if name != "file" {
                self.fault(
                    node.place,
                    key,
                    format!("there is no such key as {name}: it is `{{file: path}}`"),
                );
                return None;
            }
            (self.around.look_up)(Source::File(path)).map_err(|why| format!("{path}: {why}"))
        } else {
            let text = self.text(node, key)?;
            match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => {
                    (self.around.look_up)(Source::Variable(name)).map_err(|why| format!("${{{name}}}: {why}"))
                }
                // A secret is taken from one source as a whole, never put together.
                None if text.contains("${") => {
                    self.fault(node.place, key, "`${NAME}` stands for a whole value, not for a part of it");
                    return None;
                }
                None => Ok(text.to_owned().into()),
            }
        };
        match looked {
            Ok(text) if !text.trim().is_empty() => Some(text.trim().to_owned().into()),
            Ok(_) => {
                self.fault(node.place, key, "what it names is empty");
                None
            }
            Err(why) => {
                self.fault(node.place, key, why);
                None
            }
        }
    }

    /// Whether a list is no longer than it may be. A longer one is a fault, and is to be read no further.
    pub fn is_within(&mut self, place: TextPosition, key: &str, count: usize, most: usize) -> bool {
        if count > most {
            let fault = TextFault::new(place, key, format!("it has {count} entries"));
            self.faults.push(fault.fix(format!("at most {most}")));
        }
        count <= most
    }

    /// A list of at most so many texts, each read by `read`.
    pub fn texts<T>(
        &mut self,
        fields: &mut Fields,
        key: &str,
        most: usize,
        mut read: impl FnMut(&mut Self, TextPosition, &str) -> Option<T>,
    ) -> Vec<T> {
        let label = format!("{}{key}", fields.within);
        let items = match fields.take(key) {
            None => return Vec::new(),
            Some(Node { value: Value::List(items), place }) => {
                if !self.is_within(place, &label, items.len(), most) {
                    return Vec::new();
                }
                items
            }
            Some(other) => {
                self.fault(other.place, &label, format!("a list belongs here, not {}", other.value.kind()));
                return Vec::new();
            }
        };
        let mut list = Vec::new();
        for item in items {
            if let Some(text) = self.text(&item, &label) {
                list.extend(read(self, item.place, text));
            }
        }
        list
    }

    /// A duration within bounds.
    pub fn duration(
        &mut self,
        fields: &mut Fields,
        key: &str,
        (least, most): (Duration, Duration),
    ) -> Option<Duration> {
        let beyond = |text: &str| {
            format!("{text} is not within {} and {}", spell_duration(least), spell_duration(most))
        };
        self.duration_if(fields, key, |duration| (least..=most).contains(&duration), beyond)
    }

    /// A duration that the setting `limit` bounds: it permits `most`.
    pub fn duration_up_to(
        &mut self,
        fields: &mut Fields,
        key: &str,
        (limit, most): (&str, Duration),
    ) -> Option<Duration> {
        let beyond = |text: &str| match most {
            Duration::ZERO => format!("`{limit}` permits none"),
            _ => format!("{text} is too long: at most {} (`{limit}`)", spell_duration(most)),
        };
        self.duration_if(fields, key, |duration| duration <= most, beyond)
    }

    /// A duration, if it `is_legal`; `beyond` says why one is not.
    fn duration_if(
        &mut self,
        fields: &mut Fields,
        key: &str,
        is_legal: impl Fn(Duration) -> bool,
        beyond: impl Fn(&str) -> String,
    ) -> Option<Duration> {
        let label = format!("{}{key}", fields.within);
        let node = fields.take(key)?;
        if let Value::Number(_) = node.value {
            self.faults
                .push(TextFault::new(node.place, &label, "a duration needs its unit").fix("500ms, 30s, 24h"));
            return None;
        }
        let text = self.text(&node, &label)?;
        match parse_duration(text) {
            Ok(duration) if is_legal(duration) => Some(duration),
            Ok(_) => {
                self.fault(node.place, &label, beyond(text));
                None
            }
            Err(why) => {
                self.fault(node.place, &label, format!("{text:?}: {why}"));
                None
            }
        }
    }

    /// A number within bounds.
    pub fn number(&mut self, fields: &mut Fields, key: &str, (least, most): (f64, f64)) -> Option<f64> {
        let label = format!("{}{key}", fields.within);
        let node = fields.take(key)?;
        match node.value {
            Value::Number(number) if (least..=most).contains(&number) => Some(number),
            Value::Number(number) => {
                self.fault(node.place, &label, format!("{number} is not within {least} and {most}"));
                None
            }
            other => {
                self.fault(node.place, &label, format!("a number belongs here, not {}", other.kind()));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn count(&mut self, fields: &mut Fields, key: &str, (least, most): (usize, usize)) -> Option<usize> {
        let place = fields.nodes.get(key).map(|node| node.place);
        let number = self.number(fields, key, (least as f64, most as f64))?;
        if number.fract() == 0.0 {
            return Some(number as usize);
        }
        let label = format!("{}{key}", fields.within);
        self.fault(place?, &label, format!("a whole number belongs here, not {number}"));
        None
    }

    /// `true` or `false`.
    pub fn flag(&mut self, fields: &mut Fields, key: &str) -> Option<bool> {
        let node = fields.take(key)?;
        match node.value {
            Value::Bool(flag) => Some(flag),
            other => {
                self.fault(node.place, key, format!("true or false belongs here, not {}", other.kind()));
                None
            }
        }
    }

    /// `{key: …, secret: …}`.
    pub fn key_pair(&mut self, fields: &mut Fields, name: &'static str) -> Option<(TextPosition, KeyPair)> {
        let within = if name == "livekit" { "livekit." } else { "livekit_sign." };
        let (place, mut pair) = self.map(fields, name, within, &["key", "secret"])?;
        let (key, secret) = (pair.take("key"), pair.take("secret"));
        for (part, node) in [("key", &key), ("secret", &secret)] {
            if node.is_none() {
                self.fault(place, &format!("{within}{part}"), "the key is missing");
            }
        }
        let key = self.text(&key?, &format!("{within}key"))?.to_owned();
        let secret = self.secret_text(&secret?, &format!("{within}secret"))?;
        Some((place, KeyPair { key, secret: Masked(secret) }))
    }
}

/// The known name most like this one, else all known names.
fn suggestion(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().min_by_key(|other| strsim::osa_distance(name, other));
    match nearest {
        Some(nearest) if strsim::osa_distance(name, nearest) <= 2 => format!("{nearest}?"),
        _ => format!("one of: {}", known.join(", ")),
    }
}
