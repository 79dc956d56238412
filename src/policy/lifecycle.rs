//! The life of one service as a pure state machine: `on(input, now) -> effects`.
//!
//! | phase \ input | Start | Stop | Restart | Leave | Kill | Launched | Overdue | Ended | Vanished | Verdict | Tick (due) |
//! |---|---|---|---|---|---|---|---|---|---|---|---|
//! | Stopped  | launch | – | launch | gone | – | · | · | · | · | · | · |
//! | Starting | – | ask | ask, then start | ask, then leave | kill | Running | kill, then as failed | decide | launch | · | · |
//! | Running  | – | ask | ask, then start | ask, then leave | kill | · | · | decide | as ended | · | · |
//! | Stopping | then start | then stay | then start | then leave | kill | note pid | · | do what follows | as ended | · | KILL; then Stuck |
//! | Backoff  | launch | Stopped | launch | gone | – | · | · | · | · | · | launch |
//! | Exceeded | launch | Stopped | launch | gone | – | · | · | · | · | Cooldown, Failed | · |
//! | Cooldown | launch | Stopped | launch | gone | – | · | · | · | · | · | launch |
//! | Exited   | launch | Stopped | launch | gone | – | · | · | · | · | · | · |
//! | Failed   | launch | Stopped | launch | gone | – | · | · | · | · | · | · |
//!
//! `·` can only be stale and is dropped; `–` changes nothing. *ask* sends the stop signal and CONT, and KILL follows after
//! the timeout. *decide*: restart policy, then the window; a restart is counted before it is tried, and one that exceeds
//! the window is not made but told to the parent. Start and Restart, which only an operator or a changed conf send, make
//! the window fresh and forget the cool-downs.
//!
//! Every input that belongs to a run carries its id; one of another run than the present is dropped in one place. The rows
//! are in `wishes.rs` (Start to Kill) and `runs.rs` (Launched to Ended); the last two columns, and the steps, are here. What
//! differs in a herd that is being ended is in `farewell.rs`.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::cooldown::{Verdict, next_wait};
use super::note::{Because, DEATHS, Note, Phase, Rung, Then};
use super::outcome::{cause, is_followed};
use crate::model::{
    Cause, Death, Ending, Moment, RestartSpec, RunId, ServiceSpec, Signal, Stage, State, StopScope, StopSpec,
};

/// How long KILL may take before the service is called stuck.
pub const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The rules that a lifecycle follows: the part of a spec that can change under a living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// When it is restarted.
    pub restart: Arc<RestartSpec>,
    /// How it is stopped.
    pub stop: StopSpec,
}

/// What can happen to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// It shall run.
    Start(Because),
    /// It shall not run; on [`Because::Shutdown`] its desired state stays as it is.
    Stop(Because),
    /// It shall run, and not with the present process.
    Restart(Because),
    /// Its conf is gone.
    Leave,
    /// What is left of it ends now, without being asked.
    Kill,
    /// Its program runs.
    Launched {
        /// The run.
        run: RunId,
        /// Its main process.
        pid: u32,
    },
    /// Its launch is not done in time and has been killed.
    Overdue {
        /// The run.
        run: RunId,
        /// Where it stood.
        stage: Stage,
    },
    /// A run has ended, or was never launched.
    Ended {
        /// The run.
        run: RunId,
        /// How.
        ending: Ending,
    },
    /// Nobody knows this run: it was never begun, or it has ended unseen.
    Vanished {
        /// The run.
        run: RunId,
    },
    /// A signal was not permitted.
    Refused {
        /// The run.
        run: RunId,
        /// Whose process it is.
        uid: u32,
    },
    /// A stuck process was looked at.
    Examined {
        /// The run.
        run: RunId,
        /// The kernel's letter for its state.
        state: Option<char>,
    },
    /// The parent's answer to [`Effect::Escalate`].
    Verdict(Verdict),
    /// The timer.
    Tick,
}

/// What shall be done in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Launch this run.
    Launch {
        /// The run.
        run: RunId,
    },
    /// Send a signal.
    Signal {
        /// To this run.
        run: RunId,
        /// The signal.
        signal: Signal,
        /// To its whole tree, or to its main process only.
        scope: StopScope,
    },
    /// Look at a process that does not end.
    Examine {
        /// Its run.
        run: RunId,
    },
    /// The end of this run is in the note: whoever kept it may forget it.
    Acknowledge {
        /// The run.
        run: RunId,
    },
    /// Tell the parent that the restart intensity was exceeded.
    Escalate {
        /// The cool-down that would follow, without jitter.
        wait: Duration,
    },
    /// The service has left the herd.
    Gone,
}

/// The effects of one input, in order.
pub type Effects = SmallVec<[Effect; 2]>;

/// The life of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    pub(super) note: Note,
    /// Shared: a copy of a lifecycle is told with every change, and rules change seldom.
    pub(super) rules: Arc<Rules>,
}

impl From<&ServiceSpec> for Rules {
    fn from(spec: &ServiceSpec) -> Self {
        Self { restart: Arc::clone(&spec.restart), stop: spec.stop }
    }
}

impl Lifecycle {
    /// The lifecycle that a note tells of, under these rules.
    pub fn of(note: Note, rules: impl Into<Arc<Rules>>) -> Self {
        Self { note, rules: rules.into() }
    }

    /// Its whole state.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Its rules.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Puts other rules in force. A changed conf is a new chance: it ends a cool-down and a failure.
    pub fn adjust(&mut self, rules: Rules, now: Moment, fresh: RunId) -> Effects {
        self.rules = Arc::new(rules);
        match self.note.phase {
            Phase::Exceeded | Phase::Cooldown { .. } | Phase::Failed => self.start(Because::Changed, now, fresh),
            Phase::Stopped
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Backoff { .. }
            | Phase::Exited => Effects::new(),
        }
    }

    /// Puts other rules in force, and stops: the conf says `enabled: false` now.
    pub fn disable(&mut self, rules: Rules, now: Moment) -> Effects {
        self.rules = Arc::new(rules);
        self.stop(Because::Disabled, now)
    }

    /// Puts other rules in force, and another process in the place of the present one.
    pub fn replace(&mut self, rules: Rules, now: Moment, fresh: RunId) -> Effects {
        self.rules = Arc::new(rules);
        self.restart(Because::Changed, now, fresh)
    }

    /// The state as `status` names it.
    pub fn state(&self) -> State {
        match self.note.phase {
            Phase::Stopped => State::Stopped,
            Phase::Starting { .. } => State::Starting,
            Phase::Running { .. } => State::Running,
            Phase::Stopping { .. } => State::Stopping,
            Phase::Backoff { .. } => State::Backoff,
            Phase::Exceeded | Phase::Cooldown { .. } => State::Cooldown,
            Phase::Exited => State::Exited,
            Phase::Failed => State::Failed,
        }
    }

    /// Restarts in the window at this moment.
    pub fn window_count(&self, now: Moment) -> u32 {
        self.note.window.count(now, &self.rules.restart)
    }

    /// The effective length of the window.
    pub fn window_length(&self) -> Duration {
        super::window::length(&self.rules.restart)
    }

    /// What an input changes and what shall be done about it. `fresh` is the run id that a launch would get.
    pub fn on(&mut self, input: Input, now: Moment, fresh: RunId) -> Effects {
        if input.run().is_some_and(|run| self.note.phase.run() != Some(run)) {
            return self.stale(input);
        }
        match input {
            Input::Start(why) => self.start(why, now, fresh),
            Input::Restart(why) => self.restart(why, now, fresh),
            Input::Stop(why) => self.stop(why, now),
            Input::Leave => self.leave(now),
            Input::Kill => self.kill(now),
            Input::Launched { run, pid } => self.launched(run, pid, now),
            Input::Overdue { run, stage } => self.overdue(run, stage, now),
            Input::Ended { run, ending } => self.ended(run, ending, now, fresh),
            Input::Vanished { run } => self.vanished(run, now, fresh),
            Input::Refused { uid, .. } => self.refused(uid),
            Input::Examined { state, .. } => self.examined(state),
            Input::Verdict(verdict) => self.judged(verdict, now),
            Input::Tick => self.tick(now, fresh),
        }
    }

    /// What the note says has been done, and whoever wrote it may have died before it was: KILL. Nothing else would follow.
    pub fn resume(&self) -> Effects {
        match self.note.phase {
            Phase::Stopping { rung: Rung::Killed { .. } | Rung::Stuck { .. }, .. } => self.kill_signal(),
            Phase::Stopping { rung: Rung::Asked { .. }, .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => Effects::new(),
        }
    }

    /// An input of a run that is not the present one. Whoever keeps its end may forget it; nothing else happens.
    fn stale(&self, input: Input) -> Effects {
        match input {
            Input::Ended { run, .. } => Effects::from_slice(&[Effect::Acknowledge { run }]),
            Input::Start(_)
            | Input::Stop(_)
            | Input::Restart(_)
            | Input::Leave
            | Input::Kill
            | Input::Launched { .. }
            | Input::Overdue { .. }
            | Input::Vanished { .. }
            | Input::Refused { .. }
            | Input::Examined { .. }
            | Input::Verdict(_)
            | Input::Tick => Effects::new(),
        }
    }

    // --- time and the parent

    fn judged(&mut self, verdict: Verdict, now: Moment) -> Effects {
        match (self.note.phase, verdict) {
            (Phase::Exceeded, Verdict::CoolDown { wait }) => {
                self.note.last_wait = Some(next_wait(self.note.last_wait, &self.rules.restart));
                self.enter(Phase::Cooldown { until: now + wait, wait }, Because::Death, now);
            }
            (Phase::Exceeded, Verdict::GiveUp) => self.enter(Phase::Failed, Because::Death, now),
            // An operator or a new conf was faster than the parent.
            (
                Phase::Stopped
                | Phase::Starting { .. }
                | Phase::Running { .. }
                | Phase::Stopping { .. }
                | Phase::Backoff { .. }
                | Phase::Cooldown { .. }
                | Phase::Exited
                | Phase::Failed,
                Verdict::CoolDown { .. } | Verdict::GiveUp,
            ) => {}
        }
        Effects::new()
    }

    fn tick(&mut self, now: Moment, fresh: RunId) -> Effects {
        if self.note.phase.deadline().is_none_or(|due| now < due) {
            return Effects::new();
        }
        match &mut self.note.phase {
            Phase::Backoff { .. } => self.launch(Because::Death, now, fresh),
            Phase::Cooldown { .. } => {
                self.note.window.clear();
                self.launch(Because::CooledDown, now, fresh)
            }
            Phase::Stopping { run, rung, .. } => match rung {
                Rung::Asked { .. } => {
                    *rung = Rung::Killed { until: now + KILL_PATIENCE };
                    self.kill_signal()
                }
                Rung::Killed { .. } => {
                    let run = *run;
                    *rung = Rung::Stuck { state: None };
                    Effects::from_slice(&[Effect::Examine { run }])
                }
                Rung::Stuck { .. } => Effects::new(),
            },
            Phase::Stopped
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Exceeded
            | Phase::Exited
            | Phase::Failed => Effects::new(),
        }
    }

    // --- steps

    /// What follows a run that ended of itself.
    pub(super) fn decide(&mut self, cause: Cause, now: Moment, fresh: RunId) -> Effects {
        let rules = Arc::clone(&self.rules);
        let rules = &rules.restart;
        if !is_followed(rules.policy, cause) {
            let never_ran = matches!(cause, Cause::ExecFailed | Cause::Resources);
            self.enter(if never_ran { Phase::Failed } else { Phase::Exited }, Because::Death, now);
            return Effects::new();
        }
        if !self.note.window.admit(now, rules) {
            let wait = next_wait(self.note.last_wait, rules);
            self.enter(Phase::Exceeded, Because::Death, now);
            return Effects::from_slice(&[Effect::Escalate { wait }]);
        }
        self.note.restarts += 1;
        if rules.delay.is_zero() {
            return self.launch(Because::Death, now, fresh);
        }
        let until = now + rules.delay;
        self.enter(Phase::Backoff { until }, Because::Death, now);
        Effects::new()
    }

    /// Remembers an end. A run that lived longer than the window and the last cool-down was well: the next cool-down is the
    /// first again.
    pub(super) fn bury(&mut self, run: RunId, ending: Ending, asked: Option<Rung>, now: Moment) -> Cause {
        let cause = cause(ending, asked, &self.rules.restart);
        let lived = self.note.phase.alive().map_or(Duration::ZERO, |(_, began)| now - began);
        if self.note.last_wait.is_some_and(|wait| lived > wait && lived > self.rules.restart.period) {
            self.note.last_wait = None;
        }
        // One that something was left of ends a second time.
        if self.note.deaths.front().is_none_or(|last| last.run != run) {
            self.note.deaths.truncate(DEATHS - 1);
            self.note.deaths.push_front(Death { at: now, run, lived, ending, cause });
        }
        cause
    }

    /// A fresh start, as after an operator's command: nothing that went wrong before counts.
    pub(super) fn forgive(&mut self) {
        self.note.window.clear();
        self.note.last_wait = None;
    }

    pub(super) fn launch(&mut self, why: Because, now: Moment, run: RunId) -> Effects {
        self.enter(Phase::Starting { run }, why, now);
        Effects::from_slice(&[Effect::Launch { run }])
    }

    /// The first rung of the stop ladder. A stopped process (SIGSTOP) keeps its signals pending, so CONT follows.
    pub(super) fn ask(&mut self, then: Then, why: Because, now: Moment) -> Effects {
        let StopSpec { signal, timeout, .. } = self.rules.stop;
        let phase = self.stopping(Rung::Asked { signal, until: now + timeout }, then);
        self.enter(phase, why, now);
        let to_main = |run, signal| Effect::Signal { run, signal, scope: StopScope::Main };
        let signals = |run| [to_main(run, signal), to_main(run, Signal::CONT)];
        phase.run().map(|run| Effects::from_slice(&signals(run))).unwrap_or_default()
    }

    pub(super) fn kill_signal(&self) -> Effects {
        let scope = self.rules.stop.scope;
        let kill = |run| Effect::Signal { run, signal: Signal::KILL, scope };
        self.note.phase.run().map(kill).into_iter().collect()
    }

    /// The present run on a rung of the ladder; a phase without a run stays what it is.
    pub(super) fn stopping(&self, rung: Rung, then: Then) -> Phase {
        let alive = self.note.phase.alive();
        match self.note.phase.run() {
            Some(run) => Phase::Stopping { run, alive, rung, then, obstacle: None },
            None => self.note.phase,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, why: Because, now: Moment) {
        self.note.phase = phase;
        self.note.because = why;
        self.note.since = now;
    }
}

impl Input {
    /// The run that an input belongs to.
    fn run(&self) -> Option<RunId> {
        match *self {
            Self::Launched { run, .. }
            | Self::Overdue { run, .. }
            | Self::Ended { run, .. }
            | Self::Vanished { run }
            | Self::Refused { run, .. }
            | Self::Examined { run, .. } => Some(run),
            Self::Start(_)
            | Self::Stop(_)
            | Self::Restart(_)
            | Self::Leave
            | Self::Kill
            | Self::Verdict(_)
            | Self::Tick => None,
        }
    }
}
