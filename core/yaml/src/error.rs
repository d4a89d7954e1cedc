//! Why a document was refused, in its author's terms.

use std::fmt;

use serde::Serialize;

/// A place in the YAML text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What is wrong with a document, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{at}: {what}; {right}")]
pub struct Error {
    /// Where it is.
    #[serde(flatten)]
    pub at: Place,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl Error {
    /// An error at a place: `what` is wrong, and what would be `right`, as parts of a sentence.
    pub fn new(at: Place, what: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            right: right.into(),
        }
    }
}

/// As much of what an author wrote as fits into a message.
#[must_use]
pub fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return format!("`{text}`");
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("`{start}…`")
}
