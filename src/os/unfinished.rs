//! What can be seen of a process of which only the number was written down: whoever made it was killed before it could say
//! which process that is.
//!
//! Between clone and exec it has the memory of the one that made it, and with that its environment: that says nothing of
//! the run. But it holds the lock of the state directory, which no program that a service executes does.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::identity::is_there;
use super::mark::{Mark, mark_of};
use super::stat::{is_gone, real_uid};
use super::tree::{Locks, locks};
use crate::model::RunId;

/// What a process says of where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is a launch of this state directory that has not executed its program.
    Launching,
    /// It bears the mark of this run.
    Of(RunId),
    /// It is being executed at this moment, and bears no mark that can be read meanwhile.
    Executing,
    /// It may not be looked at (ptrace(2), `PTRACE_MODE_READ_FSCREDS`), and what everybody may see names no run.
    Hidden,
    /// It names no run.
    NoRun,
}

/// What the process that has this number and this descriptor claims, and its real user; `None` if it has been reaped
/// meanwhile, and of this process itself. The marks are those of the herd, the lock is that of its state directory.
///
/// # Errors
/// The system has no descriptor or no `/proc` to look with: then nobody knows.
pub(crate) fn claim_of(
    pid: i32,
    pidfd: BorrowedFd<'_>,
    herd: u64,
    lock: BorrowedFd<'_>,
) -> io::Result<Option<(Claim, u32)>> {
    if pid.unsigned_abs() == std::process::id() {
        return Ok(None);
    }
    let claim = claim(pid, pidfd, herd, lock)?;
    let uid = match real_uid(pid) {
        Err(error) if is_gone(&error) => None,
        uid => uid?,
    };
    // What was read is of the descriptor's process if that one still has the number.
    Ok(claim.zip(uid).filter(|_| is_there(pidfd)))
}

fn claim(pid: i32, pidfd: BorrowedFd<'_>, herd: u64, lock: BorrowedFd<'_>) -> io::Result<Option<Claim>> {
    // The child moves the lock to another number, once: who reads the list of its files meanwhile may pass by both.
    if holds(pid, lock)? || holds(pid, lock)? {
        return Ok(Some(Claim::Launching));
    }
    if let Locks::Mark(run) = locks(pid.unsigned_abs(), herd)? {
        return Ok(Some(Claim::Of(run)));
    }
    Ok(mark_of(pid, pidfd)?.map(|mark| match mark {
        Mark::Of { run, .. } => Claim::Of(run),
        Mark::NotYet => Claim::Executing,
        Mark::Hidden => Claim::Hidden,
        Mark::Missing => Claim::NoRun,
    }))
}

/// Whether a process has this file open. To read where a link leads asks no file system.
fn holds(pid: i32, file: BorrowedFd<'_>) -> io::Result<bool> {
    let sought = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let files = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        files => files?,
    };
    // One that was closed meanwhile has no link.
    let mut files = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    Ok(files.any(|file| file == sought))
}
