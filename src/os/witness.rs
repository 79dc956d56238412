//! Processes of a keeper's, held by its herder: should that keeper go, the one that takes its place learns how they ended
//! meanwhile, though others have reaped them (`PIDFD_GET_INFO`, Linux 6.15).
//!
//! The descriptors are left open over the exec that makes a keeper of the herder. They need no list: the inode of a pidfd
//! is its process's own identity.
#![expect(unsafe_code, reason = "descriptors that an earlier program of this process has left")]

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::exit_info::exit_of;
use super::identity::{Identity, inode, open};
use super::role::given;
use crate::model::Ending;

/// One that is held. It keeps nobody from reaping the process.
#[derive(Debug)]
pub(crate) struct Witness(OwnedFd);

impl Witness {
    /// The process that has this number now: if that is another one by now, nobody ever asks for it by its identity. `None`
    /// where it has gone, or no descriptor is left: then it is done without.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        open(pid.cast_signed()).ok().flatten().map(Self)
    }

    /// Its number, to be left open over an exec.
    pub(crate) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Those that an earlier program of this process has left.
#[derive(Debug, Default)]
pub(crate) struct Witnesses(HashMap<u64, OwnedFd>);

impl Witnesses {
    /// Takes all descriptors of processes from this number on. To be called before this program opens any.
    pub(crate) fn inherited(lowest: RawFd) -> Self {
        let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Self::default() };
        let numbers: Vec<RawFd> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        let witness = |number: RawFd| {
            // The descriptor of the list itself is closed by now, and another thread's may have its number: neither is a pidfd
            // that was left open over an exec.
            // SAFETY: asking for the flags touches no memory.
            let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
            if number < lowest || flags != 0 {
                return None;
            }
            // SAFETY: it is open, nobody closes it while this looks, and it is not closed here.
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            let inode = inode(borrowed).ok().flatten()?;
            Some((inode, given(number).ok()?))
        };
        Self(numbers.into_iter().filter_map(witness).collect())
    }

    /// How a process ended, where that is known.
    pub(crate) fn ending(&self, identity: Identity) -> Option<Ending> {
        let Identity::Inode(inode) = identity else { return None };
        exit_of(self.0.get(&inode)?.as_fd())
    }
}
