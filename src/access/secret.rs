//! The API secret as a text: one secret a line, the current one first.

/// A secret has at least this many characters.
const STRONG: usize = 32;

/// The API secret is too short to be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("holds less than 32 characters in its secret number {0}; each line is a secret")]
pub struct WeakSecret(usize);

/// Whether a text may be the API secret: it has a line, and each has at least 32 characters.
///
/// # Errors
/// [`WeakSecret`], which does not quote the text.
pub fn check_secret(text: &str) -> Result<(), WeakSecret> {
    match secrets(text).position(|secret| secret.chars().count() < STRONG) {
        Some(at) => Err(WeakSecret(at + 1)),
        None if secrets(text).next().is_none() => Err(WeakSecret(1)),
        None => Ok(()),
    }
}

/// The secrets of a text.
pub(super) fn secrets(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_too_short_is_named_by_its_number_and_not_quoted() {
        let strong = "s".repeat(32);
        assert_eq!(check_secret(&format!("{strong}\n\n{strong}\n")), Ok(()));
        let cases = [(String::new(), 1), ("hunter2".to_owned(), 1), (format!("{strong}\n\nhunter2"), 2)];
        for (text, number) in cases {
            let weak = check_secret(&text).expect_err("weak");
            assert_eq!(weak, WeakSecret(number));
            assert!(!weak.to_string().contains("hunter2"), "{weak}");
        }
    }
}
