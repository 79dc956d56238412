//! A moment that one thread waits for and others set.
//!
//! To wake a thread takes some 20 µs of whoever does it, and the processor that the woken one then runs on. To set a timer
//! takes none of both: who does something that others wait for leaves the rest to a thread that comes after it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockNanosleepFlags, clock_nanosleep};

/// A moment that is waited for (timerfd_create(2)).
pub(crate) struct Alarm(TimerFd);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?))
    }

    /// Ends [`Self::wait`] after this time, and not when it was set to before.
    pub(crate) fn set(&self, after: Duration) {
        // Zero would be never (timerfd_settime(2)).
        let after = TimeSpec::from_duration(after.max(Duration::from_nanos(1)));
        // It fails for times that are none only.
        let _ = self.0.set(Expiration::OneShot(after), TimerSetTimeFlags::empty());
    }

    /// Comes back when the moment has come: at once if it came since the last time.
    pub(crate) fn wait(&self) {
        // A signal ends the reading early; it fails in no other way.
        while self.0.wait() == Err(Errno::EINTR) {}
    }
}

/// Does nothing for this time. For what goes on meanwhile anyway, never for what has to happen first.
pub(crate) fn nap(time: Duration) {
    // A signal ends it early, which is as good.
    let monotonic = nix::time::ClockId::CLOCK_MONOTONIC;
    let _ = clock_nanosleep(monotonic, ClockNanosleepFlags::empty(), &TimeSpec::from_duration(time));
}

impl AsFd for Alarm {
    /// Readable from the moment on until it is set again. Told once for each moment, it needs no reading.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_set_later_counts_and_a_moment_that_is_past_is_not_missed() {
        let (alarm, begun) = (Alarm::new().unwrap(), Instant::now());
        alarm.set(Duration::from_secs(3600));
        alarm.set(Duration::from_millis(20));
        alarm.wait();
        assert!(begun.elapsed() >= Duration::from_millis(20));
        alarm.set(Duration::ZERO);
        alarm.wait();
    }
}
