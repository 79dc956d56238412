//! What is asked of a lifecycle in a herd that is being ended, where a process is asked to end before its service is told.

use std::time::Duration;

use super::lifecycle::{Input, Lifecycle};
use super::note::{Phase, Then};
use crate::model::{RunId, Signal};

/// Who asks for the end of a herd again after this time does not want to wait for it. Before, it is the same request: Ctrl-C and
/// `killall` may reach a daemon twice.
pub const INSISTS: Duration = Duration::from_secs(1);

impl Lifecycle {
    /// Whether it has no process, or one that is being ended, and nothing follows of itself.
    pub fn is_bound_to_end(&self) -> bool {
        match self.note.phase {
            Phase::Stopped | Phase::Exited | Phase::Failed => true,
            Phase::Stopping { then, .. } => match then {
                Then::Stay | Then::Leave => true,
                Then::Start | Then::Overdue(_) => false,
            },
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. } => false,
        }
    }

    /// Whether a new run follows the one that is being ended.
    pub fn is_to_start_anew(&self) -> bool {
        matches!(self.note.phase, Phase::Stopping { then: Then::Start, .. })
    }

    /// In a herd that is being ended: whether a stop comes before this input, since a run could come of it.
    pub fn stops_before(&self, input: Input) -> bool {
        let run = self.note.phase.run();
        match input {
            Input::Ended { run: ended, .. } | Input::Vanished { run: ended } => {
                run == Some(ended) && !self.is_bound_to_end()
            }
            // What lives may have been asked already.
            Input::Verdict(_) | Input::Tick => run.is_none() && !self.is_bound_to_end(),
            Input::Start(_)
            | Input::Restart(_)
            | Input::Stop(_)
            | Input::Leave
            | Input::Kill
            | Input::Launched { .. }
            | Input::Overdue { .. }
            | Input::Refused { .. }
            | Input::Examined { .. } => false,
        }
    }

    /// Whether it has a run that was not asked to end.
    pub fn is_unasked(&self) -> bool {
        self.stop_signal().is_some()
    }

    /// The run that [`Input::Stop`] asks to end, and the signal by which it does.
    pub fn stop_signal(&self) -> Option<(RunId, Signal)> {
        match self.note.phase {
            Phase::Starting { run } | Phase::Running { run, .. } => Some((run, self.rules.stop.signal)),
            // It was asked.
            Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => None,
        }
    }
}

impl Input {
    /// Whether somebody wants it to run.
    pub fn is_order_to_run(self) -> bool {
        matches!(self, Self::Start(_) | Self::Restart(_))
    }
}
