//! A place where open files are kept without being open in any process's table: in messages of a socket that nobody reads.
//!
//! What waits in a pipe is gone with its last descriptor. The herder, which reads the pipes, may end at any time, and the keeper
//! shall not have a descriptor for each: every launch would copy and close them all. A descriptor that is on its way in a
//! message (`SCM_RIGHTS`, unix(7)) holds its file as well, for as long as somebody has the socket open.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

/// How many descriptors a message has at most (SCM_MAX_FD of the kernel is 253).
const AT_ONCE: usize = 250;

/// Two ends of one socket, both held by all who share the shelf.
#[derive(Debug)]
pub(crate) struct Shelf {
    into: OwnedFd,
    out: OwnedFd,
}

impl Shelf {
    /// An empty one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (into, out) = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags)?;
        Ok(Self { into, out })
    }

    /// One of which somebody else has the ends, too.
    pub(crate) fn of(into: OwnedFd, out: OwnedFd) -> Self {
        Self { into, out }
    }

    /// The same one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { into: self.into.try_clone()?, out: self.out.try_clone()? })
    }

    /// Both ends, to be given to others.
    pub(crate) fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.into.as_fd(), self.out.as_fd()]
    }

    /// Puts these there besides what is there. `mark` is a number by which [`Self::clear`] knows them.
    ///
    /// # Errors
    /// There is no room (`WouldBlock`), or more are on their way than the user may have open (ETOOMANYREFS).
    pub(crate) fn put(&self, files: &[RawFd], mark: u64) -> io::Result<()> {
        for files in files.chunks(AT_ONCE) {
            let text = mark.to_le_bytes();
            let rights = [ControlMessage::ScmRights(files)];
            loop {
                match sendmsg::<()>(self.into.as_raw_fd(), &[IoSlice::new(&text)], &rights, MsgFlags::empty(), None) {
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                    Ok(_) => break,
                }
            }
        }
        Ok(())
    }

    /// Lets go of the oldest ones up to the first that was put with this mark, or of all.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn clear(&self, except: Option<u64>) -> io::Result<()> {
        while self.oldest()?.is_some_and(|mark| Some(mark) != except) {
            self.receive(MsgFlags::MSG_CMSG_CLOEXEC)?;
        }
        Ok(())
    }

    /// The mark of the oldest ones that are there.
    fn oldest(&self) -> io::Result<Option<u64>> {
        self.receive(MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_PEEK)
    }

    /// Receives a message, and closes what comes with it.
    fn receive(&self, flags: MsgFlags) -> io::Result<Option<u64>> {
        let mut text = [0; size_of::<u64>()];
        let mut space = cmsg_space!([RawFd; AT_ONCE]);
        loop {
            let mut slices = [IoSliceMut::new(&mut text)];
            let received = recvmsg::<()>(self.out.as_raw_fd(), &mut slices, Some(&mut space), flags);
            let received = match received {
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(None),
                received => received?,
            };
            for message in received.cmsgs()? {
                if let ControlMessageOwned::ScmRights(files) = message {
                    files.into_iter().for_each(close);
                }
            }
            return Ok(Some(u64::from_le_bytes(text)));
        }
    }
}

/// Closes a descriptor that has just come.
#[expect(unsafe_code, reason = "recvmsg gives raw numbers")]
fn close(number: RawFd) {
    // SAFETY: the kernel has made it for this process, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::super::fifo;
    use super::*;

    #[test]
    fn a_pipe_on_the_shelf_keeps_its_bytes_when_nobody_has_it_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web");
        let shelf = Shelf::new().unwrap();
        let fifo = fifo::open_fifo(&path).unwrap();
        shelf.put(&[fifo.as_raw_fd()], 1).unwrap();
        File::from(fifo).write_all(b"last words").unwrap();

        let mut again = File::from(fifo::open_fifo(&path).unwrap());
        let mut words = [0; 10];
        again.read_exact(&mut words).unwrap();
        assert_eq!(&words, b"last words");

        // Let go of, it keeps nothing.
        drop(again);
        shelf.clear(None).unwrap();
        assert_eq!(shelf.oldest().unwrap(), None);
    }

    #[test]
    fn what_was_put_later_stays_when_the_older_ones_go() {
        let shelf = Shelf::new().unwrap();
        let pipes: Vec<_> = (0..600).map(|_| fifo::pipe().unwrap()).collect();
        let ends: Vec<RawFd> = pipes.iter().map(|(_, into)| into.as_raw_fd()).collect();
        shelf.put(&ends[..300], 1).unwrap();
        shelf.put(&ends[300..], 2).unwrap();
        let is_held = |pipe: &OwnedFd| {
            let error = File::from(pipe.try_clone().unwrap()).read(&mut [0]);
            // Without a writer it is at its end.
            error.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        // A child that another test is making just now may have a copy until it executes its program.
        let ends = |pipe: &OwnedFd| {
            poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16)).unwrap() == 1
        };
        let out: Vec<OwnedFd> = pipes.into_iter().map(|(out, _)| out).collect();
        assert!(out.iter().all(is_held));
        shelf.clear(Some(2)).unwrap();
        assert!(out[..300].iter().all(ends));
        assert!(out[300..].iter().all(is_held));
        shelf.clear(Some(2)).unwrap();
        assert!(out[300..].iter().all(is_held));
    }
}
