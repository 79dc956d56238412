//! A look at what waits in a pipe, and the end of what is no longer needed there.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{LogError, lines};
use crate::os::fifo::{self, Nowhere};

/// How much memory is kept from one look to the next.
const KEPT: usize = 256 << 10;

/// A pipe that bytes are copied to in order to be read, and a place for them. One serves all streams of a thread, one after
/// the other.
#[derive(Debug)]
pub(crate) struct Scratch {
    out: File,
    into: OwnedFd,
    seen: Vec<u8>,
    nowhere: Nowhere,
}

impl Scratch {
    /// Empty.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> Result<Self, LogError> {
        Self::of(lines::LONGEST)
    }

    pub(super) fn of(size: usize) -> Result<Self, LogError> {
        let (out, into) = fifo::pipe().map_err(LogError::pipe("make"))?;
        // A smaller one shows less at a time, and long lines are split earlier.
        let _ = fifo::resize_pipe(into.as_fd(), size);
        let nowhere = Nowhere::open().map_err(LogError::pipe("make a drain for"))?;
        Ok(Self { out: out.into(), into, seen: Vec::new(), nowhere })
    }

    /// The first bytes that wait in a pipe, which stay there: at most so many, fewer if there are not more or if they don't
    /// fit into the scratch pipe.
    ///
    /// # Errors
    /// The pipe is no pipe, or the scratch pipe is broken.
    pub(crate) fn look(&mut self, pipe: BorrowedFd<'_>, most: usize) -> Result<&[u8], LogError> {
        let copied = match fifo::tee(pipe, self.into.as_fd(), most) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        };
        let copied = copied.map_err(LogError::pipe("look at"))?;
        self.seen.resize(copied, 0);
        if copied <= KEPT {
            self.seen.shrink_to(KEPT);
        }
        self.out.read_exact(&mut self.seen).map_err(LogError::pipe("read"))?;
        Ok(&self.seen)
    }

    /// Takes the first bytes out of a pipe, in which at least so many wait.
    ///
    /// # Errors
    /// Fewer wait, or it is no pipe.
    pub(crate) fn consume(&self, pipe: BorrowedFd<'_>, bytes: usize) -> Result<(), LogError> {
        let mut left = bytes;
        while left > 0 {
            left -= self.nowhere.discard(pipe, left).map_err(LogError::pipe("empty"))?;
        }
        Ok(())
    }
}
