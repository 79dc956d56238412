//! Runs that go over from one program of a process to the next: the process stays, and so do its children.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use super::{Life, Table};
use crate::model::{Ending, LaunchError, RunId, Stage, StopScope};
use crate::os::{self, Process};

/// A run that is not in flight.
#[derive(Debug)]
pub(crate) struct Carried {
    /// What ends with its main process.
    pub(crate) scope: StopScope,
    /// The number of its process, once its program ran.
    pub(crate) launched: Option<u32>,
    /// The stage at which its launch was given up.
    pub(crate) overdue: Option<Stage>,
    /// Why its program does not run.
    pub(crate) failed: Option<LaunchError>,
    /// Where it stands.
    pub(crate) life: CarriedLife,
}

/// Where it stands.
#[derive(Debug)]
pub(crate) enum CarriedLife {
    /// A child of this process.
    Child(i32),
    /// Somebody else's child, by its number and by an open descriptor.
    Foreign(i32, RawFd),
    /// Its process is reaped.
    Ended(Ending),
}

impl Table {
    /// Whether a launch is in flight. Its child lives in the memory of the present program.
    pub(crate) fn has_flights(&self) -> bool {
        self.by_id.values().any(|token| self.runs.get(*token).is_some_and(|run| matches!(run.life, Life::InFlight(_))))
    }

    /// A run as the next program needs it; none that is in flight or not known.
    pub(crate) fn carried(&self, run: RunId) -> Option<Carried> {
        let run = self.runs.get(*self.by_id.get(&run)?)?;
        let life = match &run.life {
            Life::Alive(process) => match process.fd() {
                Some(fd) => CarriedLife::Foreign(process.number(), fd.as_raw_fd()),
                None => CarriedLife::Child(process.number()),
            },
            Life::Ended(ending) => CarriedLife::Ended(*ending),
            Life::InFlight(_) | Life::Changing => return None,
        };
        let (scope, launched, overdue, failed) = (run.scope, run.launched, run.overdue, run.failed);
        Some(Carried { scope, launched, overdue, failed, life })
    }

    /// Goes on with a run of the program before, where ends are learnt by SIGCHLD.
    ///
    /// # Errors
    /// A descriptor that was left to this program is not there.
    pub(crate) fn go_on(&mut self, id: RunId, carried: Carried) -> io::Result<()> {
        let Carried { scope, launched, overdue, failed, life } = carried;
        let (life, child) = match life {
            CarriedLife::Child(pid) => (Life::Alive(Process::kept(pid)), Some(pid)),
            CarriedLife::Foreign(pid, fd) => (Life::Alive(Process::foreign(pid, os::given(fd)?)), None),
            CarriedLife::Ended(ending) => (Life::Ended(ending), None),
        };
        let token = self.insert(id, scope, life);
        if let Some(run) = self.runs.get_mut(token) {
            (run.launched, run.overdue, run.failed) = (launched, overdue, failed);
        }
        if let Some(pid) = child {
            self.by_pid.insert(pid, token);
        }
        self.watch(token);
        Ok(())
    }
}
