//! What every launch needs, made before it: a restart waits for whatever is made in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::pipe::{away_from_standard, pipe};
use super::stack::{Stack, Stacks};

/// What is there for launches to come.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    stacks: Stacks,
    /// A pipe of which nothing is known yet, its reading end first.
    pipe: Option<(OwnedFd, OwnedFd)>,
    /// `/dev/null` to read from and to write to, which all launches share.
    null: Option<(OwnedFd, OwnedFd)>,
}

impl Stock {
    /// A pipe for one launch ([`pipe`]).
    ///
    /// # Errors
    /// There was none, and no descriptor is left (pipe2(2)).
    pub(super) fn take_pipe(&mut self) -> io::Result<(OwnedFd, OwnedFd)> {
        self.pipe.take().map_or_else(pipe, Ok)
    }

    /// `/dev/null` to read from and to write to, by numbers above 2; none where it can't be opened, which the launch itself
    /// will tell.
    pub(super) fn null(&mut self) -> Option<(RawFd, RawFd)> {
        if self.null.is_none() {
            self.null = null().ok();
        }
        let (input, output) = self.null.as_ref()?;
        Some((input.as_raw_fd(), output.as_raw_fd()))
    }

    /// Memory for one launch ([`Stacks::take`]).
    ///
    /// # Errors
    /// There was none, and the system has none.
    pub(super) fn take_stack(&mut self, goods: usize) -> io::Result<Stack> {
        self.stacks.take(goods)
    }

    /// Takes one back that no child is on any more.
    pub(super) fn give_back(&mut self, stack: Stack) {
        self.stacks.give_back(stack);
    }

    /// Gets ready for the next launch, once what the last one has used is closed.
    pub(crate) fn refill(&mut self) {
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

fn null() -> io::Result<(OwnedFd, OwnedFd)> {
    let (input, output) = (File::open("/dev/null")?, File::options().write(true).open("/dev/null")?);
    Ok((away_from_standard(input.into())?, away_from_standard(output.into())?))
}
