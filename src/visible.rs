//! Text from outside, made visible: what steers a terminal, breaks a line or hides what is written is escaped, and so is what would
//! break a header or a URL.

use std::path::Path;

/// Whether a character acts on what is shown instead of being shown, or is not seen at all: C0, DEL and C1 controls,
/// line and paragraph separators, interlinear annotation (Unicode categories Cc, Zl, Zp; U+FFF9 to U+FFFB), and what is
/// `Default_Ignorable_Code_Point` (zero-width and bidirectional marks, blank letters, tags and the like). Variation
/// selectors U+FE00 to U+FE0F, which are ignorable too, pass: people write them after many emoji.
pub fn is_hostile(c: char) -> bool {
    match c {
        ..='\x1f' | '\x7f'..='\u{9f}' => true,
        ' '..='~' => false,
        // Soft hyphen, combining grapheme joiner, Arabic letter mark.
        '\u{ad}' | '\u{34f}' | '\u{61c}' => true,
        // Blank letters of Hangul and Khmer.
        '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{3164}' | '\u{ffa0}' => true,
        // Mongolian selectors and vowel separator.
        '\u{180b}'..='\u{180f}' => true,
        // Zero-width, bidirectional and invisible marks, and separators.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        // Specials without a shape, and interlinear annotation.
        '\u{fff0}'..='\u{fffb}' => true,
        // Controls of shorthand and of music; tags and further selectors.
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
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

/// One line of JSON with the same values: each hostile character, which only a string can hold, as `\u202e`.
pub fn plain_json(json: &str) -> String {
    escaped(json, is_hostile, json_escape)
}

/// A hostile character inside a JSON string: two escapes if it is beyond U+FFFF (RFC 8259 §7).
pub fn json_escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
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
        let hostile = "\0\n\t\x1b\x7f\u{85}\u{9b}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{180b}\u{180e}\u{200b}\u{200d}\
                       \u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2064}\u{2066}\u{2069}\u{3164}\u{feff}\
                       \u{ffa0}\u{fff9}\u{fffb}\u{1d173}\u{e0001}\u{e0041}\u{e007f}\u{e0100}";
        assert_eq!(hostile.chars().find(|c| !is_hostile(*c)), None);
        let written = "Jörg \"100 %\" 電話 전화 โทร ᠮ 🙂 ❤\u{fe0f} — ’ \\ \u{a0}\u{fffd}";
        assert_eq!(written.chars().find(|c| is_hostile(*c)), None);
        assert_eq!(plain("a\u{1b}[31m\nb\u{202e}"), "a\\u{1b}[31m\\u{a}b\\u{202e}");
        assert_eq!(plain_lines("a\u{1b}[31m\nb"), "a\\u{1b}[31m\nb");
    }

    #[test]
    fn every_hostile_character_is_escaped_so_that_json_reads_it_back() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| is_hostile(*c)) {
            let told = json_escape(c);
            assert!(told.is_ascii() && !told.contains(is_hostile), "{told}");
            assert_eq!(serde_json::from_str::<String>(&format!("\"{told}\"")).expect("JSON"), c.to_string());
            assert!(!plain(&c.to_string()).contains(is_hostile), "{told}");
        }
        assert_eq!(json_escape('\u{e0041}'), "\\udb40\\udc41");
    }

    /// A text with more of what is hostile than chance would give.
    fn text() -> impl Strategy<Value = String> {
        let hostile: Vec<char> =
            (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| is_hostile(*c)).collect();
        let any = prop_oneof![any::<char>(), prop::sample::select(hostile)];
        prop::collection::vec(any, 0..24).prop_map(|all| all.into_iter().collect())
    }

    proptest! {
        #[test]
        fn whatever_is_made_plain_is_shown_as_it_is(text in text()) {
            let told = plain(&text);
            prop_assert!(!told.chars().any(is_hostile), "{told:?}");
            prop_assert_eq!(plain(&told), told.clone());
        }

        #[test]
        fn plain_json_reads_back_the_same(text in text()) {
            let json = serde_json::to_string(&[&text]).expect("JSON");
            let told = plain_json(&json);
            prop_assert!(!told.chars().any(is_hostile), "{told:?}");
            prop_assert_eq!(serde_json::from_str::<[String; 1]>(&told).expect("JSON"), [text]);
        }
    }
}
