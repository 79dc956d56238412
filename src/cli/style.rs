//! Colour and width.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use crate::os::terminal;

/// How a stream likes to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether it understands colours.
    pub colour: bool,
    /// Whether it is a terminal, which obeys some of what is written to it.
    pub is_terminal: bool,
    /// How many columns it has; `None` where lines may be as long as they are.
    pub width: Option<usize>,
}

/// A colour, named for what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Good,
    Bad,
    Waiting,
    Dim,
    Bold,
    /// To tell one from another, by their numbers.
    Nth(usize),
}

impl Style {
    /// For a file or a pipe: no colour, no end of the line.
    pub const PLAIN: Self = Self { colour: false, is_terminal: false, width: None };

    /// That of this process's standard output. Colour only on a terminal that understands it, and not if NO_COLOR is set
    /// and not empty (no-color.org).
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Self::PLAIN;
        }
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colour: !no_colour && !dumb, is_terminal: true, width: terminal::columns(stdout.as_fd()) }
    }

    /// The text in a colour, where that is understood (ECMA-48, SGR).
    pub(super) fn paint(self, colour: Option<Colour>, text: &str) -> Cow<'_, str> {
        let Some(colour) = colour.filter(|_| self.colour) else { return Cow::Borrowed(text) };
        let code = match colour {
            Colour::Good => "32",
            Colour::Bad => "31",
            Colour::Waiting => "33",
            Colour::Dim => "2",
            Colour::Bold => "1",
            Colour::Nth(number) => ["36", "33", "32", "35", "34", "31"][number % 6],
        };
        Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_it_is_understood() {
        assert_eq!(Style::PLAIN.paint(Some(Colour::Bad), "x"), "x");
        let colourful = Style { colour: true, is_terminal: true, width: None };
        assert_eq!(colourful.paint(Some(Colour::Bad), "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(colourful.paint(None, "x"), "x");
    }
}
