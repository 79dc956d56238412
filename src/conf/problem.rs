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

impl Problem {
    /// A problem of a file as a whole, shown at its beginning.
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Self { line: 1, column: 1, message: message.into(), passing: false }
    }

    /// The same, where it may go away without a change of the file.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self { passing: true, ..Self::of_file(message) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// So many problems of one file are told; a file that has more is no conf that somebody wrote.
const MOST: usize = 1000;

/// Collects the problems of one text by byte, and gives them back by line and column.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<(usize, String, bool)>,
}

impl<'t> Problems<'t> {
    /// None yet.
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// One at this byte.
    pub(super) fn add(&mut self, at: usize, message: impl Into<String>) {
        self.found.push((at, message.into(), false));
    }

    /// One at this byte that may go away by itself.
    pub(super) fn add_passing(&mut self, at: usize, message: impl Into<String>) {
        self.found.push((at, message.into(), true));
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the text.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort();
        let total = self.found.len();
        self.found.truncate(MOST);
        let (mut line, mut column, mut done) = (1, 1, 0);
        let mut problems = Vec::with_capacity(self.found.len());
        for (at, message, passing) in self.found {
            for c in self.text[done..].char_indices().take_while(|(offset, _)| done + offset < at).map(|(_, c)| c) {
                (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
            done = done.max(at.min(self.text.len()));
            problems.push(Problem { line, column, message, passing });
        }
        if total > MOST {
            let message = format!("and {} more problems", total - MOST);
            problems.push(Problem { line, column, message, passing: false });
        }
        problems
    }
}

/// A text of a conf in quotes, for a message: control characters escaped, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const LONG: usize = 60;
    match text.char_indices().nth(LONG) {
        Some((at, _)) => format!("{:?}…", &text[..at]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_by_line_and_column_in_characters() {
        let text = "ä b\nc\r\nd";
        let mut problems = Problems::of(text);
        for at in [text.len(), 9, 5, 3, 0] {
            problems.add(at, at.to_string());
        }
        let places: Vec<_> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(places, ["1:1: 0", "1:3: 3", "2:1: 5", "3:2: 9", "3:2: 9"]);
    }

    #[test]
    fn a_flood_of_problems_is_cut() {
        let mut problems = Problems::of("");
        for at in 0..MOST + 7 {
            problems.add(at, "x");
        }
        let found = problems.into_sorted();
        assert_eq!((found.len(), found[MOST].message.as_str()), (MOST + 1, "and 7 more problems"));
    }

    #[test]
    fn a_long_or_strange_text_is_shown_safely() {
        assert_eq!(quoted("a\x1b\"b"), r#""a\u{1b}\"b""#);
        assert_eq!(quoted(&"ä".repeat(61)).chars().count(), 63);
    }
}
