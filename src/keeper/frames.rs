//! Between the values of this program and the frames that carry them.

use std::time::Duration;

use super::wire;
use crate::model::{Bound, Ending, LaunchError, Limit, Resource, Signal, Stage, StopScope, StopSpec};
use crate::os::{Ids, Order, OutputTo};
use crate::process::{self, Launch, Report, Whom};

/// A value that this version does not know, from a side that is of this version: memory was overwritten, or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame holds a value that has no meaning")]
pub(super) struct Meaningless;

pub(super) fn is_tree(scope: StopScope) -> bool {
    match scope {
        StopScope::Tree => true,
        StopScope::Main => false,
    }
}

pub(super) fn scope(tree: bool) -> StopScope {
    if tree { StopScope::Tree } else { StopScope::Main }
}

pub(super) fn whom(tree: bool) -> Whom {
    if tree { Whom::Tree } else { Whom::Main }
}

pub(super) fn signal_number(signal: Signal) -> u8 {
    u8::try_from(signal.number()).expect("signals are 1 to 64")
}

pub(super) fn signal(number: u8) -> Result<Signal, Meaningless> {
    Signal::from_number(number.into()).map_err(|_| Meaningless)
}

pub(super) fn stage(number: u8) -> Result<Stage, Meaningless> {
    Stage::from_number(number).ok_or(Meaningless)
}

impl From<StopSpec> for wire::Stop {
    fn from(StopSpec { signal, timeout, scope }: StopSpec) -> Self {
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self { signal: signal_number(signal), timeout_ns, tree: is_tree(scope) }
    }
}

impl TryFrom<wire::Stop> for StopSpec {
    type Error = Meaningless;

    fn try_from(stop: wire::Stop) -> Result<Self, Meaningless> {
        let timeout = Duration::from_nanos(stop.timeout_ns);
        Ok(Self { signal: signal(stop.signal)?, timeout, scope: scope(stop.tree) })
    }
}

/// A launch as a frame.
///
/// # Errors
/// A path has a NUL in it, and could not be opened.
pub(super) fn launch(launch: Launch) -> Result<wire::Launch, LaunchError> {
    let (run, cgroup, tree) = (launch.run.into(), launch.cgroup, is_tree(launch.scope));
    let Order { limits, stdout, stderr, umask, ids, cwd, programs, argv, env } = process::order(launch)?;
    let sink = |output| match output {
        OutputTo::Null => wire::Sink::Null,
        OutputTo::File(path) => wire::Sink::File(path),
        OutputTo::Fifo(path) => wire::Sink::Fifo(path),
    };
    Ok(wire::Launch {
        run,
        programs,
        argv,
        env,
        cwd,
        ids: ids.map(|Ids { uid, gid, groups }| (uid, gid, groups)),
        umask,
        limits: limits.into_iter().map(|(resource, limit)| bounds(resource, limit)).collect(),
        stdout: sink(stdout),
        stderr: stderr.map(sink),
        cgroup,
        tree,
    })
}

fn bounds(resource: Resource, Limit { soft, hard }: Limit) -> (u8, Option<u64>, Option<u64>) {
    let number = Resource::ALL.iter().position(|(known, _)| *known == resource).unwrap_or_default();
    (number as u8, bound(soft), bound(hard))
}

pub(super) fn bound(bound: Bound) -> Option<u64> {
    match bound {
        Bound::At(at) => Some(at),
        Bound::Unlimited => None,
    }
}

pub(super) fn unbound(at: Option<u64>) -> Bound {
    at.map_or(Bound::Unlimited, Bound::At)
}

/// A frame in the terms of the system.
pub(super) fn order(launch: wire::Launch) -> Result<Order, Meaningless> {
    let limits = launch.limits.into_iter().map(|(number, soft, hard)| {
        let (resource, _) = Resource::ALL.get(usize::from(number)).ok_or(Meaningless)?;
        Ok((*resource, Limit { soft: unbound(soft), hard: unbound(hard) }))
    });
    let output = |sink| match sink {
        wire::Sink::Null => OutputTo::Null,
        wire::Sink::File(path) => OutputTo::File(path),
        wire::Sink::Fifo(path) => OutputTo::Fifo(path),
    };
    Ok(Order {
        limits: limits.collect::<Result<_, _>>()?,
        stdout: output(launch.stdout),
        stderr: launch.stderr.map(output),
        umask: launch.umask,
        ids: launch.ids.map(|(uid, gid, groups)| Ids { uid, gid, groups }),
        cwd: launch.cwd,
        programs: launch.programs,
        argv: launch.argv,
        env: launch.env,
    })
}

impl From<Report> for wire::Report {
    fn from(report: Report) -> Self {
        match report {
            Report::Launched { pid } => Self::Launched { pid },
            Report::Overdue { stage } => Self::Overdue { stage: stage as u8 },
            Report::Refused { uid } => Self::Refused { uid },
            Report::Examined { state } => Self::Examined { state },
            Report::Ended(ending) => Self::Ended(ending.into()),
        }
    }
}

impl TryFrom<wire::Report> for Report {
    type Error = Meaningless;

    fn try_from(report: wire::Report) -> Result<Self, Meaningless> {
        Ok(match report {
            wire::Report::Launched { pid } => Self::Launched { pid },
            wire::Report::Overdue { stage: number } => Self::Overdue { stage: stage(number)? },
            wire::Report::Refused { uid } => Self::Refused { uid },
            wire::Report::Examined { state } => Self::Examined { state },
            wire::Report::Ended(ending) => Self::Ended(ending.try_into()?),
        })
    }
}

impl From<Ending> for wire::Ending {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Exited(code) => Self::Exited(code),
            Ending::Killed { signal, core } => Self::Killed { signal: signal_number(signal), core },
            Ending::NotLaunched(LaunchError { stage, errno }) => Self::NotLaunched { stage: stage as u8, errno },
            Ending::Lost => Self::Lost,
            Ending::OomKilled => Self::OomKilled,
        }
    }
}

impl TryFrom<wire::Ending> for Ending {
    type Error = Meaningless;

    fn try_from(ending: wire::Ending) -> Result<Self, Meaningless> {
        Ok(match ending {
            wire::Ending::Exited(code) => Self::Exited(code),
            wire::Ending::Killed { signal: number, core } => Self::Killed { signal: signal(number)?, core },
            wire::Ending::NotLaunched { stage: number, errno } => {
                Self::NotLaunched(LaunchError { stage: stage(number)?, errno })
            }
            wire::Ending::Lost => Self::Lost,
            wire::Ending::OomKilled => Self::OomKilled,
        })
    }
}
