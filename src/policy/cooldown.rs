//! What the parent does with a service that exceeded its restart intensity.

use std::time::Duration;

use crate::model::{Exceeded, RestartSpec};

/// The parent's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wait this long, then try again with a fresh window.
    CoolDown {
        /// With the jitter.
        wait: Duration,
    },
    /// Stay failed.
    GiveUp,
}

/// The next cool-down without jitter: the first one, then twice the last, up to the cap.
pub fn next_wait(last: Option<Duration>, spec: &RestartSpec) -> Duration {
    let next = last.map_or(spec.cooldown, |last| last.saturating_mul(2));
    // A cap below the first wait can only come of defaults; what was written wins.
    next.min(spec.max_cooldown.max(spec.cooldown))
}

/// The answer to a service that exceeded its intensity. `chance` is 0 to 255, drawn anew each time: it becomes 0 to 20 % of
/// jitter, so that services that failed together do not all try again together.
pub fn verdict(exceeded: Exceeded, wait: Duration, chance: u8) -> Verdict {
    match exceeded {
        Exceeded::Cooldown => {
            Verdict::CoolDown { wait: wait.saturating_add(wait / 5 * u32::from(chance) / u32::from(u8::MAX)) }
        }
        Exceeded::Fail => Verdict::GiveUp,
    }
}
