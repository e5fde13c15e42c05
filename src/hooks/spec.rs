//! How hooks are spelled in `hooks.yaml`. Every fault of a file is found, not only the first.

mod around;
mod entry;
mod fields;
mod headers;
mod json;
mod options;
mod reader;

pub use self::around::{Around, Looked, OPENED_TARGETS, PUBLIC_TARGETS, Source};
pub use self::json::read_entry;
pub use self::options::Terms;

use self::options::OWN;
use self::reader::SpecReader;
use super::hook::Entry;
use crate::yaml::{self, Node, TextFault, Value};

/// Reads the text of a hooks file.
///
/// # Errors
/// Every fault, in the file's order; nothing of the file is to be used then.
pub fn parse(text: &str, around: &Around<'_>) -> Result<Vec<Entry>, Vec<TextFault>> {
    parse_file(text, around).map(|(entries, _)| entries)
}

/// The same, with the file's `defaults:` and `limits:`, which hold for hooks of the API, too.
///
/// # Errors
/// As [`parse`].
pub fn parse_file(text: &str, around: &Around<'_>) -> Result<(Vec<Entry>, Terms), Vec<TextFault>> {
    let root = yaml::parse(text).map_err(|fault| vec![fault])?;
    let mut reader = SpecReader::new(around);
    let (entries, terms) = reader.file(root);
    reader.faults.sort_by_key(|fault| fault.place);
    if reader.faults.is_empty() { Ok((entries, terms)) } else { Err(reader.faults) }
}

impl SpecReader<'_> {
    fn file(&mut self, root: Node) -> (Vec<Entry>, Terms) {
        let entries = match root.value {
            Value::Map(entries) => entries,
            other => {
                let message = format!("a map with the key hooks belongs here, not {}", other.kind());
                self.fault(root.place, "hooks", message);
                return (Vec::new(), Terms::default());
            }
        };
        let mut fields = self.fields("", entries, &["hooks", "defaults", "limits"]);
        let limits = self.limits(&mut fields);
        let base = self.defaults(&mut fields, &limits);
        let terms = Terms { base, limits: limits.into() };
        let hooks = match fields.take("hooks") {
            Some(Node { value: Value::List(hooks), .. }) => {
                hooks.into_iter().filter_map(|hook| self.hook(hook, &terms, &OWN)).collect()
            }
            // All of them commented out: a table without hooks.
            Some(Node { value: Value::Null, .. }) => Vec::new(),
            Some(other) => {
                let message = format!("a list of hooks belongs here, not {}", other.value.kind());
                self.fault(other.place, "hooks", message);
                Vec::new()
            }
            None => {
                self.fault(root.place, "hooks", "the key is missing");
                Vec::new()
            }
        };
        (hooks, terms)
    }
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;
    use utoipa::openapi::{RefOr, Schema};

    use super::options::KEYS;
    use super::*;
    use crate::network::Network;
    use crate::wire::HookSpec;

    fn plain() -> Around<'static> {
        Around::new(Network::default(), |source| match source {
            Source::Variable("ACME_SECRET") => Ok("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into()),
            Source::File("globex.secret") => Ok("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n".to_owned().into()),
            Source::Variable(_) => Err("the variable is not set".into()),
            Source::File(_) => Err("no such file".into()),
        })
    }

    fn faults(text: &str) -> Vec<String> {
        match parse(text, &plain()) {
            Ok(entries) => panic!("{entries:?}"),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    /// Whoever adds a key adds it in these places, too.
    #[test]
    fn every_key_is_in_the_api_the_full_sample_and_the_page() {
        let RefOr::T(Schema::Object(spec)) = HookSpec::schema() else { panic!("an object") };
        // Not included: the build of an image has neither file.
        let read = |file| std::fs::read_to_string(file).unwrap();
        let (sample, page) = (read("examples/hooks.full.yaml"), read("docs/hooks.md"));
        for key in OWN.iter().chain(&KEYS) {
            // In the API the host is part of the path, and `now` of the query.
            let is_elsewhere = ["host", "now"].contains(key);
            assert!(is_elsewhere || spec.properties.contains_key(*key), "src/wire/hooks.rs: {key}");
            assert!(sample.contains(&format!("{key}:")), "examples/hooks.full.yaml: {key}");
            assert!(page.contains(&format!("`{key}`")), "docs/hooks.md: {key}");
        }
    }

    #[test]
    fn a_whole_entry_is_host_and_url() {
        let text = "hooks:\n  - host: Calls.DrSmith.com.\n    url: https://api.drsmith.com/voice\n";
        let entries = parse(text, &plain()).expect("no fault");
        assert_eq!(entries[0].host.to_string(), "calls.drsmith.com");
        assert_eq!(entries[0].tenant.as_str(), "calls.drsmith.com");
        assert!(entries[0].secrets.is_empty());
    }

    #[test]
    fn every_fault_is_named_with_its_place_and_no_secret() {
        let text = "hooks:
  - host: calls acme.com
    url: https://a.example/hook
  - host: calls.citydental.com
    url: http://10.0.0.7/hook?token=hush
    secret: whsec_hush
  - host: Calls.CityDental.com
    url: not a url
    numbers: [15550102, '+1 555 0103']
    colour: red
  - host: [a]
    host: b
    url: https://user:hush@b.example/
    numbers: ['1-555-0103']
  - nonsense
  - tenant: ACME
extra: 1
";
        let faults = faults(text);
        let all = faults.join("\n");
        assert!(!all.contains("hush"), "{all}");
        let expected = [
            "   2:11  host     \"calls acme.com\" is no host name: it contains a space",
            "   5:10  url      http://10.0.0.7/hook can never be delivered: private address, and plain http",
            "   6:13  secret   no usable secret: it holds 3 bytes; 24 to 64 are needed",
            "   7:11  host     Calls.CityDental.com is already taken in line 4",
            "   8:10  url      it is no URL with a scheme and a host",
            "   9:15  numbers  text belongs here, not a number",
            "   10:5  colour   there is no such key",
            "  11:11  host     text belongs here, not a list",
            "   12:5  host     the key stands here twice",
            "  13:10  url      it can never be delivered: it holds a user or password",
            "  14:15  numbers  1-555-0103 is already taken in line 9",
            "   15:5  hooks    a hook with host and url belongs here, not text",
            "   16:5  host     the key is missing",
            "   16:5  url      the key is missing",
            "  16:13  tenant   \"ACME\" is no tenant name",
            "   17:1  extra    there is no such key",
        ];
        assert_eq!(faults.len(), expected.len(), "{all}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}\n{expected}");
        }
    }

    #[test]
    fn every_list_has_an_end() {
        let list = |count: usize, item: &dyn Fn(usize) -> String| {
            let items: Vec<_> = (0..count).map(|index| format!("'{}'", item(index))).collect();
            format!("[{}]", items.join(", "))
        };
        let headers = |count: usize, bytes: usize| {
            let entries: Vec<_> =
                (0..count).map(|index| format!("x-{index:02}: '{}'", "v".repeat(bytes))).collect();
            format!("headers: {{{}}}", entries.join(", "))
        };
        let secret = |_| "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let number = |index| format!("1555{index}");
        let event = |_| "room_started".to_owned();
        let path = |index| format!("room.a{index}");
        // What is at the bound, what is beyond it, and the fault.
        let cases = [
            (
                format!("secrets: {}", list(4, &secret)),
                format!("secrets: {}", list(5, &secret)),
                "secrets",
                "at most 4",
            ),
            (headers(32, 9), headers(33, 9), "headers", "at most 32"),
            (headers(2, 4092), headers(2, 4093), "headers", "shorter values"),
            (
                format!("redact: {}", list(64, &path)),
                format!("redact: {}", list(65, &path)),
                "redact",
                "at most 64",
            ),
            (
                format!("events: {{include: {}}}", list(64, &event)),
                format!("events: {{include: {}}}", list(65, &event)),
                "events.include",
                "at most 64",
            ),
            (
                format!("numbers: {}", list(1000, &number)),
                format!("numbers: {}", list(1001, &number)),
                "numbers",
                "at most 1000",
            ),
            (
                format!("trunks: {}", list(1000, &number)),
                format!("trunks: {}", list(1001, &number)),
                "trunks",
                "at most 1000",
            ),
        ];
        let hook = |url: &str, more: &str| format!("hooks:\n  - {{host: a.example, url: '{url}', {more}}}\n");
        for (within, beyond, key, fix) in cases {
            let whole = parse(&hook("https://a.example/", &within), &plain());
            assert!(whole.is_ok(), "{key}: {whole:?}");
            let faults = faults(&hook("https://a.example/", &beyond));
            assert_eq!(faults.len(), 1, "{key}: {faults:?}");
            assert!(faults[0].contains(key) && faults[0].contains(fix), "{faults:?}");
        }
    }

    #[test]
    fn a_url_has_at_most_2048_characters() {
        let read = |length: usize| {
            let url = format!("https://a.example/{}", "x".repeat(length - 18));
            parse(&format!("hooks:\n  - {{host: a.example, url: '{url}'}}\n"), &plain())
        };
        assert!(read(2048).is_ok());
        let fault = read(2049).expect_err("too long")[0].to_string();
        assert!(fault.contains("it has 2049 characters") && fault.contains("at most 2048"), "{fault}");
    }

    #[test]
    fn a_url_that_was_copied_from_an_answer_is_a_fault() {
        for url in ["https://a.example/?***", "https://a.example/?token=***", "https://a.example/#***"] {
            let faults = faults(&format!("hooks:\n  - {{host: a.example, url: '{url}'}}\n"));
            assert!(faults.len() == 1 && faults[0].contains("the whole URL"), "{faults:?}");
        }
        let in_path = "hooks:\n  - {host: a.example, url: 'https://a.example/***?token=**'}\n";
        assert!(parse(in_path, &plain()).is_ok());
    }

    #[test]
    fn a_path_of_redact_has_at_most_256_characters() {
        let read = |length: usize| {
            let redact = format!("redact: ['{}']", "a".repeat(length));
            parse(&format!("hooks:\n  - {{host: a.example, url: 'https://a.example', {redact}}}\n"), &plain())
        };
        assert!(read(256).is_ok());
        assert!(read(257).expect_err("too long")[0].to_string().contains("at most 256"));
    }

    #[test]
    fn a_wildcard_names_its_tenant() {
        let text = "hooks:\n  - {host: '*.acme.com', url: 'https://a.example'}\n  - {host: '*', url: 'https://b.example', tenant: rest}\n  - {host: '*acme.com', url: 'https://c.example'}\n  - {host: '*.10.0.0.1', url: 'https://d.example', tenant: d}\n";
        let faults = faults(text);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults[0].contains("2:5  tenant   the key is missing: a wildcard does not say whose it is"),
            "{faults:?}"
        );
        assert!(faults[1].contains("a wildcard is `*`, or `*.` before a host name"), "{faults:?}");
    }

    #[test]
    fn what_is_no_hooks_file_says_so() {
        for text in ["", "[]", "hooks: 3", "other: 1"] {
            assert!(!faults(text).is_empty(), "{text}");
        }
        for text in ["hooks: []", "hooks:\n  # - host: none yet\n"] {
            assert!(parse(text, &plain()).expect("an empty table").is_empty());
        }
    }
}
