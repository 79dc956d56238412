//! Days and hours as people count them.

use std::time::Duration;

/// A time of the wall clock in UTC and the Gregorian calendar, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    /// From 1970.
    pub(crate) year: u64,
    /// From 1.
    pub(crate) month: u64,
    /// From 1.
    pub(crate) day: u64,
    /// 0 to 23.
    pub(crate) hour: u64,
    /// 0 to 59.
    pub(crate) minute: u64,
    /// 0 to 59: Unix time has no leap seconds.
    pub(crate) second: u64,
    /// 0 to 999,999.
    pub(crate) micros: u64,
}

impl Civil {
    /// The time that is so long after 1970-01-01.
    pub(crate) fn of(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs();
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        Self { year, month, day, hour, minute, second, micros: u64::from(since_epoch.subsec_micros()) }
    }

    /// How long after 1970-01-01 it is; none where there is no such time, as on a 31st of February.
    pub(crate) fn since_epoch(self) -> Option<Duration> {
        let days = day_number(self.year, self.month, self.day)?;
        let seconds = ((days * 24 + self.hour) * 60 + self.minute) * 60 + self.second;
        let since_epoch = Duration::from_secs(seconds) + Duration::from_micros(self.micros);
        (Self::of(since_epoch) == self).then_some(since_epoch)
    }
}

/// Year, month and day of a day after 1970-01-01.
///
/// The algorithm is Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the last one, and
/// repeat every 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse, Hinnant's `days_from_civil`; what it says of a date that does not exist is another one.
fn day_number(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_what_it_was_made_of(seconds in 0..253_402_300_800_u64, micros in 0..1_000_000_u64) {
            let since_epoch = Duration::from_secs(seconds) + Duration::from_micros(micros);
            prop_assert_eq!(Civil::of(since_epoch).since_epoch(), Some(since_epoch));
        }
    }

    #[test]
    fn a_day_that_does_not_exist_is_no_time() {
        let leap = Civil { year: 2024, month: 2, day: 29, hour: 23, minute: 59, second: 59, micros: 999_999 };
        assert_eq!(leap.since_epoch(), Some(Duration::from_micros(1_709_251_199_999_999)));
        for wrong in [
            Civil { year: 2023, ..leap },
            Civil { year: 2100, ..leap },
            Civil { day: 30, ..leap },
            Civil { day: 0, ..leap },
            Civil { month: 13, ..leap },
            Civil { month: 0, ..leap },
            Civil { hour: 24, ..leap },
            Civil { minute: 60, ..leap },
            Civil { second: 60, ..leap },
            Civil { year: 1969, ..leap },
        ] {
            assert_eq!(wrong.since_epoch(), None, "{wrong:?}");
        }
    }
}
