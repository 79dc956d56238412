//! `upgrade`: put another program in the place of the daemon's.
//!
//! The herder that is asked ends with its program, so that its answer is the end of the connection. What became of it is
//! asked at the same socket, which answers once that is known: upgrades have numbers, and one with a higher number than
//! the last one before is this one.

use std::path::PathBuf;

use clap::Args;

use super::client::{Daemon, Question, understand};
use super::{Exit, Failure, Terminal};
use crate::api::{ProblemDocument, UpgradeDocument, UpgradeOptions, UpgradeResult};

/// A herder may end for reasons of its own in the middle of it; then it is asked for once more.
const ATTEMPTS: usize = 3;

/// What to.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UpgradeArguments {
    /// The new program [default: what is now where the daemon's own program was]
    pub path: Option<PathBuf>,
}

pub(super) fn run(arguments: &UpgradeArguments, daemon: &Daemon, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let path = match &arguments.path {
        // Where the daemon is, another directory is the present one.
        Some(path) => Some(std::path::absolute(path)?.into_os_string().into_string().map_err(not_text)?),
        None => None,
    };
    let question = Question::post("/v1/upgrade").with(&UpgradeOptions { path }).once();
    let before = last(daemon)?.map_or(0, |last| last.number);
    for _ in 0..ATTEMPTS {
        match daemon.ask(&question) {
            Err(Failure::NoAnswer) => {}
            // Nothing but a failure is ever answered.
            answered => return understand::<UpgradeDocument>(&answered?).map(|_| Exit::Failed),
        }
        if let Some(result) = last(daemon)?.filter(|last| last.number > before) {
            return tell(result, terminal);
        }
    }
    Err(Failure::NoAnswer)
}

fn last(daemon: &Daemon) -> Result<Option<UpgradeResult>, Failure> {
    Ok(daemon.ask_for::<UpgradeDocument>(&Question::get("/v1/upgrade"))?.last)
}

fn tell(result: UpgradeResult, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let UpgradeResult { from, to, path, failed, .. } = result;
    match failed {
        None => writeln!(terminal.out, "upgraded from {from} to {to}: {path}")?,
        Some(why) => {
            let detail = format!("{path}: {why}; version {from} goes on");
            return Err(Failure::Refused(ProblemDocument { status: 409, title: "not upgraded".to_owned(), detail }));
        }
    }
    Ok(Exit::Done)
}

fn not_text(path: std::ffi::OsString) -> Failure {
    let detail = format!("{} is not UTF-8", path.display());
    Failure::Refused(ProblemDocument { status: 400, title: "bad request".to_owned(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Style;

    fn told(failed: Option<&str>) -> (Result<Exit, Failure>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal { out: &mut out, err: &mut err, style: Style::PLAIN };
        let result = UpgradeResult {
            number: 2,
            from: "0.1.0".into(),
            to: "0.2.0".into(),
            path: "/x".into(),
            failed: failed.map(str::to_owned),
        };
        let told = tell(result, &mut terminal);
        (told, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_success_is_a_line_and_a_failure_an_error() {
        let (done, out) = told(None);
        assert!(matches!(done, Ok(Exit::Done)));
        assert_eq!(out, "upgraded from 0.1.0 to 0.2.0: /x\n");
        let (failed, out) = told(Some("it fell ill"));
        let failure = failed.unwrap_err();
        assert_eq!((failure.exit(), out.as_str()), (Exit::Failed, ""));
        assert_eq!(failure.to_string(), "/x: it fell ill; version 0.1.0 goes on");
    }
}
