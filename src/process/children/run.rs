//! One run: where it stands, and what its listener knows of it.

use crate::model::{Ending, LaunchError, RunId, Stage, StopScope};
use crate::os::{Flight, Process};
use crate::process::Report;

/// One run.
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) scope: StopScope,
    pub(super) life: Life,
    /// The number of its process once the program runs.
    pub(super) launched: Option<u32>,
    /// The stage at which its launch was given up.
    pub(super) overdue: Option<Stage>,
    /// Why its program does not run; its process is about to end.
    pub(super) failed: Option<LaunchError>,
    /// What belongs to the moment: told once, and not to whoever adopts it later.
    remarks: Vec<Report>,
    /// Its main process has ended, but something of it is still ending: that end is not told yet.
    pub(super) held: bool,
    told: Told,
}

/// A run is in flight until its program runs or never will, then alive until its process has ended; a launch for which
/// the system had no process begins with the end.
pub(super) enum Life {
    InFlight(Box<(Process, Flight)>),
    Alive(Process),
    Ended(Ending),
    /// Only within the change from one to another.
    Changing,
}

/// What the present listener knows.
#[derive(Default)]
struct Told {
    launched: bool,
    overdue: bool,
    ended: bool,
}

impl Run {
    pub(super) fn new(id: RunId, scope: StopScope, life: Life) -> Self {
        Self {
            id,
            scope,
            life,
            launched: None,
            overdue: None,
            failed: None,
            remarks: Vec::new(),
            held: false,
            told: Told::default(),
        }
    }

    /// Its process, as long as that is not reaped.
    pub(super) fn process(&self) -> Option<&Process> {
        match &self.life {
            Life::InFlight(flight) => Some(&flight.0),
            Life::Alive(process) => Some(process),
            Life::Ended(_) | Life::Changing => None,
        }
    }

    /// Whoever listens from now on knows nothing yet.
    pub(super) fn retell(&mut self) {
        self.remarks.clear();
        self.told = Told::default();
    }

    /// Has something to say that is no step of its life.
    pub(super) fn remark(&mut self, report: Report) {
        self.remarks.push(report);
    }

    /// The first thing in the order of reports that the listener does not know, which it knows from now on.
    pub(super) fn next_untold(&mut self) -> Option<Report> {
        if let (Some(pid), false) = (self.launched, self.told.launched) {
            self.told.launched = true;
            return Some(Report::Launched { pid });
        }
        if let (Some(stage), false) = (self.overdue, self.told.overdue) {
            self.told.overdue = true;
            return Some(Report::Overdue { stage });
        }
        if !self.remarks.is_empty() && !self.told.ended {
            return Some(self.remarks.remove(0));
        }
        if let (Life::Ended(ending), false, false) = (&self.life, self.told.ended, self.held) {
            self.told.ended = true;
            return Some(Report::Ended(*ending));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_told_once_in_order_and_again_when_it_is_retold() {
        let id = RunId { herd: 1, number: 1 };
        let mut run = Run::new(id, StopScope::Tree, Life::Changing);
        assert_eq!(run.next_untold(), None);

        run.launched = Some(7);
        assert_eq!(run.next_untold(), Some(Report::Launched { pid: 7 }));
        assert_eq!(run.next_untold(), None);

        run.life = Life::Ended(Ending::Exited(3));
        assert_eq!(run.next_untold(), Some(Report::Ended(Ending::Exited(3))));
        assert_eq!(run.next_untold(), None);

        run.retell();
        assert_eq!(run.next_untold(), Some(Report::Launched { pid: 7 }));
        assert_eq!(run.next_untold(), Some(Report::Ended(Ending::Exited(3))));
        assert_eq!(run.next_untold(), None);
    }
}
