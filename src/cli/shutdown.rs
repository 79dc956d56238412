//! `shutdown`: end the daemon, and wait until it has gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::client::{Daemon, Question};
use super::{Exit, Failure};
use crate::api::{Accepted, ShutdownOptions};

/// How to end the daemon.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownArguments {
    /// Let the services run on; they wait when what they write has no room, and the next daemon takes them over
    #[arg(long)]
    pub leave_services: bool,
}

pub(super) fn run(arguments: ShutdownArguments, daemon: &Daemon) -> Result<Exit, Failure> {
    let options = ShutdownOptions { leave_services: arguments.leave_services.then_some(true) };
    // Before the request: afterwards there may be nobody left to ask for it.
    let process = daemon.exit_descriptor()?;
    let asked = daemon.ask_for::<Accepted>(&Question::post("/v1/shutdown").with(&options));
    match (asked, process) {
        // A daemon that ends may do so before its answer has arrived; whether it does is what its process says.
        (Ok(_) | Err(Failure::NoAnswer | Failure::NoDaemon { .. }), Some(process)) => {
            ended(process.as_fd()).map_err(|source| Failure::Connection { socket: daemon.socket.clone(), source })?;
            Ok(Exit::Done)
        }
        (asked, _) => asked.map(|_| Exit::Done),
    }
}

/// Waits for the end of a process, without asking again and again (pidfd_open(2): it becomes readable).
fn ended(process: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
