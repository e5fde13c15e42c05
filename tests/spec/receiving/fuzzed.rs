//! What reads the text of others keeps its promises whatever the text is: over the corpus that the fuzz targets have
//! found (`tests/fuzz`), and over random texts of the kinds that break parsers.

use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use switchhook::bench::hostile::{TARGETS, Target, signed};

/// Files of a corpus, and bytes of each, at most: it is part of every clone.
const FILES: usize = 64;
const FILE_BYTES: u64 = 8 << 10;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).expect("a corpus");
    files.map(|file| file.expect("a file").path()).collect()
}

fn target(name: &str) -> Target {
    TARGETS.into_iter().find(|(target, _)| *target == name).expect("a target").1
}

#[test]
fn every_promise_is_kept_over_the_corpus_of_the_fuzz_targets() {
    for (name, keeps) in TARGETS {
        let files = corpus(name);
        assert!((5..=FILES).contains(&files.len()), "{name}: {} files", files.len());
        for file in files {
            let bytes = std::fs::read(&file).expect("a file");
            assert!(bytes.len() as u64 <= FILE_BYTES, "{} is large", file.display());
            assert_eq!(keeps(&bytes), Ok(()), "{}", file.display());
        }
    }
}

/// Texts that others have broken parsers with, of a size that would matter.
fn giants() -> Vec<(&'static str, Vec<u8>)> {
    let (levels, long) = (100_000, 1 << 18);
    let lists = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let laughs: String = (1..10).fold("a0: &a0 [ha]\n".to_owned(), |text, n| {
        let before = format!("*a{}, ", n - 1).repeat(10);
        format!("{text}a{n}: &a{n} [{before}]\n")
    });
    let echo = format!("hooks: {{a: &a '{}', b: [{}]}}\n", "x".repeat(long / 2), "*a, ".repeat(1000));
    vec![
        ("nothing", Vec::new()),
        ("a byte order mark", "\u{feff}{}".into()),
        ("brackets", "[".repeat(long).into()),
        ("braces", "{".repeat(long).into()),
        ("deep lists", lists.clone().into()),
        ("deep lists in an event", format!(r#"{{"room":{lists},"x":{lists},"a":{lists}}}"#).into()),
        ("deep objects", objects.into()),
        ("a large exponent", r#"{"createdAt":1e999999,"room":-1e999999,"limit":1e999999}"#.into()),
        ("many digits", format!(r#"{{"createdAt":1{0},"limit":1{0}}}"#, "0".repeat(400)).into()),
        ("a NUL", "{\"event\":\"a\0b\"}\0".into()),
        ("an escaped NUL", r#"{"event":"\u0000","id":"\u0000"}"#.into()),
        ("a lone surrogate", r#"{"event":"\ud800","id":"\udc00\ud800"}"#.into()),
        ("no UTF-8", b"{\"event\":\"\xff\xfe\xc0\x80\"}".to_vec()),
        ("the same key again and again", format!("{{{}\"a\":1}}", r#""a":1,"#.repeat(10_000)).into()),
        ("a long text", format!(r#"{{"event":"{0}","id":"{0}"}}"#, "x".repeat(long / 2)).into()),
        ("a long list", format!("[{}0]", "0,".repeat(long / 2)).into()),
        ("a billion laughs", format!("{laughs}hooks: *a9\n").into()),
        ("a text again and again", echo.into()),
        ("a merge of itself", "hooks: &h\n  - <<: *h\n    host: a\n".into()),
        ("dots and colons", ".:;,<>@[]".repeat(10_000).into()),
        ("a query", format!("{}\n", "limit=1&".repeat(10_000)).into()),
    ]
}

#[test]
fn every_promise_is_kept_over_texts_that_break_parsers() {
    for (name, keeps) in TARGETS {
        for (kind, text) in giants() {
            assert_eq!(keeps(&text), Ok(()), "{name}: {kind}");
            // In the place of a body of the API, too.
            let body = [b"a.example\n", &text[..]].concat();
            assert_eq!(keeps(&body), Ok(()), "{name}: {kind}");
        }
    }
}

#[test]
fn a_token_that_is_rightly_signed_is_taken_for_what_it_is() {
    assert_eq!(target("token")(signed().as_bytes()), Ok(()));
}

/// Pieces of what the targets read, out of which texts are put together that come far.
const PIECES: [&str; 60] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\u0000",
    "\\ud800",
    "1e9999",
    "-0",
    "null",
    "true",
    "room",
    "sid",
    "name",
    "event",
    "participant",
    "attributes",
    "sip.ruleID",
    "sip.h.x-to-ip",
    "sip.h.to",
    "kind",
    "SIP",
    "a.example",
    "sip:",
    "u@",
    "<",
    ">",
    ";",
    "*.",
    "hooks",
    "host",
    "url",
    "https://a.example/",
    "- ",
    "\n",
    "  ",
    "&a ",
    "*a",
    "<<: ",
    "|",
    "'",
    "#",
    "!!binary ",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
    "e30",
    ".",
    "Bearer ",
    "limit",
    "=",
    "&",
    "%",
    "2F",
    "since",
    "2026-11-21T05:46:52Z",
    "after",
    "\u{feff}",
    "é",
    "\0",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    // PROPTEST_CASES raises both.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 2, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_is_kept_over_random_texts(text in text()) {
        for (name, keeps) in TARGETS {
            prop_assert_eq!(keeps(&text), Ok(()), "{}", name);
        }
    }

    #[test]
    fn every_promise_is_kept_over_altered_files_of_the_corpus(
        choice: prop::sample::Index, at: prop::sample::Index, cut: prop::sample::Index, put in text()
    ) {
        for (name, keeps) in TARGETS {
            let files = corpus(name);
            let mut bytes = std::fs::read(choice.get(&files)).expect("a file");
            let at = at.index(bytes.len() + 1);
            let end = at + cut.index(bytes.len() - at + 1).min(8);
            bytes.splice(at..end, put.iter().copied());
            prop_assert_eq!(keeps(&bytes), Ok(()), "{}", name);
        }
    }
}
