//! `start`, `stop`, `restart`: one command to any number of services, in one request.

use std::time::Duration;

use clap::Args;

use super::client::{Daemon, Question, segment};
use super::problem::complain;
use super::progress::Progress;
use super::text::{parse_span, printable};
use super::{Exit, Failure, Terminal};
use crate::api::{CommandResult, CommandResults, StartOptions};

/// Whom a command means, and how its result is waited for.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OrderArguments {
    /// Services, by id or glob
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// All services of this host
    #[arg(long)]
    pub all: bool,
    /// Do not wait for the result
    #[arg(long)]
    pub no_wait: bool,
    /// How long each must live to be a success, such as 250ms or 10s [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    pub settle: Option<Duration>,
}

impl OrderArguments {
    /// The names as one segment of a path.
    fn names(&self) -> String {
        if self.all { segment("*") } else { segment(&self.ids.join(",")) }
    }

    /// Only what the user asked for, so that a daemon of another version is not told what it may not know.
    fn options(&self) -> StartOptions {
        StartOptions {
            wait: self.no_wait.then_some(false),
            settle_ms: self.settle.map(|settle| u64::try_from(settle.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

pub(super) fn run(
    verb: &str,
    arguments: &OrderArguments,
    daemon: &Daemon,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let question = Question::post(format!("/v1/services/{}/{verb}", arguments.names())).with(&arguments.options());
    // To stop twice or to start twice is to do it once; to restart twice is not.
    let question = if verb == "restart" { question.once() } else { question };
    let names = if arguments.all { vec!["*".to_owned()] } else { arguments.ids.clone() };
    let progress = (!arguments.no_wait).then(|| Progress::of(verb, names, daemon));
    let answer: CommandResults = daemon.ask_for(&question)?;
    drop(progress);
    show(verb, &answer.results, terminal)
}

pub(super) fn show(verb: &str, results: &[CommandResult], terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    for CommandResult { id, message, .. } in results.iter().filter(|result| result.ok) {
        writeln!(terminal.out, "{id}: {}", printable(message))?;
    }
    for result in results.iter().filter(|result| !result.ok) {
        complain(terminal, &format!("cannot {verb} {}: {}", result.id, result.message));
        // Only its log can tell more, so that is shown right here.
        for line in &result.last_lines {
            let _ = writeln!(terminal.err, "    {id} | {}", printable(line), id = result.id);
        }
    }
    Ok(if results.iter().all(|result| result.ok) { Exit::Done } else { Exit::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Style;

    fn result(id: &str, ok: bool, message: &str, last_lines: &[&str]) -> CommandResult {
        let last_lines = last_lines.iter().map(ToString::to_string).collect();
        CommandResult { id: id.into(), ok, message: message.into(), service: None, last_lines }
    }

    fn shown(results: &[CommandResult]) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = show("start", results, &mut Terminal { out: &mut out, err: &mut err, style: Style::PLAIN }).unwrap();
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn one_failure_fails_the_whole_and_is_told_with_the_last_lines() {
        let failed = result("db", false, "exited with code 3 (exit-code); now backoff: waits", &["no \x1b[2Jdisk"]);
        let (exit, out, err) = shown(&[failed, result("web", true, "started", &[])]);
        assert_eq!(exit, Exit::Failed);
        assert_eq!(out, "web: started\n");
        let expected = "daemonherder: cannot start db: exited with code 3 (exit-code); now backoff: waits\n    \
                        db | no \\u{1b}[2Jdisk\n";
        assert_eq!(err, expected);
    }

    #[test]
    fn success_is_silent_on_stderr() {
        assert_eq!(shown(&[result("a", true, "stopped", &[])]), (Exit::Done, "a: stopped\n".into(), String::new()));
        assert_eq!(shown(&[]), (Exit::Done, String::new(), String::new()));
    }

    #[test]
    fn only_what_the_user_asked_for_is_sent() {
        let all = OrderArguments { ids: vec![], all: true, no_wait: false, settle: None };
        assert_eq!((all.names().as_str(), all.options()), ("%2A", StartOptions::default()));
        let some = OrderArguments {
            ids: vec!["a".into(), "b*".into()],
            all: false,
            no_wait: true,
            settle: Some(Duration::from_secs(2)),
        };
        assert_eq!(some.names(), "a,b%2A");
        assert_eq!(some.options(), StartOptions { wait: Some(false), settle_ms: Some(2000) });
    }
}
