//! What a keeper makes of a herd of which no run table tells: it was deleted, or damaged, or is of another version.
//!
//! Each run has marked its processes, so that those that live are found among all of the machine. Of a service only the
//! newest run counts: what it had before has ended, but for what it was allowed to leave. The eldest process of a run is its
//! main one, if that began a session as every main process does; if not, that one has gone, and what it has left is ended
//! as after any other run. Whose the run is its environment says, or else the note that was written of it.
//!
//! What was given the means to put its mark aside is not found.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::notes::recall;
use crate::model::{RunId, ServiceId, with_causes};
use crate::os::service_in_environment;
use crate::os::tree::{Stray, kill_strays, strays};
use crate::policy::Note;

/// A run of which there is no record, and of which something lives.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) service: ServiceId,
    pub(super) run: RunId,
    /// The user of its eldest process.
    pub(super) uid: u32,
    /// The number of that one.
    pub(super) pid: u32,
    /// The same, if it is the main one.
    pub(super) main: Option<OwnedFd>,
}

/// A process that bears the mark of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bearer {
    run: RunId,
    /// What its environment says.
    service: Option<ServiceId>,
    pid: u32,
    uid: u32,
    session: u32,
    began: u64,
}

/// A run as its bearers show it.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    service: Option<ServiceId>,
    /// The number of its eldest process, and the user of that.
    eldest: u32,
    uid: u32,
    /// Whether that is the main one.
    is_main: bool,
}

/// Looks for all that lives of a herd. What is nobody's has been sent KILL.
///
/// # Errors
/// It can't be seen what lives: then nothing may be launched.
pub(super) fn look(herd: u64, journal: &Path) -> io::Result<Vec<Lost>> {
    let own = nix::unistd::getuid();
    // Services of root's are of any user.
    let found = strays(herd, |_| true, |_, uid| own.is_root() || uid == own.as_raw())?;
    let mut bearers = Vec::new();
    for Stray { run, kin } in &found {
        if let (Some(facts), Some(uid)) = (kin.facts()?, kin.real_uid()?) {
            let (run, pid, session, began) = (*run, kin.pid(), facts.session, facts.began);
            let service = service_in_environment(pid, run).filter(|_| kin.is_there());
            bearers.push(Bearer { run, service, pid, uid, session, began });
        }
    }
    let noted = noted(journal);
    let families = families(&bearers, &noted);
    let mut lost = Vec::new();
    let mut nobodys = Vec::new();
    for Stray { run, kin } in found {
        match families.get(&run) {
            Some(Family { service: Some(service), eldest, uid, is_main }) if kin.pid() == *eldest => {
                let main = is_main.then(|| kin.as_fd().try_clone_to_owned()).transpose()?;
                lost.push(Lost { service: service.clone(), run, uid: *uid, pid: *eldest, main });
            }
            // Somebody's, and a second one would be launched beside it.
            Some(Family { service: None, .. }) if noted.is_empty() => nobodys.push(kin),
            _ => {}
        }
    }
    if !nobodys.is_empty() {
        log::error!("{} processes are of services that nobody can name any more: they are killed", nobodys.len());
        kill_strays(nobodys, Vec::new);
    }
    Ok(lost)
}

/// The run that each service had when its last note was written. Without a journal, none.
fn noted(journal: &Path) -> BTreeMap<ServiceId, RunId> {
    let recalled = recall(journal).inspect_err(|error| log::warn!("{}", with_causes(error)));
    let services = recalled.map(|recalled| recalled.services).unwrap_or_default();
    let run = |note: &[u8]| Note::from_bytes(note).ok()?.phase.run();
    services.into_iter().filter_map(|(service, kept)| Some((service, run(&kept.note)?))).collect()
}

/// The newest run of each service, and every run that nobody names.
fn families(bearers: &[Bearer], noted: &BTreeMap<ServiceId, RunId>) -> BTreeMap<RunId, Family> {
    let mut runs: BTreeMap<RunId, Vec<&Bearer>> = BTreeMap::new();
    for bearer in bearers {
        runs.entry(bearer.run).or_default().push(bearer);
    }
    let mut families: BTreeMap<RunId, Family> = BTreeMap::new();
    for (run, bearers) in runs {
        let said = bearers.iter().find_map(|bearer| bearer.service.clone());
        let service = said.or_else(|| noted.iter().find(|(_, known)| **known == run).map(|(id, _)| id.clone()));
        if let Some(service) = &service {
            if noted.get(service).is_some_and(|known| known.number > run.number) {
                continue;
            }
            families.retain(|_, older| older.service.as_ref() != Some(service));
        }
        // Numbers are given in a row, and two that began in one tick have the older one first.
        if let Some(eldest) = bearers.iter().min_by_key(|bearer| (bearer.began, bearer.pid)) {
            let is_main = eldest.session == eldest.pid;
            families.insert(run, Family { service, eldest: eldest.pid, uid: eldest.uid, is_main });
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn run(number: u64) -> RunId {
        RunId { herd: 1, number }
    }

    fn id(text: &str) -> ServiceId {
        text.parse().unwrap()
    }

    /// Number and session, the tick when it began, its run, and what its environment says.
    type Seen<'a> = (u32, u32, u64, u64, Option<&'a str>);

    /// What a note says: a service, and its run.
    type Noted<'a> = (&'a str, u64);

    /// Run, service, eldest process, and whether that is the main one.
    type Told<'a> = (u64, Option<&'a str>, u32, bool);

    type Case<'a> = (&'a str, &'a [Seen<'a>], &'a [Noted<'a>], &'a [Told<'a>]);

    #[test]
    fn the_newest_run_of_each_service_counts_and_its_eldest_process_is_its_main_one() {
        let table: &[Case<'_>] = &[
            ("nobody", &[], &[("web", 3)], &[]),
            ("a child", &[(8, 7, 2, 3, None), (7, 7, 1, 3, Some("web"))], &[], &[(3, Some("web"), 7, true)]),
            (
                "one that left",
                &[(9, 9, 5, 3, Some("web")), (7, 7, 5, 3, Some("web"))],
                &[],
                &[(3, Some("web"), 7, true)],
            ),
            ("no main process", &[(8, 7, 2, 3, Some("web"))], &[], &[(3, Some("web"), 8, false)]),
            ("an environment that is gone", &[(7, 7, 1, 3, None)], &[("web", 3)], &[(3, Some("web"), 7, true)]),
            ("nobody's", &[(7, 7, 1, 3, None)], &[("web", 4)], &[(3, None, 7, true)]),
            (
                "an older run's",
                &[(7, 7, 1, 3, Some("web")), (9, 9, 2, 4, Some("web")), (5, 5, 1, 2, Some("db"))],
                &[],
                &[(2, Some("db"), 5, true), (4, Some("web"), 9, true)],
            ),
            ("a newer run has gone", &[(7, 7, 1, 3, Some("web"))], &[("web", 4)], &[]),
            ("a newer one than its note", &[(7, 7, 1, 5, Some("web"))], &[("web", 4)], &[(5, Some("web"), 7, true)]),
        ];
        for (what, seen, noted, expected) in table {
            let bearer = |&(pid, session, began, number, service): &Seen| Bearer {
                run: run(number),
                service: service.map(id),
                pid,
                uid: pid + 1000,
                session,
                began,
            };
            let bearers: Vec<_> = seen.iter().map(bearer).collect();
            let noted = noted.iter().map(|(service, number)| (id(service), run(*number))).collect();
            let found = families(&bearers, &noted);
            let expected = expected.iter().map(|&(number, service, eldest, is_main)| {
                (run(number), Family { service: service.map(id), eldest, uid: eldest + 1000, is_main })
            });
            assert_eq!(found, expected.collect(), "{what}");
        }
    }
}
