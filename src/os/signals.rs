//! Signals as something to read, and the dispositions that a role has.
#![expect(unsafe_code, reason = "signalfd's records are read as bytes")]

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::raw::syscall;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};

/// How many records are read at once.
const BATCH: usize = 32;

/// Signals that this process takes by reading them. They stay blocked.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

/// One signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
    /// A child ended or stopped: this one, and perhaps others of which nothing is told.
    Child(i32),
}

impl Signals {
    /// Takes SIGTERM, SIGINT, SIGHUP and SIGCHLD from now on. To be called before the first child is made, and in a process
    /// whose other threads hold them back.
    ///
    /// # Errors
    /// No descriptor is left (signalfd(2)).
    pub(crate) fn take() -> io::Result<Self> {
        let set = taken();
        // Whoever started this process may have had them ignored: children would vanish unseen, and so would the rest.
        set.iter().try_for_each(default)?;
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        // SAFETY: the mask lives over the call; a new descriptor is made.
        let fd = unsafe { libc::signalfd(-1, set.as_ref(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// What has come since it was last asked. Never waits.
    pub(crate) fn read(&self, mut each: impl FnMut(Taken)) {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        loop {
            let mut records = [const { MaybeUninit::<libc::signalfd_siginfo>::uninit() }; BATCH];
            // SAFETY: the buffer has room for as many bytes as the call is told.
            let read = unsafe { libc::read(self.0.as_raw_fd(), records.as_mut_ptr().cast(), BATCH * SIZE) };
            // WouldBlock, of which there is no other kind here.
            let Ok(read) = usize::try_from(read) else { return };
            for record in &records[..read / SIZE] {
                // SAFETY: the kernel has written this record whole.
                let record = unsafe { record.assume_init_ref() };
                match record.ssi_signo as i32 {
                    libc::SIGCHLD => each(Taken::Child(record.ssi_pid as i32)),
                    libc::SIGHUP => each(Taken::Reload),
                    _ => each(Taken::End),
                }
            }
            if read < BATCH * SIZE {
                return;
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Holds back what [`Signals`] will take, in this thread and in those that it makes.
///
/// # Errors
/// There is none (sigprocmask(2)).
pub(crate) fn hold_signals() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&taken()), None).map_err(io::Error::from)
}

fn taken() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect()
}

/// The signals of which a child may have inherited that they are ignored, as exec leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ignored(pub(super) u64);

impl Ignored {
    /// Those of this process, for one that changes none from now on.
    pub(crate) fn now() -> Self {
        let is_ignored = |signal: usize| {
            let mut action = [0_usize; 4];
            let (old, size) = (action.as_mut_ptr() as usize, size_of::<u64>());
            // SAFETY: nothing is changed, and there is room for the largest struct sigaction in use, which begins with the
            // handler. The raw call knows the signals that the C library keeps for itself, too.
            let result = unsafe { syscall(libc::SYS_rt_sigaction, [signal, 0, old, size, 0, 0]) };
            result != 0 || action[0] == libc::SIG_IGN
        };
        Self((1..=64).filter(|signal| is_ignored(*signal)).fold(0, |set, signal| set | 1 << (signal - 1)))
    }
}

impl Default for Ignored {
    /// All of them, since nobody knows.
    fn default() -> Self {
        Self(u64::MAX)
    }
}

/// From now on this process ignores what another one hears for it.
pub(crate) fn leave_signals_to_the_keeper() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: ignoring runs no code of ours. It can't fail for these signals.
        let _ = unsafe { sigaction(signal, &SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty())) };
    }
}

fn default(signal: Signal) -> io::Result<()> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default runs no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// A child of this process that has ended and is not reaped, or none.
pub(crate) fn ended_child() -> Option<i32> {
    // SAFETY: all zeros is a valid siginfo_t, and how waitid(2) leaves it when nothing has happened.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the buffer lives over the call.
    if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } != 0 {
        return None;
    }
    // SAFETY: waitid(2) fills this field, or leaves it zero.
    Some(unsafe { info.si_pid() }).filter(|pid| *pid != 0)
}

/// Reaps a child of which nothing is known: an orphan that became ours. False if it has not ended, for it may only have been
/// stopped, or is no child (any more).
pub(crate) fn reap_stranger(pid: i32) -> bool {
    // SAFETY: the status is not asked for.
    pid > 0 && unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } == pid
}
