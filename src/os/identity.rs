//! What names a process for ever within a boot, where its number alone is given to another one after its end.
//!
//! Since Linux 6.9 a pidfd is a file of a file system of its own, and its inode number is that of the process: 64 bits that
//! no other process of this boot has (fs/pidfs.c in the kernel). Before, pidfds share one inode that says nothing, and the
//! start time serves: two processes with one number and one start time would need all numbers to be used up within a
//! hundredth of a second.
#![expect(unsafe_code, reason = "pidfd_send_signal(2) has no safe form")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};

use super::peer::exit_descriptor;
use super::stat::Stat;

/// Which process it is. Means something within one boot of one machine only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The inode number of its pidfds.
    Inode(u64),
    /// When it started, in clock ticks after boot.
    StartTime(u64),
}

/// `PID_FS_MAGIC` (statfs(2)).
const PIDFS: FsType = FsType(0x5049_4446);

impl Identity {
    /// The identity of a process that has not been reaped, given both ways to name it.
    ///
    /// # Errors
    /// It has been reaped, or there is no `/proc`; neither happens to a child of one's own since Linux 6.9.
    pub(crate) fn of(pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<Self> {
        if let Some(inode) = inode(pidfd)? {
            return Ok(Self::Inode(inode));
        }
        let start_time = Stat::read(pid)?.and_then(|stat| stat.start_time());
        start_time.map(Self::StartTime).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }

    /// Two numbers to store, of which the first is never 0.
    pub(crate) fn to_words(self) -> (u32, u64) {
        match self {
            Self::Inode(inode) => (1, inode),
            Self::StartTime(ticks) => (2, ticks),
        }
    }

    /// What [`Self::to_words`] gave; `None` of anything else.
    pub(crate) fn from_words(kind: u32, value: u64) -> Option<Self> {
        match kind {
            1 => Some(Self::Inode(value)),
            2 => Some(Self::StartTime(value)),
            _ => None,
        }
    }
}

/// A pidfd of the process that had this number and this identity, if it has not been reaped since. It may be a zombie.
///
/// # Errors
/// The system has no descriptor or no `/proc` to look with: then nobody knows.
pub(crate) fn find(pid: i32, identity: Identity) -> io::Result<Option<OwnedFd>> {
    let Some(pidfd) = open(pid)? else { return Ok(None) };
    // The descriptor is of one process, whatever becomes of the number from now on.
    let same = match identity {
        Identity::Inode(recorded) => inode(pidfd.as_fd())? == Some(recorded),
        Identity::StartTime(recorded) => {
            let now = Stat::read(pid)?.and_then(|stat| stat.start_time());
            // The line was that of the descriptor's process if that one still has the number.
            now == Some(recorded) && is_there(pidfd.as_fd())
        }
    };
    Ok(same.then_some(pidfd))
}

/// A pidfd of the process that has this number now; `None` where no process has it.
///
/// # Errors
/// The system has no descriptor left.
pub(crate) fn open(pid: i32) -> io::Result<Option<OwnedFd>> {
    let Ok(number) = u32::try_from(pid) else { return Ok(None) };
    match exit_descriptor(number) {
        Ok(pidfd) => Ok(Some(pidfd)),
        // Of a number that is a thread's the kernel says EINVAL, and since 6.15 ENOENT; both of no number at all.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL | libc::ENOENT)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a process has not been reaped.
pub(super) fn is_there(pidfd: BorrowedFd<'_>) -> bool {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo_t the call takes no memory, and signal 0 is none (kill(2)).
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, info, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Which boot of the machine this is (random(4)).
///
/// # Errors
/// There is no `/proc`.
pub(crate) fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let number = u128::from_str_radix(&text.trim().replace('-', ""), 16);
    number.map(u128::to_be_bytes).map_err(io::Error::other)
}

/// The inode number of a pidfd; `None` before Linux 6.9, where it means nothing.
pub(super) fn inode(pidfd: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    if fstatfs(pidfd)?.filesystem_type() != PIDFS {
        return Ok(None);
    }
    Ok(Some(fstat(pidfd)?.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A child that lives until its standard input is closed, which waiting for it does.
    fn child() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn pid(child: &Child) -> i32 {
        child.id().cast_signed()
    }

    /// Both identities of a process, however old the kernel is.
    fn identities(pid: i32) -> [Identity; 2] {
        let pidfd = open(pid).unwrap().unwrap();
        let start_time = Stat::read(pid).unwrap().unwrap().start_time().unwrap();
        [Identity::of(pid, pidfd.as_fd()).unwrap(), Identity::StartTime(start_time)]
    }

    #[test]
    fn a_process_is_found_by_its_identity_until_it_is_reaped() {
        let mut child = child();
        let pid = pid(&child);
        let identities = identities(pid);
        for identity in identities {
            assert!(find(pid, identity).unwrap().is_some(), "{identity:?}");
        }
        child.wait().unwrap();
        for identity in identities {
            assert!(find(pid, identity).unwrap().is_none(), "{identity:?}");
        }
    }

    #[test]
    fn a_zombie_is_still_the_process_that_it_was() {
        let mut child = child();
        let pid = pid(&child);
        let identities = identities(pid);
        let pidfd = open(pid).unwrap().unwrap();
        drop(child.stdin.take());
        await_end(pidfd.as_fd());
        for identity in identities {
            assert!(find(pid, identity).unwrap().is_some(), "{identity:?}");
        }
        child.wait().unwrap();
        assert!(!is_there(pidfd.as_fd()));
    }

    #[test]
    fn another_process_of_the_same_number_is_a_stranger() {
        let mut child = child();
        let pid = pid(&child);
        for identity in identities(pid) {
            let (kind, value) = identity.to_words();
            let other = Identity::from_words(kind, value + 1).unwrap();
            assert!(find(pid, other).unwrap().is_none(), "{other:?}");
        }
        child.wait().unwrap();
    }

    #[test]
    fn two_processes_have_two_inodes_and_one_process_has_one() {
        let (mut one, mut two) = (child(), child());
        let inode = |child: &Child| inode(open(pid(child)).unwrap().unwrap().as_fd()).unwrap();
        if inode(&one).is_none() {
            eprintln!("not tested: the inodes of pidfds, which this kernel does not have");
        } else {
            assert_eq!(inode(&one), inode(&one));
            assert_ne!(inode(&one), inode(&two));
        }
        for child in [&mut one, &mut two] {
            child.wait().unwrap();
        }
    }

    #[test]
    fn the_inode_of_another_file_system_is_no_identity() {
        let file = File::open("/proc/self/stat").unwrap();
        assert_eq!(inode(file.as_fd()).unwrap(), None);
        let own = std::process::id().cast_signed();
        assert!(matches!(Identity::of(own, file.as_fd()), Ok(Identity::StartTime(_))));
    }

    #[test]
    fn no_process_has_an_impossible_number_or_that_of_a_thread() {
        // SAFETY: gettid(2) touches no memory.
        let thread = std::thread::spawn(|| unsafe { open(libc::gettid()) });
        assert!(thread.join().unwrap().unwrap().is_none());
        for pid in [0, -1, i32::MIN, 0x7fff_ffff] {
            assert!(open(pid).unwrap().is_none(), "{pid}");
        }
    }

    #[test]
    fn identities_read_back_and_nothing_else_does() {
        for identity in [Identity::Inode(0), Identity::Inode(u64::MAX), Identity::StartTime(7)] {
            let (kind, value) = identity.to_words();
            assert_eq!(Identity::from_words(kind, value), Some(identity));
        }
        assert_eq!(Identity::from_words(0, 1), None);
        assert_eq!(Identity::from_words(3, 1), None);
    }

    #[test]
    fn the_boot_has_an_id() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_ne!(boot_id().unwrap(), [0; 16]);
    }

    fn await_end(pidfd: BorrowedFd<'_>) {
        let mut fds = [nix::poll::PollFd::new(pidfd, nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE).unwrap();
    }
}
