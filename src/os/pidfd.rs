//! A child of this process.
//!
//! The kernel gives a child's number to nobody else while the child is not reaped, be it a zombie, nor while the number is
//! still the id of a group. So signals to the number, and to the group that has it, are safe exactly as long as the child
//! has not been reaped. That is what [`Process`] stands for: reaping consumes it, and nothing else here knows a number.
//!
//! In a program where others may wait for any child, it is also held by a descriptor that never means another process
//! (pidfd_open(2)), and the end of the process can be awaited by it. One that is alone with its children does without:
//! every open descriptor makes each later launch slower, and SIGCHLD tells of ends, too.
#![expect(unsafe_code, reason = "waitid, kill and pidfd_send_signal take raw numbers and buffers")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use super::exit_info::{exit_of, exit_of_zombie};
use super::identity::Identity;
use super::stat::{Stat, real_uid};
use crate::model::{Ending, Signal, StopScope};

/// A child that this process has not reaped, or somebody else's child that is held by a descriptor.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    fd: Option<OwnedFd>,
    /// Not our child: whoever reaps it is told how it ended.
    foreign: bool,
}

/// A child that has ended, and is reaped when this is dropped.
#[derive(Debug)]
pub(crate) struct Remains(Process);

impl Remains {
    /// The number that is free once this is dropped.
    pub(crate) fn number(&self) -> i32 {
        self.0.pid
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // How it ended is known. An error says that it is reaped already.
        let _ = self.0.wait(libc::WEXITED | libc::WNOHANG);
    }
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
    pub(super) fn new(pid: i32, fd: Option<OwnedFd>) -> Self {
        Self { pid, fd, foreign: false }
    }

    /// A child that this process had before it executed its present program, and has not reaped since.
    pub(crate) fn kept(pid: i32) -> Self {
        Self::new(pid, None)
    }

    /// One that another process made, and that others reap.
    pub(crate) fn foreign(pid: i32, fd: OwnedFd) -> Self {
        Self { pid, fd: Some(fd), foreign: true }
    }

    /// What names it for as long as the machine runs, where it is held by a descriptor.
    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::of(self.pid, self.fd.as_ref()?.as_fd()).ok()
    }

    /// From now on SIGCHLD tells of its end, in a program that is alone with its children, and nothing is open for it.
    pub(crate) fn let_go(&mut self) {
        if !self.foreign {
            self.fd = None;
        }
    }

    /// Its number, for people.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Its number, to know it by when the system names it. Whoever signals by it names another process some day.
    pub(crate) fn number(&self) -> i32 {
        self.pid
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
        if let (true, Some(fd)) = (self.foreign, &self.fd) {
            send_to_group(fd.as_fd(), signal);
            return self.signal(signal);
        }
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
    ///
    /// `noted` is told how it ended, of a child of ours while there still is a zombie to ask once more.
    pub(crate) fn reap(self, scope: StopScope, noted: impl FnOnce(Ending)) -> Result<Ending, Self> {
        self.end(scope, noted).map(|(ending, _remains)| ending)
    }

    /// As [`Self::reap`], but that it is reaped later, when what comes back is dropped: until then its number is nobody
    /// else's.
    pub(crate) fn end(self, scope: StopScope, noted: impl FnOnce(Ending)) -> Result<(Ending, Option<Remains>), Self> {
        if let (true, Some(fd)) = (self.foreign, &self.fd) {
            let ending = end_of_foreign(self.pid, fd.as_fd(), scope);
            noted(ending);
            return Ok((ending, None));
        }
        let ending = match self.ending() {
            Ok(None) => return Err(self),
            Ok(Some(ending)) => ending,
            Err(_) => return Ok((Ending::Lost, None)),
        };
        noted(ending);
        if scope == StopScope::Tree {
            // SAFETY: sending a signal touches no memory; the child is a zombie, so the group is its own. An error says
            // that nobody in the group may be signalled, and nothing can be done about that here.
            unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        }
        Ok((ending, Some(Remains(self))))
    }

    /// The kernel's letter for its state (proc_pid_stat(5)).
    pub(crate) fn state(&self) -> Option<char> {
        Stat::read(self.pid).ok()??.state()
    }

    /// Whether it is somebody else's, and how it ended is not known yet.
    pub(crate) fn is_fading(&self) -> bool {
        self.foreign && self.fd.as_ref().is_none_or(|fd| exit_of_foreign(self.pid, fd.as_fd()).is_none())
    }

    /// Whether it has ended, or is no child of ours (any more).
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.ending(), Ok(None))
    }

    /// How it ended, without reaping it; `None` while it lives, an error if it is no child (any more).
    fn ending(&self) -> io::Result<Option<Ending>> {
        self.wait(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    }

    fn wait(&self, options: i32) -> io::Result<Option<Ending>> {
        // SAFETY: all zeros is a valid siginfo_t, and how waitid(2) leaves it when nothing has happened.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let (kind, id) = match &self.fd {
            Some(fd) => (libc::P_PIDFD, fd.as_raw_fd()),
            None => (libc::P_PID, self.pid),
        };
        // SAFETY: the buffer lives over the call.
        if unsafe { libc::waitid(kind, id.unsigned_abs(), &raw mut info, options) } != 0 {
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
        match &self.fd {
            Some(fd) => send(fd.as_fd(), self.pid, number),
            None => send_by_number(self.pid, number),
        }
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
    not_sent(pid)
}

/// As [`send`], to a child that is not reaped.
fn send_by_number(pid: i32, number: i32) -> Result<(), NotSent> {
    // SAFETY: sending a signal touches no memory; the number is that of our own child, which is not reaped.
    if unsafe { libc::kill(pid, number) } == 0 {
        return Ok(());
    }
    not_sent(pid)
}

fn not_sent(pid: i32) -> Result<(), NotSent> {
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EPERM) => Err(NotSent::NotPermitted(real_uid(pid).ok().flatten().unwrap_or(0))),
        _ => Err(NotSent::Gone),
    }
}

impl Process {
    /// What becomes readable when it has ended, where it is held by such a thing.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
}

/// How somebody else's child ended, where the kernel says so; what is left of its group is killed where that belongs to it.
fn end_of_foreign(pid: i32, fd: BorrowedFd<'_>, scope: StopScope) -> Ending {
    let ending = exit_of_foreign(pid, fd);
    if scope == StopScope::Tree {
        send_to_group(fd, Signal::KILL);
    }
    // It may have been reaped since.
    ending.or_else(|| exit_of(fd)).unwrap_or(Ending::Lost)
}

fn exit_of_foreign(pid: i32, fd: BorrowedFd<'_>) -> Option<Ending> {
    exit_of_zombie(pid, fd).or_else(|| exit_of(fd))
}

/// Sends a signal to the group that has the number of this process. The kernel gives the number to nobody else as long as
/// the group is there, and the descriptor is of the number's owner, whether that still lives or not. Linux before 6.9 does
/// not know how; there, only what is found in other ways is reached.
fn send_to_group(fd: BorrowedFd<'_>, signal: Signal) {
    let (info, flags) = (ptr::null::<libc::siginfo_t>(), libc::PIDFD_SIGNAL_PROCESS_GROUP);
    // SAFETY: without a siginfo_t the call takes no memory (pidfd_send_signal(2)).
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal.number(), info, flags) };
}
