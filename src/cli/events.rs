//! `events`: what happened, newest last.

use clap::Args;

use super::client::Daemon;
use super::stream::Told;
use super::style::Colour;
use super::text::printable;
use super::{Exit, Failure, Style, Terminal};
use crate::api::{EventDocument, MissedDocument};

/// More than any daemon remembers.
const ALL: usize = 100_000;
/// How many past events are shown before those that are followed.
const LAST: usize = 10;

/// How to show them.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventsArguments {
    /// Show the last ones, then each as it happens
    #[arg(short, long)]
    pub follow: bool,
    /// Print each as a JSON document on a line of its own
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(arguments: EventsArguments, daemon: &Daemon, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let EventsArguments { follow, json } = arguments;
    if !follow {
        hear(daemon, &format!("/v1/events?past={ALL}&follow=false"), None, json, terminal)?;
        return Ok(Exit::Done);
    }
    let mut after = hear(daemon, &format!("/v1/events?past={LAST}"), None, json, terminal)?;
    loop {
        // The process that told them was replaced, or the daemon has ended.
        match hear(daemon, "/v1/events", after.as_deref(), json, terminal) {
            Ok(last) => after = last.or(after),
            Err(Failure::NoDaemon { .. }) => return Ok(Exit::Done),
            Err(failure) => return Err(failure),
        }
    }
}

/// Shows what is told, and says the id of the last event.
fn hear(
    daemon: &Daemon,
    path: &str,
    after: Option<&str>,
    json: bool,
    terminal: &mut Terminal<'_>,
) -> Result<Option<String>, Failure> {
    let (mut last, mut written) = (None, Ok(()));
    daemon.hear(path, after, |told| {
        let text = if json { Some(told.data.clone()) } else { line(&told, terminal.style) };
        last = told.id.or(last.take());
        if let Some(text) = text {
            // Whoever reads a pipe reads each one when it comes.
            written = writeln!(terminal.out, "{text}").and_then(|()| terminal.out.flush());
        }
        written.is_ok()
    })?;
    written?;
    Ok(last)
}

/// An event as people read it; nothing of what is not understood.
fn line(told: &Told, style: Style) -> Option<String> {
    if told.name == "missed" {
        let MissedDocument { missed } = serde_json::from_str(&told.data).ok()?;
        let what = match missed {
            Some(missed) => format!("({missed} events were missed here)"),
            None => "(what came before was told by an earlier process of the daemon)".to_owned(),
        };
        return Some(style.paint(Some(Colour::Dim), &what).into_owned());
    }
    let event: EventDocument = serde_json::from_str(&told.data).ok()?;
    let at = style.paint(Some(Colour::Dim), &event.at);
    let colour = super::table::colour(event.state.as_deref().unwrap_or_default());
    let message = printable(&event.message);
    let message = match &event.state {
        Some(state) => message.replacen(state, &style.paint(colour, state), 1),
        None => message.into_owned(),
    };
    Some(format!("{at} {}: {message}", style.paint(Some(Colour::Bold), &event.service)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines_for_people() {
        let told = |name: &str, data: &str| Told { id: None, name: name.into(), data: data.into() };
        let state = r#"{"id":"1-1","at":"T","service":"web","event":"state","message":"running, pid 7: runs","state":"running"}"#;
        let colourful = Style { colour: true, is_terminal: true, width: None };
        for (told, plain, painted) in [
            (
                told("state", state),
                Some("T web: running, pid 7: runs"),
                Some("\x1b[2mT\x1b[0m \x1b[1mweb\x1b[0m: \x1b[32mrunning\x1b[0m, pid 7: runs"),
            ),
            (
                told("missed", r#"{"missed":3}"#),
                Some("(3 events were missed here)"),
                Some("\x1b[2m(3 events were missed here)\x1b[0m"),
            ),
            (told("new", r#"{"of":"a later daemon"}"#), None, None),
        ] {
            assert_eq!(line(&told, Style::PLAIN).as_deref(), plain);
            assert_eq!(line(&told, colourful).as_deref(), painted);
        }
    }
}
