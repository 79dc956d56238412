//! The whole state of a lifecycle, as a plain value.

use std::collections::VecDeque;
use std::time::Duration;

use super::Window;
use crate::model::{Death, Moment, RunId, Signal, Stage, Wanted};

/// How many deaths are remembered.
pub(super) const DEATHS: usize = 5;
/// How many restarts are put into the window, at most, that no note tells of: they are of a few milliseconds.
const MOST_MISSED: u64 = 100;

/// Everything that a lifecycle knows: what must outlive the actor that drives it, and later the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The desired state.
    pub wanted: Wanted,
    /// What it is doing.
    pub phase: Phase,
    /// Why.
    pub because: Because,
    /// Since when.
    pub since: Moment,
    /// The recent restarts.
    pub window: Window,
    /// The last cool-down without its jitter; none since it last was well for long.
    pub last_wait: Option<Duration>,
    /// Restarts that the daemon decided, since the service was loaded.
    pub restarts: u64,
    /// The last deaths, newest first.
    pub deaths: VecDeque<Death>,
}

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: it was asked to, or was never asked to start.
    Stopped,
    /// A launch is under way.
    Starting {
        /// Of this run.
        run: RunId,
    },
    /// Its main process lives.
    Running {
        /// The run.
        run: RunId,
        /// Its main process, for people.
        pid: u32,
        /// When it began.
        began: Moment,
    },
    /// It has been told to end.
    Stopping {
        /// The run.
        run: RunId,
        /// Its process and when it began, where it got as far.
        alive: Option<(u32, Moment)>,
        /// How far the stop has gone.
        rung: Rung,
        /// What follows.
        then: Then,
        /// What stands in the way.
        obstacle: Option<Obstacle>,
    },
    /// It waits `restart.delay`.
    Backoff {
        /// Until then.
        until: Moment,
    },
    /// It has told its parent that it exceeded its intensity, and waits for the verdict.
    Exceeded,
    /// It waits out a cool-down.
    Cooldown {
        /// Until then.
        until: Moment,
        /// The whole wait.
        wait: Duration,
    },
    /// It ended, and its policy leaves it.
    Exited,
    /// It was given up.
    Failed,
}

/// The rungs of the stop ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The stop signal has been sent.
    Asked {
        /// Which it was.
        signal: Signal,
        /// When KILL follows.
        until: Moment,
    },
    /// KILL has been sent.
    Killed {
        /// When that should have worked.
        until: Moment,
    },
    /// KILL did not work; nothing more can be done but wait.
    Stuck {
        /// The kernel's letter for its state, once it has been looked at.
        state: Option<char>,
    },
}

/// What follows the end of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays stopped.
    Stay,
    /// It is started again.
    Start,
    /// It leaves the herd: its conf is gone.
    Leave,
    /// Its launch took too long at this stage: what follows a failed launch.
    Overdue(Stage),
}

/// Why a stop can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Its process belongs to this user, whom we may not signal.
    Uid(u32),
}

/// The cause of a phase, where it is not the last death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Because {
    /// Its conf was loaded.
    Loaded,
    /// Its conf changed.
    Changed,
    /// Its conf says `enabled: false`.
    Disabled,
    /// Its conf is gone.
    Unwanted,
    /// An operator asked for it.
    Operator,
    /// The daemon ends.
    Shutdown,
    /// Its last run ended.
    Death,
    /// A cool-down is over.
    CooledDown,
}

impl Note {
    /// The note of a service that has never done anything.
    pub fn new(now: Moment) -> Self {
        Self {
            wanted: Wanted::Down,
            phase: Phase::Stopped,
            because: Because::Disabled,
            since: now,
            window: Window::default(),
            last_wait: None,
            restarts: 0,
            deaths: VecDeque::new(),
        }
    }

    /// Takes notice of a run that was launched after this note was written: whoever wrote it was killed before the next one
    /// was on the disk. What the note says of an earlier run is over then. `restarts` is how many were counted when the run was
    /// launched; where nobody knows, a run that was not asked to end had died, and its restart counts.
    pub fn catch_up(&mut self, run: RunId, restarts: Option<u64>, now: Moment) {
        let known = self.phase.run().into_iter().chain(self.deaths.front().map(|death| death.run)).max();
        if known.is_some_and(|known| known.herd != run.herd || known.number >= run.number) {
            return;
        }
        let had_died = matches!(self.phase, Phase::Running { .. } | Phase::Starting { .. } | Phase::Backoff { .. });
        // A wait was counted when it began.
        let presumed = u64::from(had_died && !matches!(self.phase, Phase::Backoff { .. }));
        let missed = restarts.map_or(presumed, |restarts| restarts.saturating_sub(self.restarts));
        self.restarts += missed;
        // No window is as large as what a number that means something else could say.
        (0..missed.min(MOST_MISSED)).for_each(|_| self.window.count_one(now));
        if missed > 0 || restarts.is_none() && had_died || matches!(self.phase, Phase::Backoff { .. }) {
            self.because = Because::Death;
        }
        (self.wanted, self.phase, self.since) = (Wanted::Up, Phase::Starting { run }, now);
    }

    /// Takes notice that something of an earlier run is still there, and that nothing was launched in its place yet: whoever
    /// should have done so was killed before. The launch waits for its end.
    pub fn wait_for(&mut self, run: RunId, now: Moment) {
        let then = match self.phase {
            Phase::Starting { .. } => Then::Start,
            Phase::Stopping { then, .. } => then,
            Phase::Stopped
            | Phase::Running { .. }
            | Phase::Backoff { .. }
            | Phase::Exceeded
            | Phase::Cooldown { .. }
            | Phase::Exited
            | Phase::Failed => return,
        };
        // It has ended already, as far as anybody could see. KILL is for what may be left of it.
        let rung = Rung::Asked { signal: Signal::KILL, until: now };
        self.phase = Phase::Stopping { run, alive: None, rung, then, obstacle: None };
    }

    /// Takes notice that a shutdown was cut short: the herd goes on, and what was stopped for its end only is to be started
    /// again. True if it is; one whose conf says that it is started by hand stays down.
    pub fn outlive_shutdown(&mut self, enabled: bool) -> bool {
        let stays = matches!(self.phase, Phase::Stopped | Phase::Stopping { then: Then::Stay, .. });
        if !stays || (self.because, self.wanted) != (Because::Shutdown, Wanted::Up) {
            return false;
        }
        if !enabled {
            (self.wanted, self.because) = (Wanted::Down, Because::Disabled);
        }
        enabled
    }
}

impl Phase {
    /// The run that lives, is being launched or is being ended.
    pub fn run(&self) -> Option<RunId> {
        match *self {
            Self::Starting { run } | Self::Running { run, .. } | Self::Stopping { run, .. } => Some(run),
            Self::Stopped
            | Self::Backoff { .. }
            | Self::Exceeded
            | Self::Cooldown { .. }
            | Self::Exited
            | Self::Failed => None,
        }
    }

    /// The main process and when it began.
    pub fn alive(&self) -> Option<(u32, Moment)> {
        match *self {
            Self::Running { pid, began, .. } => Some((pid, began)),
            Self::Stopping { alive, .. } => alive,
            Self::Stopped
            | Self::Starting { .. }
            | Self::Backoff { .. }
            | Self::Exceeded
            | Self::Cooldown { .. }
            | Self::Exited
            | Self::Failed => None,
        }
    }

    /// When the next step is due without anything else happening: the one timer of a service.
    pub fn deadline(&self) -> Option<Moment> {
        match *self {
            Self::Backoff { until }
            | Self::Cooldown { until, .. }
            | Self::Stopping { rung: Rung::Asked { until, .. } | Rung::Killed { until }, .. } => Some(until),
            Self::Stopped
            | Self::Starting { .. }
            | Self::Running { .. }
            | Self::Stopping { rung: Rung::Stuck { .. }, .. }
            | Self::Exceeded
            | Self::Exited
            | Self::Failed => None,
        }
    }

    /// When it will be started again, where that is planned.
    pub fn next_start(&self) -> Option<Moment> {
        match *self {
            Self::Backoff { until } | Self::Cooldown { until, .. } => Some(until),
            Self::Stopped
            | Self::Starting { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Exceeded
            | Self::Exited
            | Self::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::after_boot(Duration::from_secs(9));

    fn run(number: u64) -> RunId {
        RunId { herd: 1, number }
    }

    fn at(phase: Phase) -> Note {
        Note { wanted: Wanted::Up, phase, ..Note::new(Moment::after_boot(Duration::ZERO)) }
    }

    fn running(number: u64) -> Phase {
        Phase::Running { run: run(number), pid: 7, began: NOW }
    }

    #[test]
    fn a_later_run_is_taken_notice_of_and_its_restart_counted() {
        let stopping = Phase::Stopping {
            run: run(3),
            alive: None,
            rung: Rung::Killed { until: NOW },
            then: Then::Start,
            obstacle: None,
        };
        for (phase, restarts) in [
            (running(3), 1),
            (Phase::Starting { run: run(3) }, 1),
            (Phase::Backoff { until: NOW }, 0),
            (stopping, 0),
            (Phase::Stopped, 0),
            (Phase::Cooldown { until: NOW, wait: Duration::ZERO }, 0),
        ] {
            let mut note = at(phase);
            note.catch_up(run(4), None, NOW);
            assert_eq!((note.phase, note.wanted), (Phase::Starting { run: run(4) }, Wanted::Up), "{phase:?}");
            assert_eq!((note.restarts, note.window.restarts().count()), (restarts, restarts as usize), "{phase:?}");
        }
    }

    #[test]
    fn what_was_counted_when_the_run_was_launched_counts() {
        // An order that the note does not know of yet, and one, or two, deaths.
        for (phase, counted, because) in [
            (running(3), 0, Because::Loaded),
            (running(3), 1, Because::Death),
            (running(3), 2, Because::Death),
            (Phase::Backoff { until: NOW }, 0, Because::Death),
            (Phase::Stopped, 1, Because::Death),
        ] {
            let mut note = Note { restarts: 4, because: Because::Loaded, ..at(phase) };
            note.catch_up(run(5), Some(4 + counted), NOW);
            assert_eq!((note.phase, note.restarts), (Phase::Starting { run: run(5) }, 4 + counted), "{phase:?}");
            assert_eq!((note.window.restarts().count() as u64, note.because), (counted, because), "{phase:?}");
        }
    }

    #[test]
    fn a_run_that_the_note_knows_is_no_news() {
        for number in [2, 3] {
            let mut note = at(running(3));
            note.catch_up(run(number), Some(7), NOW);
            assert_eq!(note, at(running(3)));
        }
    }

    #[test]
    fn what_only_a_shutdown_has_stopped_is_started_by_whoever_goes_on() {
        let stopping = |then| {
            let rung = Rung::Killed { until: NOW };
            Phase::Stopping { run: run(3), alive: None, rung, then, obstacle: None }
        };
        let (up, down) = (Wanted::Up, Wanted::Down);
        for (phase, because, wanted, expected) in [
            (Phase::Stopped, Because::Shutdown, up, true),
            (stopping(Then::Stay), Because::Shutdown, up, true),
            (stopping(Then::Leave), Because::Shutdown, down, false),
            (stopping(Then::Start), Because::Operator, up, false),
            // An operator had stopped it before.
            (stopping(Then::Stay), Because::Shutdown, down, false),
            (Phase::Stopped, Because::Shutdown, down, false),
            (Phase::Stopped, Because::Operator, down, false),
            (running(3), Because::Loaded, up, false),
        ] {
            let before = Note { because, wanted, ..at(phase) };
            for enabled in [true, false] {
                let mut note = before.clone();
                assert_eq!(note.outlive_shutdown(enabled), expected && enabled, "{before:?}");
                let disabled = expected && !enabled;
                let (wanted, because) = if disabled { (down, Because::Disabled) } else { (wanted, because) };
                assert_eq!(note, Note { wanted, because, ..before.clone() });
            }
        }
    }

    #[test]
    fn what_is_left_of_an_earlier_run_is_waited_for() {
        let mut note = at(Phase::Starting { run: run(4) });
        note.wait_for(run(3), NOW);
        assert_eq!(note.phase.run(), Some(run(3)));
        assert_eq!(note.phase.deadline(), Some(NOW), "it is killed at once");
        assert!(matches!(note.phase, Phase::Stopping { then: Then::Start, .. }));
        let mut note = at(running(4));
        note.wait_for(run(3), NOW);
        assert_eq!(note, at(running(4)));
    }
}
