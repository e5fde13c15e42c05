//! How many things a list may hold.

use serde::{Deserialize, Serialize};

/// A number from 1 to `MOST`; anything else is refused when it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Limit<const MOST: u32>(u32);

impl<const MOST: u32> Limit<MOST> {
    /// The number, or the nearest one that is allowed.
    pub fn at_most(count: u32) -> Self {
        Self(count.clamp(1, MOST))
    }

    /// How many.
    pub fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const MOST: u32> TryFrom<u32> for Limit<MOST> {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        if (1..=MOST).contains(&count) {
            Ok(Self(count))
        } else {
            Err(format!("1 to {MOST} can be asked for"))
        }
    }
}

impl<const MOST: u32> From<Limit<MOST>> for u32 {
    fn from(limit: Limit<MOST>) -> Self {
        limit.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_outside_its_bounds_is_refused() {
        let read = |text: &str| serde_json::from_str::<Limit<10>>(text);
        assert_eq!(read("10").expect("a limit").count(), 10);
        for text in ["0", "11", "-1", "1.5", "\"3\""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
