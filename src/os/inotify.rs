//! An inotify instance (inotify(7)) that a runtime waits for.
#![expect(unsafe_code, reason = "to let a runtime watch a descriptor is a promise that it stays what it is")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::statfs::{FsType, statfs};
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

    /// What has happened since the last call.
    ///
    /// # Errors
    /// Nothing has (`EAGAIN`), or it can't be read.
    pub(crate) fn read(&self) -> nix::Result<Vec<InotifyEvent>> {
        self.0.read_events()
    }

    /// Watches it no more.
    pub(crate) fn remove(&self, watch: WatchDescriptor) {
        // An error says that it is not watched any more, as that of a directory that was deleted.
        let _ = self.0.rm_watch(watch);
    }
}

/// File systems on which others make changes of which this kernel hears nothing (statfs(2), linux/magic.h): NFS, SMB and CIFS,
/// AFS, Ceph, Lustre, 9P, FUSE, OCFS2, GFS2.
const REMOTE: [i64; 10] = [
    0x6969,
    0xfe53_4d42,
    0xff53_4d42,
    0x5346_414f,
    0x00c3_6400,
    0x0bd0_0bd0,
    0x0102_1997,
    0x6573_5546,
    0x7461_636f,
    0x0116_1970,
];

/// Whether inotify tells of all changes in this directory.
pub(crate) fn tells_changes(directory: &std::path::Path) -> bool {
    statfs(directory).map_or(true, |status| is_local(status.filesystem_type()))
}

fn is_local(kind: FsType) -> bool {
    !REMOTE.contains(&kind.0)
}

impl Awaited {
    /// What has happened since the last call. Cancel safe.
    ///
    /// # Errors
    /// It can't be read any more.
    pub(crate) async fn next(&self) -> io::Result<Vec<InotifyEvent>> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.get_inner().read() {
                Ok(events) => return Ok(events),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::statfs;

    use super::*;

    #[test]
    fn others_machines_make_changes_that_nobody_tells() {
        for (kind, local) in [
            (statfs::NFS_SUPER_MAGIC, false),
            (statfs::FUSE_SUPER_MAGIC, false),
            (statfs::EXT4_SUPER_MAGIC, true),
            (statfs::TMPFS_MAGIC, true),
        ] {
            assert_eq!(is_local(kind), local, "{kind:?}");
        }
        assert!(tells_changes(std::path::Path::new("/no/such/directory")));
    }
}
