//! A line on a terminal that shows that something is waited for, and what.

use std::io::{IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::text::{shortened, span};
use crate::os::terminal;

/// How often the wheel turns.
const TURN: Duration = Duration::from_millis(100);
const SPOKES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// The terminal cuts what does not fit, as characters may that take two columns, instead of going to another line (DECAWM).
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// To the beginning of the line, and nothing in it from there on (ECMA-48, EL).
const EMPTY: &str = "\r\x1b[K";

/// A line on standard error, which goes away with this.
pub(super) struct Wheel {
    teller: Teller,
    turner: Option<JoinHandle<()>>,
}

/// Says what is waited for.
#[derive(Clone)]
pub(super) struct Teller(Sender<Told>);

enum Told {
    Message(String),
    Over,
}

impl Wheel {
    /// One that turns from now on, if somebody can see it. What is over before it has turned once is not shown.
    pub(super) fn turning() -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        if !stderr().is_terminal() || is_dumb {
            return None;
        }
        let (teller, told) = mpsc::channel();
        let begun = Instant::now();
        let turner = thread::spawn(move || {
            let (mut message, mut turns) = (String::new(), 0);
            loop {
                match told.recv_timeout(TURN) {
                    Ok(Told::Message(text)) => message = text,
                    Ok(Told::Over) | Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        draw(&picture(turns, begun.elapsed(), &message, terminal::columns(stderr().as_fd())));
                        turns += 1;
                    }
                }
            }
            if turns > 0 {
                draw(EMPTY);
            }
        });
        Some(Self { teller: Teller(teller), turner: Some(turner) })
    }

    pub(super) fn teller(&self) -> Teller {
        self.teller.clone()
    }
}

impl Drop for Wheel {
    fn drop(&mut self) {
        let _ = self.teller.0.send(Told::Over);
        // The line is gone when whatever comes next is written.
        let _ = self.turner.take().map(JoinHandle::join);
    }
}

impl Teller {
    /// Shows this from the next turn on. False if nobody looks any more.
    pub(super) fn tell(&self, message: String) -> bool {
        self.0.send(Told::Message(message)).is_ok()
    }
}

/// A terminal that takes nothing any more is not told so.
fn draw(text: &str) {
    let mut terminal = stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

fn picture(turns: usize, waited: Duration, message: &str, columns: Option<usize>) -> String {
    let waited = match waited.as_secs() {
        0 => "0s".to_owned(),
        seconds => span(seconds.saturating_mul(1000)),
    };
    let line = format!("{} {waited} {message}", SPOKES[turns % SPOKES.len()]);
    format!("{EMPTY}{CUT}{}{WRAP}", shortened(&line, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_into_its_line() {
        let shown = |turns, columns| picture(turns, Duration::from_millis(3_900), "2 of 3 left", columns);
        assert_eq!(shown(0, None), "\r\x1b[K\x1b[?7l⠋ 3s 2 of 3 left\x1b[?7h");
        assert_eq!(shown(11, Some(10)), "\r\x1b[K\x1b[?7l⠙ 3s 2 of…\x1b[?7h");
    }
}
