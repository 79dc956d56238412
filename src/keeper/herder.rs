//! The herder as a process: how it is made, and what is known of its end.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::model::{Ending, Signal, StopScope};
use crate::os::{self, Executable, Output, Process, Shelf};

/// The word that makes a herder of this program.
const HERDER: &CStr = c"--herder";

/// How herders are made.
pub(crate) struct HerderProgram {
    /// The file of this very program.
    pub(crate) executable: Executable,
    /// The argument vector, the program's own name first.
    pub(crate) argv: Vec<CString>,
    /// The environment that the daemon was started with.
    pub(crate) env: Vec<CString>,
}

/// A herder.
pub(super) struct HerderProcess(Process);

impl HerderProgram {
    /// The argument vector of another role at the same places.
    pub(super) fn argv_of(&self, role: &[CString]) -> Vec<CString> {
        let words = self.argv.iter().flat_map(|word| match word.as_c_str() == HERDER {
            true => role.to_vec(),
            false => vec![word.clone()],
        });
        words.collect()
    }

    /// Makes a herder with its end of the line, the control listener, the lock and the shelf.
    ///
    /// # Errors
    /// The system is out of something.
    pub(super) fn start(
        &self,
        listener: BorrowedFd<'_>,
        lock: BorrowedFd<'_>,
        shelf: &Shelf,
    ) -> io::Result<(HerderProcess, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let [into, out] = shelf.ends();
        let given = [theirs.as_fd(), listener, lock, into, out];
        let process = os::start_role(&self.executable, &self.argv, &self.env, &given, Output::Shared)?;
        Ok((HerderProcess(process), ours))
    }
}

impl HerderProcess {
    pub(super) fn pid(&self) -> i32 {
        self.0.number()
    }

    /// Ends it, whatever it is doing.
    pub(super) fn kill(&self) {
        // An error says that it has ended, and its end is on its way.
        let _ = self.0.signal(Signal::KILL);
    }

    /// How it ended, or itself if it lives. What it may have left in its group goes with it.
    pub(super) fn reap(self) -> Result<Ending, Self> {
        self.0.reap(StopScope::Tree, |_| ()).map_err(Self)
    }
}
