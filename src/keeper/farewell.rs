//! The end of the services where no herder is left to end them.

use std::time::Duration;

use crate::model::{Moment, RunId, Signal, StopScope, StopSpec};
use crate::process::Whom;

/// How long a shutdown may wait for a herder to take it over.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long KILL may take before nothing more is waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// For a run of which nothing is remembered.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The stop ladder over all runs at once, without anybody to ask.
#[derive(Debug)]
pub(super) struct Farewell {
    /// Runs that were asked to end, and when KILL follows to whom.
    asked: Vec<(RunId, Moment, Whom)>,
    /// When the last KILL should have worked.
    over: Moment,
}

impl Farewell {
    /// Asks every run to end: gives back the signals.
    pub(super) fn begin(living: &[(RunId, Option<StopSpec>)], now: Moment) -> (Self, Vec<(RunId, Signal)>) {
        let signal = |stop: &Option<StopSpec>| stop.map_or(Signal::TERM, |stop| stop.signal);
        let timeout = |stop: &Option<StopSpec>| stop.map_or(TIMEOUT, |stop| stop.timeout);
        let whom = |stop: &Option<StopSpec>| match stop.map(|stop| stop.scope) {
            Some(StopScope::Main) => Whom::Main,
            Some(StopScope::Tree) | None => Whom::Tree,
        };
        let asked: Vec<_> = living.iter().map(|(run, stop)| (*run, now + timeout(stop), whom(stop))).collect();
        let last = asked.iter().map(|(_, kill, _)| *kill).max().unwrap_or(now);
        let signals = living.iter().flat_map(|(run, stop)| [(*run, signal(stop)), (*run, Signal::CONT)]);
        (Self { asked, over: last + KILL_PATIENCE }, signals.collect())
    }

    /// Whom to kill now, if it has not ended meanwhile: each once.
    pub(super) fn due(&mut self, now: Moment) -> Vec<(RunId, Whom)> {
        let due = self.asked.extract_if(.., |(_, kill, _)| *kill <= now);
        due.map(|(run, _, whom)| (run, whom)).collect()
    }

    /// Whom to kill when the end was asked for once more: all.
    pub(super) fn hurry(&mut self, now: Moment) {
        for (_, kill, _) in &mut self.asked {
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
        self.asked.iter().map(|(_, kill, _)| *kill).min().unwrap_or(self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_asked_in_its_way_and_killed_as_far_as_it_goes() {
        let now = Moment::after_boot(Duration::from_secs(9));
        let (run, usr1) = (|number| RunId { herd: 1, number }, Signal::from_number(10).unwrap());
        let stop = |scope, ms| Some(StopSpec { signal: usr1, timeout: Duration::from_millis(ms), scope });
        let living = [(run(1), stop(StopScope::Main, 200)), (run(2), stop(StopScope::Tree, 100)), (run(3), None)];
        let (mut farewell, signals) = Farewell::begin(&living, now);
        let asked = |number, signal| [(run(number), signal), (run(number), Signal::CONT)];
        assert_eq!(signals, [asked(1, usr1), asked(2, usr1), asked(3, Signal::TERM)].concat());
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!((farewell.deadline(), farewell.due(after(99))), (after(100), vec![]));
        assert_eq!(farewell.due(after(100)), [(run(2), Whom::Tree)]);
        assert_eq!(farewell.due(after(200)), [(run(1), Whom::Main)]);
        farewell.hurry(after(300));
        assert_eq!(farewell.due(after(300)), [(run(3), Whom::Tree)]);
        assert_eq!(farewell.deadline(), after(5300));
        assert!(!farewell.is_over(after(5299)) && farewell.is_over(after(5300)));
    }
}
