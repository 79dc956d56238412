//! Resource limits in the kernel's numbers.

use std::os::fd::AsFd;

use nix::sys::resource::{Resource as Number, getrlimit, setrlimit};

use super::role::raised;
use crate::model::{Bound, Limit, Resource};

/// One limit as prlimit(2) takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelLimit {
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// RLIM64_INFINITY, which is not that of `rlim_t` on every C library.
const INFINITY: u64 = u64::MAX;

impl From<Limit> for KernelLimit {
    fn from(limit: Limit) -> Self {
        let value = |bound| match bound {
            Bound::At(value) => value,
            Bound::Unlimited => INFINITY,
        };
        Self { soft: value(limit.soft), hard: value(limit.hard) }
    }
}

/// The kernel's number of a resource.
pub(super) fn number(resource: Resource) -> usize {
    let number = match resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    };
    number as usize
}

/// How many files this process may have open (RLIMIT_NOFILE); `None` where the system does not say.
pub(crate) fn open_files() -> Option<Limit> {
    let bound = |value: u64| if value == libc::RLIM_INFINITY { Bound::Unlimited } else { Bound::At(value) };
    let (soft, hard) = getrlimit(Number::RLIMIT_NOFILE).ok()?;
    Some(Limit { soft: bound(soft), hard: bound(hard) })
}

/// Raises the number of files that this process may have open as far as it may: a burst has a descriptor for each launch
/// in flight, and each service that an earlier keeper launched has one.
pub(crate) fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Number::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Number::RLIMIT_NOFILE, hard, hard)
    {
        log::warn!("may have only {soft} files open: {error}");
    }
}

/// Descriptors that a herder of a thousand services has, and more: of each its process, and a FIFO or two.
const MANY: i32 = 4096;

/// Has the kernel's table of this process's descriptors made for many of them (32 KiB of the kernel's). To be called as long as
/// there is one thread: with more, each time that the table grows, which is at every power of two, its thread waits until no
/// processor can be reading the old one, and that takes 10 ms and more (`expand_fdtable`, synchronize_rcu()).
pub(crate) fn make_room_for_descriptors() {
    let most = getrlimit(Number::RLIMIT_NOFILE).map_or(0, |(soft, _)| i32::try_from(soft).unwrap_or(i32::MAX));
    // Nothing is lost but time where it can't be done. The descriptor itself is closed again.
    drop(raised(std::io::stderr().as_fd(), MANY.min(most) - 1));
}
