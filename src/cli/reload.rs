//! `reload`: read the confs again, and say what that changed.

use clap::Args;

use super::client::{Daemon, Question, understand};
use super::problem::complain;
use super::{Exit, Failure, Terminal};
use crate::api::{PlanDocument, ReloadOptions};

/// How to reload.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ReloadArguments {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Stop the services without a conf even if no conf is left at all
    #[arg(long)]
    pub prune: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(arguments: &ReloadArguments, daemon: &Daemon, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let options = ReloadOptions { dry_run: arguments.dry_run.then_some(true), prune: arguments.prune.then_some(true) };
    let answer = daemon.ask(&Question::post("/v1/reload").with(&options))?;
    if arguments.json {
        terminal.out.write_all(&answer)?;
        writeln!(terminal.out)?;
    } else {
        show(&understand(&answer)?, terminal)?;
    }
    Ok(Exit::Done)
}

fn show(plan: &PlanDocument, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    for (what, ids) in
        [("start", &plan.start), ("stop", &plan.stop), ("restart", &plan.restart), ("adjust", &plan.adjust)]
    {
        if !ids.is_empty() {
            writeln!(terminal.out, "{what:<10} {}", ids.join(" "))?;
        }
    }
    // Of these there may be a thousand, and nothing is to be said of any.
    writeln!(terminal.out, "{:<10} {}", "unchanged", plan.unchanged.len())?;
    for file in &plan.problems {
        let problem = &file.problem;
        complain(terminal, &format!("{}:{}:{}: {}", file.path, problem.line, problem.column, problem.message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ConfProblem, FileProblem};
    use crate::cli::Style;

    #[test]
    fn the_plan_is_shown_and_problems_are_complained_about() {
        let problem = ConfProblem { line: 3, column: 5, message: "unknown key \"cmdd\"".into() };
        let plan = PlanDocument {
            version: 1,
            start: vec!["a".into(), "b".into()],
            restart: vec!["web".into()],
            unchanged: vec!["x".into(), "y".into(), "z".into()],
            problems: vec![FileProblem { path: "/c/db.conf".into(), problem }],
            ..PlanDocument::default()
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        show(&plan, &mut Terminal { out: &mut out, err: &mut err, style: Style::PLAIN }).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "start      a b\nrestart    web\nunchanged  3\n");
        assert_eq!(String::from_utf8(err).unwrap(), "daemonherder: /c/db.conf:3:5: unknown key \"cmdd\"\n");
    }
}
