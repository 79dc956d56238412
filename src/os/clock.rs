//! The clock of the herd.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::model::Moment;

/// A clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Boot,
    Runtime { origin: Instant, at_origin: Moment },
}

impl Clock {
    /// The clock of a daemon: `CLOCK_BOOTTIME`, which goes on while the machine is suspended and is the same for every
    /// process of this boot.
    pub const fn of_boot() -> Self {
        Self(Kind::Boot)
    }

    /// A clock that begins now with the time since the boot and goes on by the runtime's own clock, so that a test which
    /// pauses that one pauses this one too.
    pub fn start() -> Self {
        Self(Kind::Runtime { origin: Instant::now(), at_origin: since_boot() })
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        match self.0 {
            Kind::Boot => since_boot(),
            Kind::Runtime { origin, at_origin } => at_origin + origin.elapsed(),
        }
    }
}

fn since_boot() -> Moment {
    // The clock exists on every Linux since 2.6.39 (clock_gettime(2)); the boot itself is as good an origin as any.
    Moment::after_boot(clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from))
}
