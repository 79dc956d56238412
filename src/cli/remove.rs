//! `remove`: takes away the conf of a service, and has a daemon that runs stop it.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::client::{Daemon, Question};
use super::{Exit, Failure, Terminal};
use crate::api::{Candidate, PlanDocument, ReloadOptions, select};
use crate::conf::{DirectoryError, FilesOf, Places, files_of, has_confs, known};
use crate::model::ServiceId;

/// Whose conf is taken away.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RemoveArguments {
    /// The service
    #[arg(value_name = "ID", value_parser = clap::value_parser!(ServiceId))]
    pub id: ServiceId,
}

pub(super) fn run(
    arguments: &RemoveArguments,
    places: &Places,
    daemon: &Daemon,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let (id, source) = (&arguments.id, places.source());
    let files = match files_of(&source, id) {
        Err(DirectoryError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => FilesOf::default(),
        files => files?,
    };
    if files == FilesOf::default() {
        return Err(unknown(id, places));
    }
    for path in &files.used {
        match std::fs::remove_file(path) {
            // Somebody else was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(Failure::file("remove", path))?,
        }
    }
    let plan = if files.used.is_empty() { Ok(None) } else { reload(id, !has_confs(&source)?, daemon) };
    let outcome = match &plan {
        Ok(plan) => outcome(&files, plan.as_ref(), id),
        Err(_) => "removed".to_owned(),
    };
    writeln!(terminal.out, "{id}: {outcome}")?;
    for (paths, what) in [(&files.overridden, "is used here now"), (&files.elsewhere, "stays, for other hosts")] {
        for path in paths.iter().map(PathBuf::as_path) {
            writeln!(terminal.out, "{id}: {} {what}", path.display())?;
        }
    }
    plan.map(|_| Exit::Done)
}

fn unknown(id: &ServiceId, places: &Places) -> Failure {
    let known = known(&places.source()).unwrap_or_default();
    let candidates: Vec<_> = known.keys().map(|id| Candidate { id: id.as_str(), by_glob: false }).collect();
    Failure::Unknown(select(&[id.to_string()], &candidates).err().unwrap_or_default())
}

/// Has the daemon read the confs again; nothing where none runs. An empty directory stops nothing, since it is more often
/// an accident than a wish; the wish is known here, but only that for this one service.
fn reload(id: &ServiceId, emptied: bool, daemon: &Daemon) -> Result<Option<PlanDocument>, Failure> {
    let ask =
        |options: ReloadOptions| match daemon.ask_for::<PlanDocument>(&Question::post("/v1/reload").with(&options)) {
            Err(Failure::NoDaemon { .. }) => Ok(None),
            answered => answered.map(Some),
        };
    let alone = |plan: PlanDocument| plan.stop.iter().all(|stopped| stopped == id.as_str());
    let prune = emptied && ask(ReloadOptions { dry_run: Some(true), prune: Some(true) })?.is_some_and(alone);
    ask(ReloadOptions { dry_run: None, prune: prune.then_some(true) })
}

fn outcome(files: &FilesOf, plan: Option<&PlanDocument>, id: &ServiceId) -> String {
    let is_in = |list: &[String]| list.iter().any(|one| one == id.as_str());
    match plan {
        _ if files.used.is_empty() => "has no conf for this host".to_owned(),
        None => "removed; no daemon is running".to_owned(),
        Some(plan) if is_in(&plan.stop) => "removed, and its service is being stopped".to_owned(),
        Some(_) if !files.overridden.is_empty() => "removed".to_owned(),
        Some(plan) if is_in(&plan.unchanged) => format!(
            "removed; the confs of other services are gone, too, and perhaps by accident, so all run on: `daemonherder \
             stop {id}` stops it, `daemonherder reload --prune` all of them"
        ),
        // The daemon may have noticed by itself before it was asked.
        Some(_) => "removed; nothing of it runs, or not for long".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_service_is_said() {
        let id = "web".parse().unwrap();
        let list = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        let used = FilesOf { used: vec!["/c/web.conf".into()], ..FilesOf::default() };
        let said = |files: &FilesOf, plan: Option<PlanDocument>| outcome(files, plan.as_ref(), &id);
        assert_eq!(said(&used, None), "removed; no daemon is running");
        let stopped = PlanDocument { stop: list(&["web"]), ..PlanDocument::default() };
        assert_eq!(said(&used, Some(stopped)), "removed, and its service is being stopped");
        let spared = PlanDocument { unchanged: list(&["db", "web"]), ..PlanDocument::default() };
        assert!(said(&used, Some(spared)).contains("`daemonherder stop web` stops it"));
        assert_eq!(said(&used, Some(PlanDocument::default())), "removed; nothing of it runs, or not for long");
        let elsewhere = FilesOf { elsewhere: vec!["/c/web@x.conf".into()], ..FilesOf::default() };
        assert_eq!(said(&elsewhere, None), "has no conf for this host");
    }
}
