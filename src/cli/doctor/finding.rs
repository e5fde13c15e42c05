//! What `switchhook doctor` finds: what is wrong, why it matters, and how to fix it.

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Calls do not reach their tenants, reach the wrong ones, or anybody can make them do so.
    Problem,
    /// It works, until something else goes wrong.
    Warning,
    /// Worth knowing; nothing needs to be done.
    Note,
}

impl Severity {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What a finding is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Subject {
    /// Such as `inbound trunk`.
    pub thing: &'static str,
    /// LiveKit's id of it, a host, or a file's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name people gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Subject {
    /// A thing there is only one of.
    pub fn the(thing: &'static str) -> Self {
        Self { thing, id: None, name: None }
    }

    /// One thing of several.
    pub fn of(thing: &'static str, id: &str, name: &str) -> Self {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Self { thing, id: text(id), name: text(name) }
    }
}

/// Something that should be mended, or is worth knowing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Its name, for programs.
    pub check: &'static str,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What is so.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to do.
    pub fix: String,
    /// The command that does it, if one does; all findings of one trunk have the same.
    pub command: Option<String>,
}

impl Finding {
    /// A finding without a command.
    pub fn new(
        severity: Severity,
        check: &'static str,
        subject: Subject,
        [what, why, fix]: [String; 3],
    ) -> Self {
        Self { severity, check, subject, what, why, fix, command: None }
    }

    /// The same with the command that mends it.
    #[must_use]
    pub fn by(self, command: Option<String>) -> Self {
        Self { command, ..self }
    }
}

/// Whether a text may stand in a command that people copy: LiveKit's ids and plain names do.
pub fn is_harmless(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=128).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(legal)
}

/// The first of some names, and how many more there are.
pub fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = names.into_iter().collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
