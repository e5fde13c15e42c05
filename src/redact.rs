//! Cuts named fields out of a JSON text and leaves every other byte as it is.

use std::borrow::Cow;
use std::ops::Range;

/// `body` without the members named by `paths` (`room.turnPassword`; a list on the way means each of
/// its items). A text that is no JSON stays as it is: nothing can be named in it.
pub fn without(body: &[u8], paths: &[String]) -> Vec<u8> {
    let paths: Vec<Vec<&str>> = paths.iter().map(|path| path.split('.').collect()).collect();
    let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    let mut scanner = Scanner { text: body, at: 0, cuts: Vec::new() };
    if scanner.value(&paths).is_none() {
        return body.to_vec();
    }
    let mut kept = Vec::with_capacity(body.len());
    let mut from = 0;
    scanner.cuts.sort_by_key(|cut| cut.start);
    for cut in scanner.cuts {
        if cut.start > from {
            kept.extend_from_slice(&body[from..cut.start]);
        }
        from = from.max(cut.end);
    }
    kept.extend_from_slice(&body[from..]);
    kept
}

/// Walks a text that a JSON parser has accepted; gives up on anything else.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    cuts: Vec<Range<usize>>,
}

/// A member of an object: where it stands, and whether it is to go.
struct Member {
    span: Range<usize>,
    cut: bool,
}

impl Scanner<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        found.then_some(())
    }

    /// Walks one value; `paths` are cut out inside it. Only objects are walked by recursion, and each takes the first
    /// name off its paths: the parser that accepted the text bounds no depth, and a text may have a million levels.
    fn value(&mut self, paths: &[&[&str]]) -> Option<()> {
        match self.peek()? {
            _ if paths.is_empty() => self.skip(),
            b'{' => self.object(paths),
            b'[' => self.list(paths),
            b'"' => self.string().map(drop),
            _ => self.word(),
        }
    }

    /// Passes over a value in which nothing is named, however deep it is.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.string().map(drop)?,
                b',' | b':' if depth > 0 => self.at += 1,
                opening @ (b'{' | b'[') => self.take(opening).map(|()| depth += 1)?,
                closing @ (b'}' | b']') => {
                    self.take(closing)?;
                    depth = depth.checked_sub(1)?;
                }
                _ => self.word()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Passes over a number, `true`, `false` or `null`.
    fn word(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let ends = |byte: &u8| b",]}".contains(byte) || byte.is_ascii_whitespace();
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        (length > 0).then_some(())
    }

    fn object(&mut self, paths: &[&[&str]]) -> Option<()> {
        self.take(b'{')?;
        let mut members: Vec<Member> = Vec::new();
        while self.peek()? != b'}' {
            if !members.is_empty() {
                self.take(b',')?;
                self.peek()?;
            }
            let start = self.at;
            let key = self.string()?;
            let key = name(&self.text[key])?;
            self.take(b':')?;
            let inside: Vec<&[&str]> = paths
                .iter()
                .filter_map(|path| path.split_first())
                .filter(|(first, _)| **first == key)
                .map(|(_, rest)| rest)
                .collect();
            let cut = inside.iter().any(|rest| rest.is_empty());
            self.value(if cut { &[] } else { &inside })?;
            members.push(Member { span: start..self.at, cut });
        }
        self.take(b'}')?;
        self.cut(&members);
        Some(())
    }

    /// With each member that goes, one comma goes: the one behind it, or before it at the end.
    fn cut(&mut self, members: &[Member]) {
        let last_kept = members.iter().rposition(|member| !member.cut);
        for (n, member) in members.iter().enumerate().filter(|(_, member)| member.cut) {
            let cut = match (members.get(n + 1), last_kept) {
                (_, Some(kept)) if n > kept => members[kept].span.end..member.span.end,
                (Some(next), _) => member.span.start..next.span.start,
                (None, _) => member.span.clone(),
            };
            self.cuts.push(cut);
        }
    }

    /// A list, and the lists right inside of it: these are counted.
    fn list(&mut self, paths: &[&[&str]]) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            if self.peek()? == b'[' {
                self.take(b'[')?;
                depth += 1;
                if self.peek()? != b']' {
                    continue;
                }
            } else {
                self.value(paths)?;
            }
            while self.peek()? == b']' {
                self.take(b']')?;
                depth -= 1;
                if depth == 0 {
                    return Some(());
                }
            }
            self.take(b',')?;
        }
    }

    /// A string's place, quotes included.
    fn string(&mut self) -> Option<Range<usize>> {
        self.peek()?;
        let start = self.at;
        self.take(b'"')?;
        let mut escaped = false;
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Some(start..self.at),
                _ => {}
            }
        }
        None
    }
}

/// A member's name, its escapes undone: `turn\u0050assword` is `turnPassword`.
fn name(quoted: &[u8]) -> Option<Cow<'_, str>> {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice(quoted).ok().map(Cow::Owned);
    }
    std::str::from_utf8(&quoted[1..quoted.len() - 1]).ok().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn cut(body: &str, paths: &[&str]) -> String {
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        String::from_utf8(without(body.as_bytes(), &paths)).expect("UTF-8")
    }

    #[test]
    fn named_members_go_with_one_comma_and_nothing_else_changes() {
        let body = r#"{"a" : 1, "room": {"sid":"x", "turnPassword" :"h\"u,sh}", "n": [1, 2]} , "b":2}"#;
        let expected = r#"{"a" : 1, "room": {"sid":"x", "n": [1, 2]} , "b":2}"#;
        assert_eq!(cut(body, &["room.turnPassword"]), expected);
        assert_eq!(cut(r#"{"a":1,"b":2}"#, &["b"]), r#"{"a":1}"#);
        assert_eq!(cut(r#"{"a":1,"b":2,"c":3}"#, &["b", "c"]), r#"{"a":1}"#);
        assert_eq!(cut(r#"{"a":1,"b":2,"c":3}"#, &["a", "b"]), r#"{"c":3}"#);
        assert_eq!(cut(r#"{"a":1,"b":2}"#, &["a", "b", "c"]), "{}");
        assert_eq!(cut(r#"{"l":[{"x":1,"y":2},{"x":3}]}"#, &["l.x"]), r#"{"l":[{"y":2},{}]}"#);
        assert_eq!(cut(r#"{"a":{"b":1,"b":2}}"#, &["a.b"]), r#"{"a":{}}"#);
        assert_eq!(cut(r#"{"turn\u0050assword":1}"#, &["turnPassword"]), "{}");
        assert_eq!(cut("no json", &["a"]), "no json");
        assert_eq!(cut(r#"{"a":1"#, &["a"]), r#"{"a":1"#);
    }

    #[test]
    fn a_text_of_half_a_million_levels_is_walked_without_a_stack_overflow() {
        let levels = 500_000;
        let lists = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let objects = format!("{}1{}", r#"{"a":"#.repeat(levels / 5), "}".repeat(levels / 5));
        for deep in [lists, objects] {
            let body = |more: &str| format!(r#"{{"deep":{deep},"room":{{"sid":"x"{more}}}}}"#);
            for paths in [&["room.hush"][..], &["room.hush", "deep.a.b"], &["room.hush", "deep.b"]] {
                assert!(cut(&body(r#","hush":1"#), paths) == body(""), "{paths:?}");
            }
            let gone = cut(&body(""), &["deep"]);
            assert_eq!(gone, r#"{"room":{"sid":"x"}}"#);
        }
        // In a list of lists, too.
        assert_eq!(cut(r#"{"l":[[],[[{"x":1,"y":2}],[]],3]}"#, &["l.x"]), r#"{"l":[[],[[{"y":2}],[]],3]}"#);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\,{}\\[\\]:é]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn remove(value: &mut Value, path: &[&str]) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| remove(item, path)),
            Value::Object(map) if path.len() == 1 => drop(map.remove(path[0])),
            Value::Object(map) => {
                if let Some(inner) = map.get_mut(path[0]) {
                    remove(inner, &path[1..]);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_a_parser_would_leave(
            value in json(), paths in prop::collection::vec("[a-c](\\.[a-c]){0,2}", 1..4), pretty: bool
        ) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let left = without(text.expect("JSON").as_bytes(), &paths);
            let mut expected = value;
            for path in &paths {
                remove(&mut expected, &path.split('.').collect::<Vec<_>>());
            }
            prop_assert_eq!(serde_json::from_slice::<Value>(&left).expect("still JSON"), expected);
        }
    }
}
