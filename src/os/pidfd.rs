//! A child of this process, held by a descriptor that never means another one (pidfd_open(2)).
//!
//! The group of a child has the child's number, and the kernel gives a number to nobody else while it is still the id of
//! a zombie or of a group. So a signal to the group is safe exactly as long as the child has not been reaped. That is
//! what [`Process`] stands for: reaping consumes it, and nothing else here knows a number.
#![expect(unsafe_code, reason = "waitid, kill and pidfd_send_signal take raw numbers and buffers")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use crate::model::{Ending, Signal, StopScope};

/// A child that this process has not reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    fd: OwnedFd,
}

/// Why a signal was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The process has been reaped.
    Gone,
    /// It belongs to this real user (kill(2)).
    NotPermitted(u32),
}

impl Process {
    /// A child that was just made and has not been waited for.
    pub(super) fn new(pid: i32, fd: OwnedFd) -> Self {
        Self { pid, fd }
    }

    /// Its number, for people.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Somebody else has reaped it, or the system does not permit it.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), NotSent> {
        self.send(signal.number())
    }

    /// Sends a signal to its process group, which is what began with it and has made no group or session of its own.
    ///
    /// # Errors
    /// Somebody else has reaped it, or the system does not permit to signal the child itself.
    pub(crate) fn signal_group(&self, signal: Signal) -> Result<(), NotSent> {
        // Another part of the program may have reaped it, by waiting for any child. Then its number is free.
        self.ending().map_err(|_| NotSent::Gone)?;
        // SAFETY: sending a signal touches no memory; the number is that of our own child, which is not reaped.
        let sent = unsafe { libc::kill(-self.pid, signal.number()) } == 0;
        if sent {
            // The group counts as reached when any member of it was. Whether the child itself may be signalled is asked
            // with the signal that is none.
            return self.send(0);
        }
        // It has not got its own group yet, or nobody in it may be signalled: the child's own answer says which.
        self.signal(signal)
    }

    /// Reaps it if it has ended, after killing what is left of its group where that belongs to it. Gives it back if it
    /// lives.
    pub(crate) fn reap(self, scope: StopScope) -> Result<Ending, Self> {
        match self.ending() {
            Ok(None) => return Err(self),
            Ok(Some(_)) => {}
            Err(_) => return Ok(Ending::Lost),
        }
        if scope == StopScope::Tree {
            // SAFETY: sending a signal touches no memory; the child is a zombie, so the group is its own. An error says
            // that nobody in the group may be signalled, and nothing can be done about that here.
            unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        }
        Ok(self.wait(libc::WEXITED | libc::WNOHANG).ok().flatten().unwrap_or(Ending::Lost))
    }

    /// The kernel's letter for its state (proc_pid_stat(5)).
    pub(crate) fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The name in parentheses may hold any byte, parentheses too: the state follows the last one.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// How it ended, without reaping it; `None` while it lives, an error if it is no child (any more).
    fn ending(&self) -> io::Result<Option<Ending>> {
        self.wait(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    }

    fn wait(&self, options: i32) -> io::Result<Option<Ending>> {
        // SAFETY: all zeros is a valid siginfo_t, and how waitid(2) leaves it when nothing has happened.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let id = self.fd.as_raw_fd().unsigned_abs();
        // SAFETY: the buffer lives over the call.
        if unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, options) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: waitid(2) fills these fields, or leaves them zero.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        let killed = |core| match Signal::from_number(i64::from(status)) {
            Ok(signal) => Ending::Killed { signal, core },
            Err(_) => Ending::Lost,
        };
        Ok(Some(match info.si_code {
            libc::CLD_KILLED => killed(false),
            libc::CLD_DUMPED => killed(true),
            _ => u8::try_from(status & 0xff).map_or(Ending::Lost, Ending::Exited),
        }))
    }

    fn send(&self, number: i32) -> Result<(), NotSent> {
        send(self.fd.as_fd(), self.pid, number)
    }
}

/// Sends a signal, or with the number 0 none, to the process of a pidfd. `pid` is its number, for the answer only.
pub(super) fn send(pidfd: BorrowedFd<'_>, pid: i32, number: i32) -> Result<(), NotSent> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo_t the call takes no memory (pidfd_send_signal(2)).
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, info, 0) };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EPERM) => Err(NotSent::NotPermitted(real_uid(pid).unwrap_or(0))),
        _ => Err(NotSent::Gone),
    }
}

/// The user whose process it is now (proc_pid_status(5)).
fn real_uid(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
