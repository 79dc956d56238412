//! The lines of one service as they are, or of several, each line with its service in front.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::visible::{show, show_line};
use crate::cli::Style;
use crate::cli::style::Colour;

/// A line that is longer is shown in parts.
const LONGEST_LINE: usize = 1 << 20;

/// How long the rest of a line is waited for before its beginning is shown as a line of its own: a service may have died
/// in the middle of its last words.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What writes the services' bytes.
pub(super) struct Printer<'a> {
    out: &'a mut dyn Write,
    /// Whether that is a terminal, which must not see everything; and whether it is to see colours.
    terminal: Option<bool>,
    /// By the numbers of the services. A service alone has none.
    labels: Vec<String>,
    held: Vec<Held>,
    text: Vec<u8>,
}

/// The beginning of a line.
#[derive(Clone, Default)]
struct Held {
    bytes: Vec<u8>,
    /// When the last byte of it came.
    since: Option<Instant>,
    /// Whether what was before it in the same line has been shown as a line.
    is_rest: bool,
}

impl<'a> Printer<'a> {
    /// One for these services.
    pub(super) fn new(out: &'a mut dyn Write, style: Style, ids: &[&str]) -> Self {
        let widest = ids.iter().map(|id| id.len()).max().unwrap_or_default();
        let label = |(number, id): (usize, &&str)| {
            style.paint(Some(Colour::Nth(number)), &format!("{id:<widest$} | ")).into_owned()
        };
        let labels = if ids.len() > 1 { ids.iter().enumerate().map(label).collect() } else { Vec::new() };
        let terminal = style.is_terminal.then_some(style.colour);
        Self { out, terminal, labels, held: vec![Held::default(); ids.len()], text: Vec::new() }
    }

    /// Takes what a service wrote. Of several services only whole lines are shown, so that none cuts another's.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn take(&mut self, service: usize, bytes: &[u8], now: Instant) -> io::Result<()> {
        if self.labels.is_empty() {
            return self.take_alone(bytes);
        }
        let mut held = std::mem::take(&mut self.held[service]);
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            held.bytes.extend_from_slice(&line[..end]);
            if !held.is_rest || !held.bytes.is_empty() {
                self.add_line(service, &held.bytes);
            }
            held.bytes.clear();
            held.is_rest = false;
            rest = after;
        }
        held.bytes.extend_from_slice(rest);
        if held.bytes.len() >= LONGEST_LINE {
            self.add_line(service, &held.bytes);
            held.bytes.clear();
            held.is_rest = true;
        }
        held.since = (!held.bytes.is_empty()).then_some(now);
        self.held[service] = held;
        self.write()
    }

    fn take_alone(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(colour) = self.terminal else { return self.out.write_all(bytes) };
        let held = &mut self.held[0].bytes;
        held.extend_from_slice(bytes);
        let used = show(held, colour, false, &mut self.text).used;
        held.drain(..used);
        self.write()
    }

    /// Ends the line of a service that nothing more will come of. A service alone is shown as it is.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn end_line(&mut self, service: usize) -> io::Result<()> {
        let Held { bytes, .. } = std::mem::take(&mut self.held[service]);
        match self.terminal {
            _ if bytes.is_empty() => return Ok(()),
            Some(colour) if self.labels.is_empty() => {
                show(&bytes, colour, true, &mut self.text);
            }
            _ => self.add_line(service, &bytes),
        }
        self.write()
    }

    /// How long until the beginning of a line has been held for long enough; nothing where none is held.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let since = self.held.iter().filter_map(|held| held.since).min()?;
        Some((since + PATIENCE).saturating_duration_since(now))
    }

    /// Shows the beginnings of lines that have been held for long enough.
    ///
    /// # Errors
    /// They can't be written.
    pub(super) fn show_overdue(&mut self, now: Instant) -> io::Result<()> {
        for service in 0..self.held.len() {
            if self.held[service].since.is_some_and(|since| now >= since + PATIENCE) {
                self.end_line(service)?;
                self.held[service].is_rest = true;
            }
        }
        Ok(())
    }

    /// Hands everything over to whoever reads.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn add_line(&mut self, service: usize, line: &[u8]) {
        self.text.extend_from_slice(self.labels[service].as_bytes());
        match self.terminal {
            Some(colour) => show_line(line, colour, &mut self.text),
            None => self.text.extend_from_slice(line),
        }
        self.text.push(b'\n');
    }

    /// All at once, so that a whole line is written or none.
    fn write(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.text);
        self.text.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Style = Style { colour: false, is_terminal: true, width: None };

    /// What is shown of what services wrote, one after the other.
    fn shown(style: Style, ids: &[&str], wrote: &[(usize, &str)]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, style, ids);
        for (service, text) in wrote {
            printer.take(*service, text.as_bytes(), Instant::now()).unwrap();
        }
        for service in 0..ids.len() {
            printer.end_line(service).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_service_alone_is_shown_as_it_is() {
        let wrote = [(0, "a\nb\x1b[2J"), (0, "c")];
        assert_eq!(shown(Style::PLAIN, &["web"], &wrote), "a\nb\x1b[2Jc");
        assert_eq!(shown(TERMINAL, &["web"], &wrote), "a\nb\\x1b[2Jc");
        assert_eq!(shown(TERMINAL, &["web"], &[(0, "a\x1b")]), "a\\x1b");
    }

    #[test]
    fn lines_of_several_are_whole_and_have_their_service_in_front() {
        let wrote = [(0, "one\ntw"), (1, "first\n"), (0, "o\n"), (1, "last words")];
        let expected = "web | one\ndb  | first\nweb | two\ndb  | last words\n";
        assert_eq!(shown(Style::PLAIN, &["web", "db"], &wrote), expected);
        let colourful = shown(Style { colour: true, ..TERMINAL }, &["web", "db"], &wrote);
        assert!(colourful.starts_with("\x1b[36mweb | \x1b[0mone\n\x1b[33mdb  | \x1b[0mfirst\n"), "{colourful:?}");
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_parts() {
        let part = "x".repeat(LONGEST_LINE - 1);
        let text = shown(Style::PLAIN, &["a", "b"], &[(0, &part), (0, "yz"), (0, "\n")]);
        assert_eq!(text, format!("a | {part}yz\n"));
    }

    #[test]
    fn the_rest_of_a_line_is_waited_for_and_not_for_ever() {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Style::PLAIN, &["a", "b"]);
        let began = Instant::now();
        assert_eq!(printer.patience(began), None);
        printer.take(0, b"last words", began).unwrap();
        assert_eq!(printer.patience(began), Some(PATIENCE));
        printer.show_overdue(began + PATIENCE / 2).unwrap();
        assert_eq!(printer.patience(began + PATIENCE / 2), Some(PATIENCE / 2));
        printer.show_overdue(began + PATIENCE).unwrap();
        assert_eq!(printer.patience(began + PATIENCE), None);
        printer.take(0, b" after all\n\n", began + PATIENCE).unwrap();
        printer.take(1, b"dots...", began).unwrap();
        printer.show_overdue(began + PATIENCE).unwrap();
        printer.take(1, b"\nnext\n", began + PATIENCE).unwrap();
        assert_eq!(out, b"a | last words\na |  after all\na | \nb | dots...\nb | next\n");
    }
}
