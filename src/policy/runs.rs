//! What becomes of the runs of a service.

use super::lifecycle::{Effect, Effects, KILL_PATIENCE, Lifecycle};
use super::note::{Obstacle, Phase, Rung, Then};
use crate::model::{Ending, LaunchError, Moment, RunId, Stage};

impl Lifecycle {
    pub(super) fn launched(&mut self, run: RunId, pid: u32, now: Moment) -> Effects {
        match &mut self.note.phase {
            Phase::Starting { .. } => {
                self.note.phase = Phase::Running { run, pid, began: now };
                self.note.since = now;
            }
            Phase::Stopping { alive, .. } => *alive = Some((pid, now)),
            // Told again to one that was rebuilt from its note: it knows already.
            Phase::Running { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => {}
        }
        Effects::new()
    }

    pub(super) fn overdue(&mut self, run: RunId, stage: Stage, now: Moment) -> Effects {
        match &mut self.note.phase {
            Phase::Starting { .. } => {
                let rung = Rung::Killed { until: now + KILL_PATIENCE };
                self.note.phase =
                    Phase::Stopping { run, alive: None, rung, then: Then::Overdue(stage), obstacle: None };
                self.note.since = now;
            }
            Phase::Stopping { .. }
            | Phase::Running { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => {}
        }
        Effects::new()
    }

    pub(super) fn ended(&mut self, run: RunId, ending: Ending, now: Moment, fresh: RunId) -> Effects {
        let mut effects = Effects::from_slice(&[Effect::Acknowledge { run }]);
        match self.note.phase {
            Phase::Starting { .. } | Phase::Running { .. } => {
                let cause = self.bury(run, ending, None, now);
                effects.extend(self.decide(cause, now, fresh));
            }
            Phase::Stopping { then: Then::Overdue(stage), .. } => {
                let error = LaunchError { stage, errno: libc::ETIMEDOUT };
                let cause = self.bury(run, Ending::NotLaunched(error), None, now);
                effects.extend(self.decide(cause, now, fresh));
            }
            Phase::Stopping { then, rung, .. } => {
                self.bury(run, ending, Some(rung), now);
                let why = self.note.because;
                match then {
                    Then::Start => effects.extend(self.launch(why, now, fresh)),
                    Then::Leave => {
                        self.enter(Phase::Stopped, why, now);
                        effects.push(Effect::Gone);
                    }
                    Then::Stay | Then::Overdue(_) => self.enter(Phase::Stopped, why, now),
                }
            }
            Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => {}
        }
        effects
    }

    /// A run that whoever makes processes does not know. A launch that was decided but never begun is begun now, and was
    /// counted already; anything else has ended with nobody to see how.
    pub(super) fn vanished(&mut self, run: RunId, now: Moment, fresh: RunId) -> Effects {
        match self.note.phase {
            Phase::Starting { .. } => {
                let since = self.note.since;
                let effects = self.launch(self.note.because, now, fresh);
                self.note.since = since;
                effects
            }
            Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => self.ended(run, Ending::Lost, now, fresh),
        }
    }

    pub(super) fn refused(&mut self, uid: u32) -> Effects {
        match &mut self.note.phase {
            Phase::Stopping { obstacle, .. } => *obstacle = Some(Obstacle::Uid(uid)),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => {}
        }
        Effects::new()
    }

    pub(super) fn examined(&mut self, found: Option<char>) -> Effects {
        match &mut self.note.phase {
            Phase::Stopping { rung: Rung::Stuck { state }, .. } => *state = found,
            Phase::Stopping { rung: Rung::Asked { .. } | Rung::Killed { .. }, .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => {}
        }
        Effects::new()
    }
}
