//! The end of the services where no herder is left to end them.

use std::time::Duration;

use crate::model::{Moment, RunId, Signal, StopSpec};

/// How long a shutdown may wait for a herder to take it over.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long KILL may take before nothing more is waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// For a run of which nothing is remembered.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The stop ladder over all runs at once, without anybody to ask.
#[derive(Debug)]
pub(super) struct Farewell {
    /// Runs that were asked to end, and when KILL follows.
    asked: Vec<(RunId, Moment)>,
    /// When the last KILL should have worked.
    over: Moment,
}

impl Farewell {
    /// Asks every run to end: gives back the signals.
    pub(super) fn begin(living: &[(RunId, Option<StopSpec>)], now: Moment) -> (Self, Vec<(RunId, Signal)>) {
        let signal = |stop: &Option<StopSpec>| stop.map_or(Signal::TERM, |stop| stop.signal);
        let timeout = |stop: &Option<StopSpec>| stop.map_or(TIMEOUT, |stop| stop.timeout);
        let asked: Vec<_> = living.iter().map(|(run, stop)| (*run, now + timeout(stop))).collect();
        let last = asked.iter().map(|(_, kill)| *kill).max().unwrap_or(now);
        let signals = living.iter().flat_map(|(run, stop)| [(*run, signal(stop)), (*run, Signal::CONT)]);
        (Self { asked, over: last + KILL_PATIENCE }, signals.collect())
    }

    /// Whom to kill now: each once.
    pub(super) fn due(&mut self, now: Moment) -> Vec<RunId> {
        let due = self.asked.iter().filter(|(_, kill)| *kill <= now).map(|(run, _)| *run).collect();
        self.asked.retain(|(_, kill)| *kill > now);
        due
    }

    /// Whom to kill when the end was asked for once more: all.
    pub(super) fn hurry(&mut self, now: Moment) {
        for (_, kill) in &mut self.asked {
            *kill = (*kill).min(now);
        }
        self.over = now + KILL_PATIENCE;
    }

    /// Whether nothing more is waited for, though something may live on.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        now >= self.over
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Moment {
        self.asked.iter().map(|(_, kill)| *kill).min().unwrap_or(self.over)
    }
}
