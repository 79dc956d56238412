//! Points in time that survive the process that took them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: how long after the boot of the machine, on a clock that nobody sets and that goes on in suspend
/// (`CLOCK_BOOTTIME`, clock_gettime(2)). Comparable between processes of one boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment of the boot itself.
    pub const BOOT: Self = Self(Duration::ZERO);

    /// The moment that is `after` later than the boot.
    pub const fn after_boot(after: Duration) -> Self {
        Self(after)
    }

    /// How long after the boot this is.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long `earlier` is ago at this moment; nothing where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot+{:?}", self.0)
    }
}
