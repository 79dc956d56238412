//! What every launch needs, made before it: a restart waits for whatever is made in it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::pipe::pipe;
use super::stack::{Stack, Stacks};

/// What is there for launches to come.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    stacks: Stacks,
    /// A pipe of which nothing is known yet, its reading end first.
    pipe: Option<(OwnedFd, OwnedFd)>,
    /// `/dev/null`, which all launches share.
    null: Option<OwnedFd>,
}

impl Stock {
    /// A pipe for one launch ([`pipe`]).
    ///
    /// # Errors
    /// There was none, and no descriptor is left (pipe2(2)).
    pub(super) fn take_pipe(&mut self) -> io::Result<(OwnedFd, OwnedFd)> {
        self.pipe.take().map_or_else(pipe, Ok)
    }

    /// `/dev/null`, by a number above 2; none where it can't be opened, which the launch itself will tell.
    pub(super) fn null(&mut self) -> Option<RawFd> {
        if self.null.is_none() {
            let null = OpenOptions::new().read(true).write(true).open("/dev/null");
            self.null = null.ok().map(OwnedFd::from).and_then(|null| super::pipe::away_from_standard(null).ok());
        }
        self.null.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Memory for one launch ([`Stacks::take`]).
    ///
    /// # Errors
    /// There was none, and the system has none.
    pub(super) fn take_stack(&mut self, goods: usize) -> io::Result<Stack> {
        self.stacks.take(goods)
    }

    /// Takes one back that no child is on any more: a launch is done, and there is time to get ready for the next one.
    pub(super) fn give_back(&mut self, stack: Stack) {
        self.stacks.give_back(stack);
        if self.pipe.is_none() {
            // Without it, the next launch tells why.
            self.pipe = pipe().ok();
        }
    }

    /// Gives back what only a burst needs.
    pub(crate) fn rest(&mut self) {
        self.stacks.rest();
    }
}
