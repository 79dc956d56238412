//! How a process ended that is no child of ours. As long as nobody has reaped it, its line in `/proc` says so; after that
//! the kernel remembers it for whoever holds a descriptor (`PIDFD_GET_INFO` in linux/pidfd.h).
#![expect(unsafe_code, reason = "an ioctl(2) with a buffer")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::identity::is_there;
use super::stat::Stat;
use crate::model::{Ending, Signal};

/// `struct pidfd_info` in its first size (Linux 6.13), which later kernels still take.
#[repr(C)]
#[derive(Debug, Default)]
struct Info {
    /// What is asked for, then what was answered.
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid; then real, effective, saved and file-system user and group.
    ids: [u32; 11],
    /// The status as wait(2) gives it.
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT` (Linux 6.15).
const EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)` (ioctl(2)).
const GET_INFO: u32 = 3 << 30 | (size_of::<Info>() as u32) << 16 | 0xff << 8 | 11;
const CORE: i32 = 0x80;

/// How a process ended, once its parent has reaped it. `None` before that, and where the kernel does not know: before Linux
/// 6.15.
pub(crate) fn exit_of(pidfd: BorrowedFd<'_>) -> Option<Ending> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the number tells the kernel how large the buffer is, and it lives over the call. What is no pidfd of a kernel
    // that knows the number refuses it.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as libc::Ioctl, &raw mut info) };
    // Kernels that do not know what was asked for answer without it.
    (result == 0 && info.mask & EXIT != 0).then(|| ending(info.exit_code))
}

/// How a process ended that had this number, and that nobody has reaped; `None` where somebody has, or where we may not know.
pub(super) fn exit_of_zombie(pid: i32, pidfd: BorrowedFd<'_>) -> Option<Ending> {
    // Of a zombie there is no such link, which the kernel tells only whoever may trace it: the others would read a zero.
    let link = std::fs::read_link(format!("/proc/{pid}/cwd")).err()?;
    if link.kind() != io::ErrorKind::NotFound {
        return None;
    }
    let status = Stat::read(pid).ok()??.exit_status()?;
    // The line was that of the descriptor's process if that one still has the number.
    is_there(pidfd).then(|| ending(status))
}

/// What a status of wait(2) says.
fn ending(status: i32) -> Ending {
    match status & 0x7f {
        0 => u8::try_from(status >> 8 & 0xff).map_or(Ending::Lost, Ending::Exited),
        number => match Signal::from_number(i64::from(number)) {
            Ok(signal) => Ending::Killed { signal, core: status & CORE != 0 },
            Err(_) => Ending::Lost,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::os::identity::open;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<Info>(), 64);
        assert_eq!(std::mem::offset_of!(Info, exit_code), 60);
        assert_eq!(GET_INFO, 0xc040_ff0b);
    }

    #[test]
    fn a_status_is_read_as_wait_means_it() {
        let killed = |signal, core| Ending::Killed { signal, core };
        for (status, expected) in [
            (0, Ending::Exited(0)),
            (7 << 8, Ending::Exited(7)),
            (255 << 8, Ending::Exited(255)),
            (9, killed(Signal::KILL, false)),
            (11 | CORE, killed("SEGV".parse().unwrap(), true)),
            (127, Ending::Lost),
        ] {
            assert_eq!(ending(status), expected, "{status:#x}");
        }
    }

    #[test]
    fn an_end_is_known_once_somebody_has_reaped_it() {
        for (script, expected) in [
            ("read x; exit 7", Ending::Exited(7)),
            ("read x; kill -TERM $$", Ending::Killed { signal: Signal::TERM, core: false }),
        ] {
            let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
            let pidfd = open(child.id().cast_signed()).unwrap().unwrap();
            let pid = child.id().cast_signed();
            assert_eq!(exit_of(pidfd.as_fd()).or(exit_of_zombie(pid, pidfd.as_fd())), None, "it lives");
            drop(child.stdin.take());
            let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            poll(&mut ended, PollTimeout::NONE).unwrap();
            assert_eq!(exit_of(pidfd.as_fd()), None, "nobody has reaped it");
            assert_eq!(exit_of_zombie(pid, pidfd.as_fd()), Some(expected));
            child.wait().unwrap();
            assert_eq!(exit_of_zombie(pid, pidfd.as_fd()), None, "somebody has reaped it");
            let told = exit_of(pidfd.as_fd());
            if told.is_none() && !knows_exits() {
                eprintln!("not tested: ends that the kernel remembers, before Linux 6.15");
                return;
            }
            assert_eq!(told, Some(expected), "{script}");
        }
    }

    #[test]
    fn what_is_no_pidfd_has_no_end() {
        assert_eq!(exit_of(File::open("/dev/null").unwrap().as_fd()), None);
    }

    /// Whether the kernel is Linux 6.15 or later.
    fn knows_exits() -> bool {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(6), Some(15))
    }
}
