//! `status`: what runs, and why what does not run does not.

use clap::Args;
use serde_json::Value;

use super::client::{Daemon, Question, segment, understand};
use super::watching::{self, Kind};
use super::{Exit, Failure, Terminal, table};
use crate::api::{Candidate, HerdDocument, ServiceDocument, ServiceLine, select};
use crate::model::{Cause, State};

/// How many lines of its log are shown with one service.
const LAST_LINES: usize = 10;

/// What to show.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StatusArguments {
    /// Services, by id or glob; without any, all
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Show it again whenever something happens
    #[arg(long)]
    pub watch: bool,
}

pub(super) fn run(arguments: &StatusArguments, daemon: &Daemon, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    if arguments.watch {
        let style = terminal.style;
        let kind = if arguments.json { Kind::Document } else { Kind::Table };
        return watching::run(daemon, terminal, kind, || {
            let mut text = Vec::new();
            let mut page = Terminal { out: &mut text, err: &mut std::io::sink(), style };
            show(arguments, daemon, &mut page)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        });
    }
    show(arguments, daemon, terminal)
}

fn show(arguments: &StatusArguments, daemon: &Daemon, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    // A script is given all there is.
    let answer = daemon.ask(&if arguments.json { Question::get("/v1/services") } else { Question::lines() })?;
    let mut herd: HerdDocument<Vec<ServiceLine<'_>>> = understand(&answer)?;
    let chosen = match arguments.ids.as_slice() {
        [] => None,
        ids => Some(choose(ids, &herd.services)?),
    };
    let exit = exit(chosen.as_deref(), &herd.services);
    if arguments.json {
        show_json(&answer, chosen.as_deref(), terminal)?;
        return Ok(exit);
    }
    if let Some(chosen) = chosen {
        herd.services = pick(&herd.services, &chosen);
    }
    match (&arguments.ids[..], &herd.services[..]) {
        // A glob that happens to mean one service still asks for a table.
        ([name], [service]) if *name == service.id => {
            let lines = last_lines(daemon, &service.id);
            let question = Question::get(format!("/v1/services/{}", segment(&service.id)));
            let service: ServiceDocument = daemon.ask_for(&question)?;
            terminal.out.write_all(table::one(&service, &herd.host, &lines, terminal.style).as_bytes())?;
        }
        _ => terminal.out.write_all(table::all(&herd, terminal.style).as_bytes())?,
    }
    Ok(exit)
}

/// The services that are named; `status`, unlike a command, may be asked of services of other hosts by a glob, too.
fn choose(names: &[String], services: &[ServiceLine<'_>]) -> Result<Vec<usize>, Failure> {
    let candidates: Vec<_> = services.iter().map(|service| Candidate { id: &service.id, by_glob: true }).collect();
    select(names, &candidates).map_err(Failure::Unknown)
}

fn pick<T: Clone>(all: &[T], chosen: &[usize]) -> Vec<T> {
    chosen.iter().filter_map(|index| all.get(*index).cloned()).collect()
}

/// 1 where a service that was named is not up; whoever names none asks for a report, not for a verdict.
fn exit(chosen: Option<&[usize]>, services: &[ServiceLine<'_>]) -> Exit {
    let named = chosen.unwrap_or_default();
    if named.iter().all(|index| is_up(&services[*index])) { Exit::Done } else { Exit::Failed }
}

/// Running, or exited by success.
fn is_up(service: &ServiceLine<'_>) -> bool {
    let succeeded = || service.last_exit.as_ref().is_some_and(|exit| exit.cause == Cause::Success.name());
    service.state == State::Running.name() || (service.state == State::Exited.name() && succeeded())
}

/// The daemon's document, exactly, what a newer daemon says in it included; without the services that are not chosen.
fn show_json(answer: &[u8], chosen: Option<&[usize]>, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match chosen {
        None => terminal.out.write_all(answer)?,
        Some(chosen) => {
            let mut document: Value = understand(answer)?;
            if let Some(Value::Array(services)) = document.get_mut("services") {
                *services = pick(services, chosen);
            }
            write!(terminal.out, "{document}")?;
        }
    }
    writeln!(terminal.out)?;
    Ok(())
}

/// The end of a service's log. Without it there is still all the rest to show.
fn last_lines(daemon: &Daemon, id: &str) -> Vec<String> {
    let question = Question::get(format!("/v1/services/{}/logs?lines={LAST_LINES}", segment(id)));
    daemon
        .ask(&question)
        .map(|bytes| String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Style;
    use crate::cli::table::sample;

    /// What is told in brief of services, which a whole document tells as well.
    fn lines(text: &str) -> Vec<ServiceLine<'_>> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn up_is_running_or_exited_by_success() {
        for (state, cause, up) in [
            ("running", None, true),
            ("running", Some("exit-code"), true),
            ("exited", Some("success"), true),
            ("exited", Some("exit-code"), false),
            ("exited", None, false),
            ("stopped", Some("success"), false),
            ("starting", None, false),
            ("skipped", None, false),
        ] {
            let text = serde_json::to_string(&[sample("x", state, cause)]).unwrap();
            assert_eq!(is_up(&lines(&text)[0]), up, "{state} {cause:?}");
        }
    }

    #[test]
    fn only_a_named_service_that_is_not_up_is_a_failure() {
        let services = [sample("a", "running", None), sample("b", "cooldown", None)];
        let text = serde_json::to_string(&services).unwrap();
        let services = lines(&text);
        assert_eq!(exit(None, &services), Exit::Done);
        assert_eq!(exit(Some(&[0]), &services), Exit::Done);
        assert_eq!(exit(Some(&[0, 1]), &services), Exit::Failed);
    }

    #[test]
    fn json_is_the_daemons_own_document_with_what_is_not_known_here() {
        let answer = br#"{"version":1,"new":{"z":1,"a":2},"services":[{"id":"a","x":1},{"id":"b"}]}"#;
        let shown = |chosen: Option<&[usize]>| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            show_json(answer, chosen, &mut Terminal { out: &mut out, err: &mut err, style: Style::PLAIN }).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(None).trim_end().as_bytes(), answer);
        let expected = "{\"version\":1,\"new\":{\"z\":1,\"a\":2},\"services\":[{\"id\":\"a\",\"x\":1}]}\n";
        assert_eq!(shown(Some(&[0])), expected);
    }
}
