//! An inotify instance (inotify(7)) that a runtime waits for.
#![expect(unsafe_code, reason = "to let a runtime watch a descriptor is a promise that it stays what it is")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An instance, shared by who says what to watch and who hears of it.
#[derive(Debug)]
pub(crate) struct Notifier(Inotify);

/// One that a runtime watches.
#[derive(Debug)]
pub(crate) struct Awaited(AsyncFd<Arc<Notifier>>);

impl AsRawFd for Notifier {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Notifier {
    /// One that watches nothing yet.
    ///
    /// # Errors
    /// The user's share of these is used up.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?)))
    }

    /// Lets the runtime say when there is something to read.
    ///
    /// # Errors
    /// The runtime has no memory for it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn awaited(self: Arc<Self>) -> io::Result<Awaited> {
        // SAFETY: the descriptor is this value's own, never changes, and is closed only with the last reference to it, of
        // which the result has one.
        Ok(Awaited(unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) }?))
    }

    /// Watches a path. To do so may take as long as the disk does.
    ///
    /// # Errors
    /// It is not there, or may not be read, or the user's share of watches is used up.
    pub(crate) fn add(&self, path: &std::path::Path, what: AddWatchFlags) -> nix::Result<WatchDescriptor> {
        self.0.add_watch(path, what)
    }

    /// Watches it no more.
    pub(crate) fn remove(&self, watch: WatchDescriptor) {
        // An error says that it is not watched any more, as that of a directory that was deleted.
        let _ = self.0.rm_watch(watch);
    }
}

impl Awaited {
    /// What has happened since the last call. Cancel safe.
    ///
    /// # Errors
    /// It can't be read any more.
    pub(crate) async fn next(&self) -> io::Result<Vec<InotifyEvent>> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) => return Ok(events),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
