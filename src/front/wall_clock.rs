//! Moments as people write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{Civil, Moment};

/// By how much the two clocks may drift apart before it is believed.
///
/// The wall clock is steered all the time (adjtimex(2)), which would let an unchanged `since` flicker by a millisecond
/// between two answers. Somebody who sets it, sets it by more than this.
const DRIFT: Duration = Duration::from_millis(500);

/// What the wall clock showed at the boot, if it had always been as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WallClock {
    boot: Duration,
}

impl WallClock {
    /// The clock that showed `wall` at `moment`.
    pub(super) fn new(moment: Moment, wall: SystemTime) -> Self {
        Self { boot: since_epoch(wall).saturating_sub(moment.since_boot()) }
    }

    /// The clock now: this one, as long as it is nearly right.
    pub(super) fn refreshed(self, moment: Moment, wall: SystemTime) -> Self {
        let fresh = Self::new(moment, wall);
        if self.boot.abs_diff(fresh.boot) < DRIFT { self } else { fresh }
    }

    /// The moment in RFC 3339, UTC, with milliseconds.
    pub(super) fn show(self, moment: Moment) -> String {
        rfc3339(self.boot.saturating_add(moment.since_boot()))
    }
}

/// A time of the wall clock in RFC 3339, UTC, with milliseconds.
pub(super) fn show(wall: SystemTime) -> String {
    rfc3339(since_epoch(wall))
}

fn since_epoch(wall: SystemTime) -> Duration {
    wall.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn rfc3339(since_epoch: Duration) -> String {
    let Civil { year, month, day, hour, minute, second, micros } = Civil::of(since_epoch);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", micros / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        for (seconds, millis, text) in [
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, 999, "2000-02-28T23:59:59.999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.001Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599, 0, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600, 0, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds) + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn an_unchanged_moment_does_not_flicker_but_follows_a_clock_that_was_set() {
        let at = |seconds, millis| UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis);
        let moment = |seconds| Moment::after_boot(Duration::from_secs(seconds));
        let clock = WallClock::new(moment(10), at(1_000_010, 0));
        let since = moment(3);
        assert_eq!(clock.show(since), "1970-01-12T13:46:43.000Z");
        assert_eq!(clock.refreshed(moment(20), at(1_000_020, 499)), clock);
        assert_eq!(clock.refreshed(moment(20), at(1_000_019, 501)), clock);
        assert_eq!(clock.refreshed(moment(20), at(1_003_620, 0)).show(since), "1970-01-12T14:46:43.000Z");
    }
}
