//! When the herder is started, killed and replaced: a pure decision.

use std::time::Duration;

use crate::model::Moment;

/// How long a herder may take to say that it has heard what it was told.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long clients wait for one that comes up.
const HOPE: Duration = Duration::from_millis(1500);
/// The first wait after a herder that ended before it answered, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const LAST_WAIT: Duration = Duration::from_secs(30);

/// What is known of the herder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    phase: Phase,
    /// The wait after the next herder that ends before it answers.
    next_wait: Duration,
    /// Frames that the present one was told, and those that it has heard.
    told: u64,
    heard: u64,
    /// Since when something that was told is not heard.
    unheard_since: Option<Moment>,
    /// Since when one after the other has ended before it answered.
    failing_since: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none; the next one is started then.
    Away { until: Moment },
    /// It has not answered yet.
    Starting,
    /// It has taken over.
    Answering,
    /// It was killed, and its end has not come yet.
    Killed { answered: bool },
    /// There will be none any more.
    Over,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Start a herder.
    Start,
    /// It does not listen: kill it.
    Kill,
}

impl Watch {
    /// There is no herder, and one is due at once.
    pub(super) fn new(now: Moment) -> Self {
        let phase = Phase::Away { until: now };
        Self { phase, next_wait: FIRST_WAIT, told: 0, heard: 0, unheard_since: None, failing_since: None }
    }

    /// One was started.
    pub(super) fn started(&mut self) {
        *self = Self { phase: Phase::Starting, told: 0, heard: 0, unheard_since: None, ..self.clone() };
    }

    /// It was told one frame more.
    pub(super) fn told(&mut self, now: Moment) {
        self.told += 1;
        self.unheard_since.get_or_insert(now);
    }

    /// It has heard so many frames.
    pub(super) fn heard(&mut self, count: u64, now: Moment) {
        let progress = count > self.heard;
        self.heard = self.heard.max(count);
        if self.heard >= self.told {
            self.unheard_since = None;
        } else if progress {
            self.unheard_since = Some(now);
        }
    }

    /// It answers.
    pub(super) fn ready(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Answering;
            self.next_wait = FIRST_WAIT;
            self.failing_since = None;
        }
    }

    /// No further one is started.
    pub(super) fn rest(&mut self) {
        self.phase = Phase::Over;
        self.unheard_since = None;
        self.failing_since = None;
    }

    /// It was killed: it does not listen, says what it can't say, has closed its line, or is in the way of another program.
    pub(super) fn killed(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        // It may be killed twice: once for what it did, and once when its line ends before its process is seen to.
        let answered = matches!(self.phase, Phase::Answering | Phase::Killed { answered: true });
        self.phase = Phase::Killed { answered };
        self.unheard_since = None;
    }

    /// Whether it was killed, and its end has not come yet.
    pub(super) fn is_killed(&self) -> bool {
        matches!(self.phase, Phase::Killed { .. })
    }

    /// It has ended. One that had answered is replaced at once, however it ended.
    pub(super) fn ended(&mut self, now: Moment) {
        if self.phase == Phase::Over {
            return;
        }
        let answered = matches!(self.phase, Phase::Answering | Phase::Killed { answered: true });
        let wait = if answered { Duration::ZERO } else { self.next_wait };
        if !answered {
            self.failing_since.get_or_insert(now);
            self.next_wait = (self.next_wait * 2).min(LAST_WAIT);
        }
        self.phase = Phase::Away { until: now + wait };
        self.unheard_since = None;
    }

    /// Whether everything that it was told has been heard.
    pub(super) fn has_heard_all(&self) -> bool {
        self.heard >= self.told
    }

    /// When something will be due without anything else happening.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Away { until } => Some(until),
            Phase::Starting | Phase::Answering => self.unheard_since.map(|since| since + PATIENCE),
            Phase::Killed { .. } | Phase::Over => None,
        }
    }

    /// When clients are no longer kept waiting: a herder has ended before it answered, and none has answered since.
    pub(super) fn hopeless(&self) -> Option<Moment> {
        self.failing_since.map(|since| since + HOPE)
    }

    /// What is due now.
    pub(super) fn due(&self, now: Moment) -> Due {
        match (self.phase, self.deadline()) {
            (_, None) => Due::Nothing,
            (_, Some(deadline)) if now < deadline => Due::Nothing,
            (Phase::Away { .. }, Some(_)) => Due::Start,
            (Phase::Starting | Phase::Answering, Some(_)) => Due::Kill,
            (Phase::Killed { .. } | Phase::Over, Some(_)) => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::after_boot(Duration::from_millis(ms))
    }

    #[test]
    fn one_that_answered_is_replaced_at_once_and_one_that_did_not_makes_the_next_wait() {
        let mut watch = Watch::new(at(0));
        assert_eq!(watch.due(at(0)), Due::Start);
        let mut now = 0;
        for wait in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            watch.started();
            assert_eq!(watch.deadline(), None);
            watch.ended(at(now));
            assert_eq!((watch.due(at(now + wait - 1)), watch.due(at(now + wait))), (Due::Nothing, Due::Start));
            now += wait;
        }
        watch.started();
        watch.ready();
        watch.ended(at(now));
        assert_eq!(watch.due(at(now)), Due::Start);
        watch.started();
        watch.ended(at(now));
        assert_eq!(watch.deadline(), Some(at(now + 100)), "the waits begin again");
    }

    #[test]
    fn one_that_does_not_listen_for_ten_seconds_is_killed_and_replaced() {
        let mut watch = Watch::new(at(0));
        watch.started();
        watch.ready();
        watch.told(at(1000));
        watch.told(at(9000));
        assert_eq!(watch.deadline(), Some(at(11_000)));
        watch.heard(1, at(10_000));
        assert_eq!(watch.deadline(), Some(at(20_000)), "it listens, if slowly");
        watch.heard(2, at(11_000));
        assert_eq!(watch.deadline(), None, "with nothing untold there is no timer");
        watch.told(at(12_000));
        assert_eq!(watch.due(at(22_000)), Due::Kill);
        watch.killed();
        watch.killed();
        assert_eq!(watch.deadline(), None);
        watch.ended(at(22_001));
        assert_eq!(watch.due(at(22_001)), Due::Start);
    }

    #[test]
    fn after_the_end_nothing_is_due() {
        let mut watch = Watch::new(at(0));
        watch.started();
        watch.told(at(1));
        watch.rest();
        watch.killed();
        watch.ended(at(2));
        assert_eq!((watch.deadline(), watch.hopeless(), watch.due(at(99_999))), (None, None, Due::Nothing));
    }
}
