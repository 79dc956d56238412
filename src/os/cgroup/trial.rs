//! The proof that leaves work: a process begins in one and is ended with it.
//!
//! Whether the calls are there, whether a sandbox or a security module allows them, whether the cgroup's rights, type and
//! delegation are what they seem: no bit says all of it, so it is tried.
#![expect(unsafe_code, reason = "a process is made by hand")]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::super::child::change_mask;
use super::super::pidfd::Process;
use super::super::raw::{self, CloneArgs, INTO_CGROUP, syscall};
use super::super::stack::{Stack, Stacks};
use super::leaf::Leaf;
use super::unusable::Unusable;
use crate::model::{Ending, Signal, StopScope};

/// The trial's own leaf. The kernel's files in a cgroup all have a dot in their names.
const NAME: &str = "trial";
/// A process in the leaf ends by itself after this long, should nobody be left to end it.
const LIFE_SECONDS: i64 = 10;
/// How long the end of one that was killed may take, in all. It is soon there, unless the machine is in great trouble; and
/// somebody may be waiting for a launch.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries a leaf in this place.
pub(super) fn prove(place: BorrowedFd<'_>, path: &Path) -> Result<(), Unusable> {
    let path = || path.join(NAME);
    let make = |source: io::Error| Unusable::Make { path: path(), source };
    match mkdirat(place, NAME, Mode::from_bits_truncate(0o755)) {
        // A daemon that was killed in its trial has left it.
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(make(error.into())),
    }
    let leaf = Leaf::open(place, Path::new(NAME)).map_err(make)?;
    let tried = live_and_die(&leaf, path);
    // What can't be removed is in nobody's way, and is used by the next trial.
    let _ = unlinkat(place, NAME, UnlinkatFlags::RemoveDir);
    tried
}

fn live_and_die(leaf: &Leaf, path: impl Fn() -> PathBuf) -> Result<(), Unusable> {
    let stack = Stacks::default().take(0).map_err(|source| Unusable::Begin { path: path(), source })?;
    let process = begin(leaf, &stack).map_err(|source| Unusable::Begin { path: path(), source })?;
    let until = Instant::now() + PATIENCE;
    let killed = leaf.kill();
    let with_leaf = killed.is_ok() && ends(&process, until);
    if !with_leaf {
        // It need not live out its time.
        let _ = process.signal(Signal::KILL);
        ends(&process, until);
    }
    let ending = process.reap(StopScope::Main, |_| ());
    killed.map_err(|source| Unusable::Kill { path: path(), source })?;
    match (with_leaf, ending) {
        (true, Ok(Ending::Killed { signal: Signal::KILL, .. })) => Ok(()),
        _ => Err(Unusable::Survived { path: path() }),
    }
}

/// Waits for its end. False if that takes too long.
fn ends(process: &Process, until: Instant) -> bool {
    let Some(pidfd) = process.fd() else { return false };
    let mut ended = [PollFd::new(pidfd, PollFlags::POLLIN)];
    loop {
        let wait = PollTimeout::try_from(until.saturating_duration_since(Instant::now()));
        match poll(&mut ended, wait.unwrap_or(PollTimeout::ZERO)) {
            // Its own end is a signal to this process, for one.
            Err(Errno::EINTR) => {}
            ended => return ended == Ok(1),
        }
    }
}

/// A copy of this process that begins in the leaf and does nothing. It has its own memory, so that one which can't be
/// ended hurts nobody.
fn begin(leaf: &Leaf, stack: &Stack) -> io::Result<Process> {
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: libc::CLONE_PIDFD as u64 | INTO_CGROUP,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.bottom(),
        stack_size: stack.size(),
        cgroup: u64::from(leaf.as_fd().as_raw_fd().unsigned_abs()),
        ..CloneArgs::default()
    };
    // No handler of this process's may run in the copy.
    let blocked = u64::MAX;
    let mut before = 0;
    // SAFETY: both masks live over the calls and have the kernel's size. The stack in the child's memory is its own, and
    // it reads no argument.
    let result = unsafe {
        change_mask(&blocked, &raw mut before);
        let result = raw::clone3(&args, linger, ptr::null_mut());
        change_mask(&before, ptr::null_mut());
        result
    };
    let pid = i32::try_from(result).map_err(|_| io::ErrorKind::Other)?;
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(pid.wrapping_neg()));
    }
    // SAFETY: clone3 has just made the descriptor, for nobody else.
    Ok(Process::new(pid, Some(unsafe { OwnedFd::from_raw_fd(pidfd) })))
}

/// What the copy does. It holds no descriptor, for the lock is on one, and locks in the C library may be somebody else's.
unsafe extern "C" fn linger(_: *mut c_void) -> ! {
    let time = [LIFE_SECONDS, 0];
    // SAFETY: no descriptor is used here, and the time lives over the call.
    unsafe {
        syscall(libc::SYS_close_range, [0, u32::MAX as usize, 0, 0, 0, 0]);
        syscall(libc::SYS_nanosleep, [ptr::from_ref(&time) as usize, 0, 0, 0, 0, 0]);
    }
    loop {
        // SAFETY: it does not come back.
        unsafe { syscall(libc::SYS_exit_group, [0; 6]) };
    }
}
