//! The clock of the herd.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::model::Moment;

/// A clock that nobody sets: it begins with `CLOCK_BOOTTIME` at its start and goes on by the runtime's own clock
/// (`CLOCK_MONOTONIC`), so that a test which pauses that one pauses this one too. While the machine is suspended it stands
/// still, as all timers of the herd do.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    at_origin: Moment,
}

impl Clock {
    /// A clock that shows the time since the boot of this machine.
    pub fn start() -> Self {
        // The clock exists on every Linux since 2.6.39 (clock_gettime(2)); the boot itself is as good an origin as any.
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Self { origin: Instant::now(), at_origin: Moment::after_boot(since_boot) }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        self.at_origin + self.origin.elapsed()
    }

    /// When the runtime's clock will show this moment.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + (moment - self.at_origin)
    }
}
