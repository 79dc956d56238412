//! Waiting without a sleep: for what a file says, for an end. The watchdog only ends what would hang for ever.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// No step of any scenario takes this long on a machine that works, however busy it is.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(50);

/// Does something that waits for others, and panics where that takes too long.
pub(crate) fn within<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(act()));
    match result.recv_timeout(WATCHDOG) {
        Ok(result) => result,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Looks each time something changes in a file or directory, until there is an answer; none after the watchdog's time.
pub(crate) fn until<T>(changes: &Path, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
    let changed = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(changes, changed).unwrap();
    let deadline = Instant::now() + WATCHDOG;
    loop {
        // After the watch is set, so that no change falls between a look and the wait for the next one.
        if let Some(found) = look() {
            return Some(found);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = PollTimeout::try_from(left).unwrap();
        if poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], patience).unwrap() == 0 {
            return None;
        }
        inotify.read_events().unwrap();
    }
}
