//! Whose logs are meant, and who has them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::api::{Candidate, HerdDocument, ServiceLine, UnknownName, select};
use crate::cli::Failure;
use crate::cli::client::{Daemon, Question, understand};
use crate::conf::{Places, known};
use crate::model::ServiceId;

/// Who has the logs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Files that may be read, of these services.
    Files(Vec<ServiceId>),
    /// The daemon.
    Daemon,
}

/// Whose logs are to be shown.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) source: Source,
    /// The services, in the order in which they were named.
    pub(super) ids: Vec<String>,
}

impl Source {
    /// Looks whether the directory of logs may be read. Where there is none yet, there are no logs yet.
    ///
    /// # Errors
    /// It can't be read for another reason than that it may not.
    pub(super) fn of(logs: &Path) -> io::Result<Self> {
        let entries = match std::fs::read_dir(logs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Files(Vec::new())),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Self::Daemon),
            Err(error) => return Err(error),
        };
        let mut ids = Vec::new();
        for entry in entries {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        Ok(Self::Files(ids))
    }
}

impl Meant {
    /// Finds who is meant. A glob means services of this host; an id may also be that of a service without a conf, as long
    /// as its logs are there, and of one that only the daemon knows.
    ///
    /// # Errors
    /// A name means nobody; or the daemon is needed and does not answer.
    pub(super) fn find(names: &[String], source: Source, places: &Places, daemon: &Daemon) -> Result<Self, Failure> {
        let mut ids: BTreeMap<String, bool> = BTreeMap::new();
        match &source {
            Source::Daemon => add_answered(daemon, &mut ids)?,
            Source::Files(written) => {
                let confs = known(&places.source());
                // Without confs all that there is are the logs.
                ids.extend(written.iter().map(|id| (id.to_string(), confs.is_err())));
                ids.extend(confs.unwrap_or_default().into_iter().map(|(id, here)| (id.to_string(), here)));
            }
        }
        let chosen = match choose(names, &ids) {
            Err(unknown) if source != Source::Daemon => {
                // A conf that has gone leaves a service that is still known until its last process has ended.
                add_answered(daemon, &mut ids).map_err(|_| Failure::Unknown(unknown))?;
                choose(names, &ids)
            }
            chosen => chosen,
        };
        Ok(Self { source, ids: chosen.map_err(Failure::Unknown)? })
    }
}

fn choose(names: &[String], ids: &BTreeMap<String, bool>) -> Result<Vec<String>, Vec<UnknownName>> {
    let candidates: Vec<_> = ids.iter().map(|(id, by_glob)| Candidate { id, by_glob: *by_glob }).collect();
    let chosen = select(names, &candidates)?;
    Ok(chosen.into_iter().map(|index| candidates[index].id.to_owned()).collect())
}

/// Adds those that the daemon knows.
fn add_answered(daemon: &Daemon, ids: &mut BTreeMap<String, bool>) -> Result<(), Failure> {
    let answer = daemon.ask(&Question::lines())?;
    let herd: HerdDocument<Vec<ServiceLine<'_>>> = understand(&answer)?;
    // An id becomes a part of a path.
    let parsed = herd.services.into_iter().filter(|service| service.id.parse::<ServiceId>().is_ok());
    for service in parsed {
        ids.entry(service.id.into_owned()).or_insert(true);
    }
    Ok(())
}
