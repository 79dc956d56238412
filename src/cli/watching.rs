//! `status --watch`: the table, drawn again when something happens.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Daemon;
use super::{Exit, Failure, Style, Terminal};

/// How long it takes at least from one picture to the next.
const PACE: Duration = Duration::from_millis(100);
/// How old a picture becomes on a terminal: uptimes go on with nothing happening.
const OLDEST: Duration = Duration::from_secs(2);
/// To the top of the screen.
const HOME: &str = "\x1b[H";
/// The rest of the line, and the rest of the screen, are empty (ECMA-48, EL and ED).
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// What a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something to look at.
    Table,
    /// A document on a line of its own, for programs.
    Document,
}

/// Draws what `picture` gives, now and whenever something has happened, until the daemon has gone.
///
/// # Errors
/// There is no daemon any more, or nobody reads.
pub(super) fn run(
    daemon: &Daemon,
    terminal: &mut Terminal<'_>,
    kind: Kind,
    mut picture: impl FnMut() -> Result<String, Failure>,
) -> Result<Exit, Failure> {
    let (happened, happens) = sync_channel(1);
    let hears = daemon.clone();
    // It ends with this process.
    thread::spawn(move || {
        // A herder that was replaced is heard again; a daemon that has gone is told by the next picture.
        while hears
            .hear("/v1/events", None, |_| {
                // A full channel tells as much.
                let _ = happened.try_send(());
                true
            })
            .is_ok()
        {
            let _ = happened.try_send(());
        }
    });
    let mut last = None;
    loop {
        let drawn = Instant::now();
        let text = picture()?;
        if last.as_ref() != Some(&text) {
            terminal.out.write_all(framed(&text, last.is_none(), kind, terminal.style).as_bytes())?;
            terminal.out.flush()?;
            last = Some(text);
        }
        let is_seen = terminal.style.is_terminal && kind == Kind::Table;
        let oldest = if is_seen { OLDEST } else { Duration::MAX };
        match happens.recv_timeout(oldest) {
            // What happens next comes with it.
            Ok(()) => while happens.recv_timeout(PACE.saturating_sub(drawn.elapsed())).is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            // Nothing is heard any more: the next picture says why, or is the first of another daemon's.
            Err(RecvTimeoutError::Disconnected) => {
                picture()?;
                return Ok(Exit::Done);
            }
        }
    }
}

/// A picture in the place of the last one, or where there is no such place below it.
fn framed(text: &str, is_first: bool, kind: Kind, style: Style) -> String {
    match (kind, style.is_terminal, is_first) {
        (Kind::Document, ..) | (Kind::Table, false, true) => return text.to_owned(),
        (Kind::Table, false, false) => return format!("\n{text}"),
        (Kind::Table, true, _) => {}
    }
    let lines: String = text.lines().map(|line| format!("{line}{REST_OF_LINE}\n")).collect();
    format!("{}{HOME}{lines}{REST_OF_SCREEN}", if is_first { REST_OF_SCREEN } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_one_picture_and_a_pipe_has_all() {
        assert_eq!(framed("a\nb\n", true, Kind::Table, Style::PLAIN), "a\nb\n");
        assert_eq!(framed("a\nb\n", false, Kind::Table, Style::PLAIN), "\na\nb\n");
        let terminal = Style { colour: false, is_terminal: true, width: None };
        assert_eq!(framed("a\nb\n", true, Kind::Table, terminal), "\x1b[J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(framed("a\nb\n", false, Kind::Table, terminal), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        for style in [Style::PLAIN, terminal] {
            assert_eq!(framed("{}\n", false, Kind::Document, style), "{}\n");
        }
    }
}
