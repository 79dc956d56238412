//! What is done while nothing can be written: a decision of what is known, without a clock or a disk.

use std::time::{Duration, Instant};

use crate::model::OnFull;

/// How long room is waited for before lines are dropped, and then how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long is waited before the first try, where nothing is dropped; it doubles.
const FIRST: Duration = Duration::from_millis(100);
/// And the longest of these waits.
const LONGEST: Duration = Duration::from_secs(5);

/// An episode in which nothing can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    since: Instant,
    wait: Duration,
    next: Instant,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Do {
    /// Write, as if nothing were wrong.
    Write,
    /// Drop the lines that wait, and whatever comes until the next try.
    Drop,
    /// Leave what waits where it is.
    Wait,
}

impl Trouble {
    /// The first write has failed.
    pub(super) fn begin(on_full: OnFull, now: Instant) -> Self {
        let wait = match on_full {
            OnFull::Drop => PATIENCE,
            OnFull::Block => FIRST,
        };
        Self { since: now, wait, next: now + wait }
    }

    /// A try has failed, too.
    pub(super) fn goes_on(&mut self, on_full: OnFull, now: Instant) {
        self.wait = match on_full {
            OnFull::Drop => PATIENCE,
            OnFull::Block => (self.wait * 2).min(LONGEST),
        };
        self.next = now + self.wait;
    }

    pub(super) fn now(&self, on_full: OnFull, now: Instant) -> Do {
        match on_full {
            _ if now >= self.next => Do::Write,
            OnFull::Drop if now >= self.since + PATIENCE => Do::Drop,
            OnFull::Drop | OnFull::Block => Do::Wait,
        }
    }

    /// When the next try is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn dropping_waits_for_a_second_and_tries_every_second() {
        let begun = Instant::now();
        let mut trouble = Trouble::begin(OnFull::Drop, begun);
        assert_eq!(trouble.now(OnFull::Drop, begun), Do::Wait);
        assert_eq!(trouble.now(OnFull::Drop, begun + SECOND / 2), Do::Wait);
        assert_eq!(trouble.now(OnFull::Drop, begun + SECOND), Do::Write);
        trouble.goes_on(OnFull::Drop, begun + SECOND);
        assert_eq!(trouble.now(OnFull::Drop, begun + SECOND), Do::Drop);
        assert_eq!(trouble.now(OnFull::Drop, begun + SECOND * 3 / 2), Do::Drop);
        assert_eq!(trouble.now(OnFull::Drop, begun + SECOND * 2), Do::Write);
        assert_eq!(trouble.next(), begun + SECOND * 2);
    }

    #[test]
    fn blocking_never_drops_and_tries_less_and_less_often() {
        let begun = Instant::now();
        let mut trouble = Trouble::begin(OnFull::Block, begun);
        let (mut now, mut waits) = (begun, Vec::new());
        for _ in 0..9 {
            assert_eq!(trouble.now(OnFull::Block, now), Do::Wait);
            waits.push((trouble.next() - now).as_millis());
            now = trouble.next();
            assert_eq!(trouble.now(OnFull::Block, now), Do::Write);
            trouble.goes_on(OnFull::Block, now);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }
}
