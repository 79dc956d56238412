//! An epoll instance of one's own: thousands of descriptors behind one that a runtime watches.
#![expect(unsafe_code, reason = "the epoll calls take raw descriptors and buffers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How many events are taken at once: enough to spare calls, few enough that what they lead to begins soon.
const BATCH: usize = 64;

/// Descriptors that are waited for, each with a number of the caller's.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

/// Room for events.
pub(crate) struct Events([libc::epoll_event; BATCH]);

impl Epoll {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    /// No descriptor or no memory is left (epoll_create1(2)).
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Lets the runtime say when something is ready.
    ///
    /// # Errors
    /// The runtime's own instance has no memory for it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn awaited(self: Rc<Self>) -> io::Result<AsyncFd<Rc<Self>>> {
        // SAFETY: the descriptor is this value's own, never changes, and is closed only with the last reference to it, of
        // which the result has one.
        Ok(unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) }?)
    }

    /// Waits for the other end of this pipe to be closed by everyone.
    ///
    /// # Errors
    /// No memory, or the user's share of watches is used up (epoll_ctl(2)).
    pub(crate) fn add_hangup(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        // A hang-up is told without being asked for.
        self.add(fd, 0, number)
    }

    /// Waits for this descriptor to be readable; of a pidfd that is the end of its process.
    ///
    /// # Errors
    /// No memory, or the user's share of watches is used up (epoll_ctl(2)).
    pub(crate) fn add_readable(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        self.add(fd, libc::EPOLLIN as u32, number)
    }

    /// Waits for a stream to change: something to read, room to write where there was none, its end. Told once a change, so
    /// whoever hears of it reads and writes until the stream would block.
    ///
    /// # Errors
    /// No memory, or the user's share of watches is used up (epoll_ctl(2)).
    pub(crate) fn add_changes(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        self.add(fd, (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32, number)
    }

    /// Waits for something new to read, besides what there is already: told once for each time that something comes.
    ///
    /// # Errors
    /// No memory, or the user's share of watches is used up (epoll_ctl(2)).
    pub(crate) fn add_arrivals(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        self.add(fd, (libc::EPOLLIN | libc::EPOLLET) as u32, number)
    }

    /// Waits for it no more. Closing it is not enough: a child between clone and exec has a copy of it, and as long as
    /// there is a copy epoll goes on reporting it.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // SAFETY: deleting takes no event (epoll_ctl(2)). The only possible error is that the descriptor was not added.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut()) };
    }

    /// The numbers of what is ready now, at most a batch. Never waits.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is ready; else a broken instance (epoll_wait(2)).
    pub(crate) fn ready<'e>(&self, events: &'e mut Events) -> io::Result<impl Iterator<Item = u64> + use<'e>> {
        // SAFETY: the buffer has room for as many events as the call is told.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.0.as_mut_ptr(), BATCH as i32, 0) };
        match usize::try_from(count) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(count) => Ok(events.0.iter().take(count).map(|event| event.u64)),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// As [`Self::ready`], but waits until something is ready, for so long at most. Nothing is ready after that, or after a
    /// signal.
    ///
    /// # Errors
    /// A broken instance (epoll_wait(2)).
    pub(crate) fn wait<'e>(
        &self,
        events: &'e mut Events,
        longest: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = u64> + use<'e>> {
        // Rounded up: whoever wakes up before its time finds nothing to do and waits again.
        let longest = longest.map_or(-1, |wait| i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        // SAFETY: the buffer has room for as many events as the call is told.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.0.as_mut_ptr(), BATCH as i32, longest) };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => 0,
                error => return Err(error),
            },
        };
        Ok(events.0.iter().take(count).map(|event| event.u64))
    }

    fn add(&self, fd: BorrowedFd<'_>, events: u32, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: number };
        // SAFETY: the event lives over the call.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self([libc::epoll_event { events: 0, u64: 0 }; BATCH])
    }
}
