//! The roster: every service that the herd knows, and what is known of it.

use std::collections::{BTreeMap, Bound};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;

use super::messages::ServiceStatus;
use crate::bus::Happening;
use crate::conf::Problem;
use crate::model::{Death, Ending, Moment, Net, ProcessSpec, ServiceId, ServiceSpec, Stage, State, Wanted};
use crate::policy::{Lifecycle, Present};
use crate::process::Spawner;
use crate::service::ServiceActor;

/// One service.
pub(super) struct Entry {
    /// Its actor; none where there never was a good spec.
    pub(super) child: Option<Box<Child>>,
    /// Its conf file; empty where no file tells of it.
    pub(super) conf: PathBuf,
    /// What is wrong with that file.
    pub(super) problems: Vec<Problem>,
    /// Its conf is gone and has not come back, and it is being ended.
    pub(super) leaving: bool,
    /// Since when it is known.
    pub(super) since: Moment,
}

/// The actor of a service and what it last told.
pub(super) struct Child {
    /// The only address: an actor ends with it.
    pub(super) addr: Addr<ServiceActor>,
    /// The last good spec.
    pub(super) spec: Arc<ServiceSpec>,
    /// The spec that the actor follows as far as it has told; the last good one may be on its way to it.
    pub(super) follows: Arc<ServiceSpec>,
    /// The lifecycle as last told.
    pub(super) life: Arc<Lifecycle>,
    /// When the actor was last replaced after a panic.
    pub(super) replaced: Option<Moment>,
    /// A state and a death that led to an exceeded intensity, until the verdict on it.
    pub(super) untold: Option<Box<(State, Option<Death>)>>,
}

/// Every service by id.
#[derive(Default)]
pub(super) struct Roster {
    pub(super) entries: BTreeMap<ServiceId, Entry>,
    /// Confs of other hosts, by the service that they would be of.
    pub(super) skipped: BTreeMap<ServiceId, PathBuf>,
}

impl Roster {
    /// What the plan needs to know.
    pub(super) fn present(&self) -> BTreeMap<ServiceId, Present<'_>> {
        self.entries.iter().map(|(id, entry)| (id.clone(), entry.present())).collect()
    }

    /// Gives back the room that a map which grew service by service has left.
    pub(super) fn pack(&mut self) {
        // Made from what is sorted already, its nodes are full; else they are half empty.
        self.entries = std::mem::take(&mut self.entries).into_iter().collect();
    }

    pub(super) fn knows(&self, id: &ServiceId) -> bool {
        self.entries.contains_key(id) || self.skipped.contains_key(id)
    }

    pub(super) fn child_mut(&mut self, id: &ServiceId) -> Option<&mut Child> {
        self.entries.get_mut(id)?.child.as_deref_mut()
    }

    /// What a service follows, or is about to.
    pub(super) fn spec(&self, id: &ServiceId) -> Option<&Arc<ServiceSpec>> {
        self.entries.get(id)?.child.as_deref().map(|child| &child.spec)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = &Child> {
        self.entries.values().filter_map(|entry| entry.child.as_deref())
    }

    /// Those with an id behind this one, in the order of their ids.
    pub(super) fn children_behind(&self, id: Bound<ServiceId>) -> impl Iterator<Item = &Child> {
        self.entries.range((id, Bound::Unbounded)).filter_map(|(_, entry)| entry.child.as_deref())
    }

    /// The status of every service, by id.
    pub(super) fn statuses(&self, now: Moment, spawner: &dyn Spawner) -> Vec<ServiceStatus> {
        let net = spawner.net();
        let known = self.entries.iter().map(|(id, entry)| {
            let mut status = entry.status(id, now, net);
            status.logged = spawner.logged(id);
            if let Some(trouble) = status.logged.as_ref().and_then(|logged| logged.trouble.as_deref()) {
                status.reason = format!("{}; {trouble}", status.reason);
            }
            status
        });
        let skipped = self.skipped.iter().filter(|(id, _)| !self.entries.contains_key(*id));
        let mut all: Vec<_> = known.chain(skipped.map(|(id, path)| skipped_status(id, path))).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
}

impl Entry {
    fn present(&self) -> Present<'_> {
        let child = self.child.as_ref();
        let up = child.is_some_and(|child| child.life.note().wanted == Wanted::Up);
        Present { spec: child.map(|child| &*child.spec), leaving: self.leaving, up }
    }

    /// The status of the service.
    pub(super) fn status(&self, id: &ServiceId, now: Moment, net: Net) -> ServiceStatus {
        let mut status = match &self.child {
            Some(child) => child.status(id, now, net),
            None => ServiceStatus { reason: self.invalid_reason(), ..bare(id, State::Invalid, self.since) },
        };
        status.conf.clone_from(&self.conf);
        status.conf_problems.clone_from(&self.problems);
        status
    }

    /// The event of having lost its actor while its conf has problems.
    pub(super) fn invalid(&self) -> Happening {
        let (from, reason) = (Some(State::Stopped), self.invalid_reason());
        Happening::Entered { from, state: State::Invalid, reason, run: None, pid: None, death: None }
    }

    /// Why it never ran: the first of its problems.
    fn invalid_reason(&self) -> String {
        match (&*self.problems, self.problems.len()) {
            ([first, ..], 1) => format!("its conf has a problem: {first}"),
            ([first, ..], n) => format!("its conf has {n} problems, the first: {first}"),
            ([], _) => "its conf has problems".to_owned(),
        }
    }
}

impl Child {
    /// The event of having entered the present state.
    pub(super) fn entered(&self, from: State, death: Option<Death>, now: Moment) -> Happening {
        let note = self.life.note();
        Happening::Entered {
            from: Some(from),
            state: self.life.state(),
            reason: self.reason(now),
            run: note.phase.run(),
            pid: note.phase.alive().map(|(pid, _)| pid),
            death,
        }
    }

    /// Why it is in its state. The lifecycle knows steps and numbers only, so where a launch failed, this adds with what.
    pub(super) fn reason(&self, now: Moment) -> String {
        let reason = self.life.reason(now);
        let Some(Ending::NotLaunched(error)) = self.life.note().deaths.front().map(|death| death.ending) else {
            return reason;
        };
        match concerned(&self.spec.process, error.stage) {
            Some(what) => reason.replacen(&error.to_string(), &format!("{error} ({what})"), 1),
            None => reason,
        }
    }

    fn status(&self, id: &ServiceId, now: Moment, net: Net) -> ServiceStatus {
        let (note, rules) = (self.life.note(), self.life.rules());
        let alive = note.phase.alive();
        ServiceStatus {
            id: id.clone(),
            name: self.spec.name().to_owned(),
            state: self.life.state(),
            wanted: note.wanted,
            reason: self.reason(now),
            since: note.since,
            run: note.phase.run(),
            pid: alive.map(|(pid, _)| pid),
            running_since: alive.map(|(_, began)| began),
            restarts: note.restarts,
            window_count: self.life.window_count(now),
            intensity: rules.restart.intensity,
            period: self.life.window_length(),
            next_start: note.phase.next_start(),
            stop_timeout: rules.stop.timeout,
            deaths: note.deaths.iter().copied().collect(),
            net: if net == Net::Cgroup && !self.spec.process.cgroup { Net::Subreaper } else { net },
            logged: None,
            conf: PathBuf::new(),
            conf_problems: Vec::new(),
        }
    }
}

/// What of a conf a step of a launch is about.
fn concerned(process: &ProcessSpec, stage: Stage) -> Option<String> {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    match stage {
        Stage::EnvFile => text(&process.env_file),
        Stage::Cwd => text(&process.cwd),
        Stage::Exec => Some(process.cmd.to_string()),
        Stage::User | Stage::Groups | Stage::Gid | Stage::Uid => {
            let names: Vec<_> = process.user.iter().chain(&process.group).map(|name| &**name).collect();
            Some(names.join(", ")).filter(|names| !names.is_empty())
        }
        Stage::Fork | Stage::Session | Stage::Limits | Stage::Stdio | Stage::Signals => None,
    }
}

/// The status of a service of other hosts.
fn skipped_status(id: &ServiceId, path: &Path) -> ServiceStatus {
    let hosts = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.rsplit_once('@'));
    let reason = format!("runs on {} only", hosts.map_or("other hosts", |(_, hosts)| hosts));
    ServiceStatus { reason, conf: path.to_owned(), ..bare(id, State::Skipped, Moment::BOOT) }
}

/// The status of a service that has never had an actor.
fn bare(id: &ServiceId, state: State, since: Moment) -> ServiceStatus {
    ServiceStatus {
        id: id.clone(),
        name: id.to_string(),
        state,
        wanted: Wanted::Down,
        reason: String::new(),
        since,
        run: None,
        pid: None,
        running_since: None,
        restarts: 0,
        window_count: 0,
        intensity: 0,
        period: Duration::ZERO,
        next_start: None,
        stop_timeout: Duration::ZERO,
        deaths: Vec::new(),
        net: Net::default(),
        logged: None,
        conf: PathBuf::new(),
        conf_problems: Vec::new(),
    }
}
