//! Processes that are held while something is done about them.

#[cfg(test)]
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::peer::exit_descriptor;
use super::super::pidfd::{self, NotSent, Process};
use super::super::stat::{self, Facts};
use super::children::{children_of, handed_over, scan_for_children_of};
use crate::model::Signal;

/// A process that is held by a pidfd: a signal reaches it or nobody.
#[derive(Debug)]
pub(crate) struct Kin {
    pid: u32,
    fd: OwnedFd,
}

impl Kin {
    /// A child of this process that is not reaped, or somebody else's that is held already.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn of(process: &Process) -> io::Result<Self> {
        let fd = match process.fd() {
            Some(fd) => fd.try_clone_to_owned()?,
            // Its number is nobody else's as long as it is not reaped.
            None => exit_descriptor(process.pid())?,
        };
        Ok(Self { pid: process.pid(), fd })
    }

    /// Whoever has this number now. To be the one that was meant it has to be proved, by facts that are asked after this.
    ///
    /// # Errors
    /// Nobody has it (ESRCH), or no descriptor is left.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, fd: exit_descriptor(pid)? })
    }

    /// The same process, held once more.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self { pid: self.pid, fd: self.fd.try_clone()? })
    }

    /// The number that it has, or had.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still has its number: it lives, or has ended and is not reaped.
    pub(crate) fn is_there(&self) -> bool {
        self.send(0) != Err(NotSent::Gone)
    }

    /// Whether all its threads have ended. Its children are others' by then. (Its state says so too early: it is that of the
    /// first thread.)
    pub(crate) fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Where it belongs; `None` if it is reaped.
    ///
    /// # Errors
    /// No descriptor is left to look with.
    pub(crate) fn facts(&self) -> io::Result<Option<Facts>> {
        // What has the number while it is read is this one, if this one still has it afterwards.
        Ok(stat::facts(self.pid)?.filter(|_| self.is_there()))
    }

    /// Its real user; `None` if it is reaped.
    ///
    /// # Errors
    /// No descriptor is left to look with.
    pub(crate) fn real_uid(&self) -> io::Result<Option<u32>> {
        let uid = stat::unless_short(stat::real_uid(self.pid.cast_signed()))?.flatten();
        Ok(uid.filter(|_| self.is_there()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is reaped, or the system does not permit it.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), NotSent> {
        self.send(signal.number())
    }

    /// Its children, held.
    ///
    /// # Errors
    /// There are not enough descriptors.
    pub(crate) fn children(&self) -> io::Result<Vec<Self>> {
        let listed = match children_of(self.pid) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => scan_for_children_of(self.pid)?,
            listed => listed?,
        };
        let children = held(listed, self.pid)?;
        // They named its number as their parent's. If it still has that, they meant it and no successor.
        Ok(if self.is_there() { children } else { Vec::new() })
    }

    /// The same as a child of this process, to be reaped. What is no child gives [`Ending::Lost`](crate::model::Ending)
    /// when it is.
    #[cfg(test)]
    pub(crate) fn into_child(self) -> Process {
        Process::new(self.pid.cast_signed(), Some(self.fd))
    }

    /// Holds it until it is killed. What may not be signalled, or has ended, is not held.
    pub(super) fn stop(&self) {
        let _ = self.send(libc::SIGSTOP);
    }

    fn send(&self, number: i32) -> Result<(), NotSent> {
        pidfd::send(self.fd.as_fd(), self.pid.cast_signed(), number)
    }
}

impl AsFd for Kin {
    /// Readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// This process's own children that are not known to it, held: what has outlived its parent somewhere below, living or
/// ended. It takes 0.5 µs for each child that this process has made on its first thread. A child keeps its number until this process reaps it, so that a known number is a known child.
///
/// # Errors
/// The kernel has no lists of children (`Unsupported`; then nothing escaped is found but by group), or there are not enough
/// descriptors.
pub(crate) fn orphans(known: impl Fn(u32) -> bool) -> io::Result<Vec<Kin>> {
    let own = std::process::id();
    held(handed_over()?.into_iter().filter(|&child| !known(child)), own)
}

/// All that descends from these now, them not included, parents before children. What is born meanwhile may be missing.
///
/// # Errors
/// There are not enough descriptors.
#[cfg(test)]
pub(crate) fn descendants(of: &[Kin]) -> io::Result<Vec<Kin>> {
    let mut seen: HashSet<u32> = of.iter().map(Kin::pid).collect();
    let mut found: Vec<Kin> = Vec::new();
    for root in of {
        found.extend(root.children()?.into_iter().filter(|child| seen.insert(child.pid)));
    }
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let children = parent.children()?;
        found.extend(children.into_iter().filter(|child| seen.insert(child.pid)));
        next += 1;
    }
    Ok(found)
}

/// Holds those of these numbers whose processes are children of this parent.
pub(super) fn held(listed: impl IntoIterator<Item = u32>, parent: u32) -> io::Result<Vec<Kin>> {
    let mut held = Vec::new();
    for pid in listed {
        match Kin::open(pid) {
            Ok(child) => {
                // Or somebody else has the number since the list was read, or it has another parent now.
                if child.facts()?.is_some_and(|facts| facts.parent == parent) {
                    held.push(child);
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}
