//! Who is at the other end of a unix socket (unix(7), socket(7)).
#![expect(unsafe_code, reason = "getsockopt(2) and pidfd_open(2) have no safe form in the libraries that are used")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Says anew that this process listens: who connects is told so (`SO_PEERCRED`), and not of the one that called before.
///
/// # Errors
/// The socket is none that listens (listen(2)).
pub(crate) fn listen_again(listener: BorrowedFd<'_>) -> io::Result<()> {
    // The same backlog as the standard library's.
    const BACKLOG: i32 = -1;
    // SAFETY: the call takes numbers only.
    if unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The supplementary groups that the peer had when it connected (`SO_PEERGROUPS`), its primary group not among them.
///
/// # Errors
/// The socket is not a connected unix socket, or the kernel is older than 4.13.
pub(crate) fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let mut bytes = libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the pointer is that of a live vector, `bytes` is its length, and the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE says that there are more, and `bytes` how many.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2)).
///
/// # Errors
/// There is no such process.
pub(crate) fn exit_descriptor(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: pidfd_open(2) takes two integers and touches no memory.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_groups_of_a_peer_are_those_of_the_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut own: Vec<u32> = nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let mut peer = groups(ours.as_fd()).unwrap();
        own.sort_unstable();
        peer.sort_unstable();
        assert_eq!(peer, own);
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(groups(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }

    #[test]
    fn only_a_living_process_has_an_exit_descriptor() {
        assert!(exit_descriptor(std::process::id()).is_ok());
        assert!(exit_descriptor(u32::MAX).is_err());
        assert_eq!(exit_descriptor(0x7fff_ffff).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
