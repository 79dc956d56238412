//! The states of a service.

use std::fmt;

/// What a service is doing, as `status` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Asked for, or disabled.
    Stopped,
    /// A launch is under way.
    Starting,
    /// Its main process lives.
    Running,
    /// It has been asked to end and has not ended yet.
    Stopping,
    /// Waits `restart.delay`.
    Backoff,
    /// Waits because it exceeded its restart intensity.
    Cooldown,
    /// Ended, and its restart policy leaves it.
    Exited,
    /// Given up.
    Failed,
    /// Belongs to another host.
    Skipped,
    /// Its conf has problems and no good version runs.
    Invalid,
}

impl State {
    /// Every state with its name.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Stopped, "stopped"),
        (Self::Starting, "starting"),
        (Self::Running, "running"),
        (Self::Stopping, "stopping"),
        (Self::Backoff, "backoff"),
        (Self::Cooldown, "cooldown"),
        (Self::Exited, "exited"),
        (Self::Failed, "failed"),
        (Self::Skipped, "skipped"),
        (Self::Invalid, "invalid"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The desired state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// It should run.
    Up,
    /// It should not.
    Down,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}
