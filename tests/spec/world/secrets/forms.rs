//! The forms in which a secret could be written: as it is, base64, base64url, hexadecimal, percent-encoded.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A form's name, and the secret in it.
pub type Form = (&'static str, Vec<u8>);

/// All forms of a secret that differ from each other.
pub fn of(secret: &[u8]) -> Vec<Form> {
    let mut forms: Vec<Form> = vec![("as it is", secret.to_vec())];
    let hex = |upper: bool, byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
    for upper in [false, true] {
        forms.push((
            "hexadecimal",
            secret.iter().map(|byte| hex(upper, byte)).collect::<String>().into_bytes(),
        ));
        let escaped = |byte: &u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(*byte).to_string()
            }
            byte => format!("%{}", hex(upper, byte)),
        };
        forms.push(("percent-encoded", secret.iter().map(escaped).collect::<String>().into_bytes()));
    }
    for before in 0..3 {
        forms.push(("base64", within(&STANDARD_NO_PAD, secret, before)));
        forms.push(("base64url", within(&URL_SAFE_NO_PAD, secret, before)));
    }
    let mut different: Vec<Form> = Vec::new();
    for form in forms {
        if !different.iter().any(|(_, known)| *known == form.1) {
            different.push(form);
        }
    }
    different
}

/// The part of an encoded text that depends on nothing but the secret, which follows `before` other bytes (modulo 3).
fn within(engine: &impl Engine, secret: &[u8], before: usize) -> Vec<u8> {
    let encoded = engine.encode([&[0; 3][..before], secret].concat());
    let (first, end) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
    encoded.as_bytes()[first..end].to_vec()
}
