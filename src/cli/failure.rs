//! How a command fails: its exit code, and what standard error says.

use std::error::Error;

/// A command that did not succeed: its exit code and what standard error says.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

/// The last cause of an error, which says plainly what went wrong; those before it say where.
pub fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Failure {
    /// Refused or failed: exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// Refused or failed, and all is said already.
    pub fn silent() -> Self {
        Self::new("")
    }

    /// Bad configuration: exit code 78 (`EX_CONFIG` of sysexits.h).
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { code: 78, message: message.into() }
    }

    /// Bad usage: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
}
