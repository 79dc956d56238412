//! What can be wrong with a conf.

use std::fmt;

/// A problem of a conf, and where in the file it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong and what was expected.
    pub message: String,
    /// Whether it may go away without a change of the file (an unknown user while the directory service is down, an
    /// unreadable file): the herd looks again later.
    pub passing: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}
