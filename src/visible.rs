//! Text from outside, made visible: what steers a terminal, breaks a line or hides what is written is escaped, and so is what would
//! break a header or a URL.

use std::path::Path;

/// Whether a character acts on what is shown instead of being shown: C0, DEL and C1 controls, zero-width and
/// bidirectional marks, line and paragraph separators (Unicode categories Cc, Zl, Zp, and Cf of general punctuation).
pub fn is_hostile(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// A text on one line: each hostile character as `\u{202e}`.
pub fn plain(text: &str) -> String {
    escaped(text, is_hostile, |c| c.escape_unicode().to_string())
}

/// The same for a text of several lines, whose parts were made plain before it was put together.
pub fn plain_lines(text: &str) -> String {
    escaped(text, |c| c != '\n' && is_hostile(c), |c| c.escape_unicode().to_string())
}

/// A file's name on one line.
pub fn shown(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// One line of JSON with the same values: each hostile character, which only a string can hold, as `\u202e` (RFC
/// 8259 §7).
pub fn plain_json(json: &str) -> String {
    escaped(json, is_hostile, json_escape)
}

/// A hostile character inside a JSON string. All of them have four hexadecimal digits.
pub fn json_escape(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// A segment of a URI's path (RFC 3986 §3.3) with this text.
pub fn uri_segment(text: &str) -> String {
    percent_encoded(text, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// Each byte that is not kept as `%XX` (RFC 3986 §2.1).
pub fn percent_encoded(text: &str, is_kept: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_kept(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn escaped(text: &str, is_meant: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_meant(c) { plain.push_str(&escape(c)) } else { plain.push(c) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_on_a_screen_is_escaped_and_what_people_write_is_not() {
        let hostile = "\0\n\t\x1b\x7f\u{85}\u{9b}\u{61c}\u{200b}\u{200d}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\
                       \u{2060}\u{2066}\u{2069}\u{feff}";
        assert!(hostile.chars().all(is_hostile));
        assert!(!"Jörg \"100 %\" 電話 🙂 — ’ \\".chars().any(is_hostile));
        assert_eq!(plain("a\u{1b}[31m\nb\u{202e}"), "a\\u{1b}[31m\\u{a}b\\u{202e}");
        assert_eq!(plain_lines("a\u{1b}[31m\nb"), "a\\u{1b}[31m\nb");
    }

    proptest! {
        #[test]
        fn whatever_is_made_plain_is_shown_as_it_is(text: String) {
            let told = plain(&text);
            prop_assert!(!told.chars().any(is_hostile), "{told:?}");
            prop_assert_eq!(plain(&told), told.clone());
        }

        #[test]
        fn plain_json_reads_back_the_same(text: String) {
            let json = serde_json::to_string(&[&text]).expect("JSON");
            let told = plain_json(&json);
            prop_assert!(!told.chars().any(is_hostile), "{told:?}");
            prop_assert_eq!(serde_json::from_str::<[String; 1]>(&told).expect("JSON"), [text]);
        }
    }
}
