//! The command line of a benchmark: `--flag value` pairs. Others, such as cargo's own, are ignored.

pub struct Args(Vec<String>);

impl Args {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self(std::env::args().collect())
    }

    /// What stands after `flag`.
    ///
    /// # Panics
    /// When nothing does: the flag would be ignored.
    pub fn text(&self, flag: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg == flag)?;
        Some(self.0.get(at + 1).unwrap_or_else(|| panic!("{flag} needs a value")))
    }

    /// The number after `flag`.
    pub fn number(&self, flag: &str, default: usize) -> usize {
        self.text(flag).map_or(default, |text| text.parse().expect("a number"))
    }
}
