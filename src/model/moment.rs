//! Points in time that survive the process that took them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: how long after the boot of the machine, on a clock that nobody sets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Since the boot; 584 years fit.
    nanos: u64,
}

impl Moment {
    /// The moment of the boot itself.
    pub const BOOT: Self = Self { nanos: 0 };

    /// The moment that is `after` later than the boot.
    pub const fn after_boot(after: Duration) -> Self {
        let nanos = after.as_nanos();
        Self { nanos: if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 } }
    }

    /// How long after the boot this is.
    pub const fn since_boot(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// How long `earlier` is ago at this moment; nothing where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self::after_boot(self.since_boot().saturating_add(later))
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
        write!(f, "boot+{:?}", self.since_boot())
    }
}
