//! Pipes whose ends a child can tell from its standard streams.
#![expect(unsafe_code, reason = "pipe2 takes raw numbers")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A close-on-exec pipe, its reading end first, both away from 0 to 2 even in a process that has those closed: the child
/// puts other files there.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: the array has room for two.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both descriptors are new and belong to nobody else.
    let [reading, writing] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((away_from_standard(reading)?, away_from_standard(writing)?))
}

/// The same open file by a number above 2.
pub(super) fn away_from_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    // `try_clone` gives the lowest free number from 3 on, close-on-exec.
    if fd.as_raw_fd() > libc::STDERR_FILENO { Ok(fd) } else { fd.try_clone() }
}
