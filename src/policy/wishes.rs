//! What others want of a service: the parent, an operator, a new conf.

use super::lifecycle::{Effect, Effects, KILL_PATIENCE, Lifecycle};
use super::note::{Because, Phase, Rung, Then};
use crate::model::{Moment, RunId, Wanted};

impl Lifecycle {
    pub(super) fn start(&mut self, why: Because, now: Moment, fresh: RunId) -> Effects {
        self.note.wanted = Wanted::Up;
        match &mut self.note.phase {
            Phase::Starting { .. } | Phase::Running { .. } => Effects::new(),
            Phase::Stopping { then, .. } => {
                *then = Then::Start;
                self.note.because = why;
                self.forgive();
                Effects::new()
            }
            Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => {
                self.forgive();
                self.launch(why, now, fresh)
            }
        }
    }

    pub(super) fn restart(&mut self, why: Because, now: Moment, fresh: RunId) -> Effects {
        match self.note.phase {
            Phase::Starting { .. } | Phase::Running { .. } => {
                self.note.wanted = Wanted::Up;
                self.forgive();
                self.ask(Then::Start, why, now)
            }
            Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => self.start(why, now, fresh),
        }
    }

    pub(super) fn stop(&mut self, why: Because, now: Moment) -> Effects {
        if why != Because::Shutdown {
            self.note.wanted = Wanted::Down;
        }
        match &mut self.note.phase {
            Phase::Stopped => Effects::new(),
            Phase::Starting { .. } | Phase::Running { .. } => self.ask(Then::Stay, why, now),
            Phase::Stopping { then, .. } => {
                match then {
                    Then::Leave => {}
                    Then::Stay | Then::Start | Then::Overdue(_) => *then = Then::Stay,
                }
                self.note.because = why;
                Effects::new()
            }
            Phase::Backoff { .. } | Phase::Exceeded | Phase::Cooldown { .. } | Phase::Exited | Phase::Failed => {
                self.enter(Phase::Stopped, why, now);
                Effects::new()
            }
        }
    }

    pub(super) fn leave(&mut self, now: Moment) -> Effects {
        self.note.wanted = Wanted::Down;
        match &mut self.note.phase {
            Phase::Starting { .. } | Phase::Running { .. } => self.ask(Then::Leave, Because::Unwanted, now),
            Phase::Stopping { then, .. } => {
                *then = Then::Leave;
                self.note.because = Because::Unwanted;
                Effects::new()
            }
            Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => {
                self.enter(Phase::Stopped, Because::Unwanted, now);
                Effects::from_slice(&[Effect::Gone])
            }
        }
    }

    pub(super) fn kill(&mut self, now: Moment) -> Effects {
        match self.note.phase {
            Phase::Starting { .. } | Phase::Running { .. } => {
                self.note.phase = self.stopping(Rung::Killed { until: now + KILL_PATIENCE }, Then::Stay);
                self.note.since = now;
                self.note.because = Because::Shutdown;
                self.kill_signal()
            }
            Phase::Stopping { ref mut rung, .. } => match rung {
                Rung::Asked { .. } => {
                    *rung = Rung::Killed { until: now + KILL_PATIENCE };
                    self.kill_signal()
                }
                Rung::Killed { .. } | Rung::Stuck { .. } => Effects::new(),
            },
            Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => Effects::new(),
        }
    }
}
