//! What a process does to go on without whoever started it, and a thread to stay behind others.
#![expect(unsafe_code, reason = "nix has no setpriority(2)")]

use std::fs::OpenOptions;
use std::io;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// A session of its own, so that no terminal's hang-up reaches it, and a directory that keeps no file system busy.
///
/// # Errors
/// There is no `/`.
pub(crate) fn leave_terminal() -> io::Result<()> {
    // EPERM says that this process leads a group already, and then no terminal's job control holds it.
    let _ = setsid();
    std::env::set_current_dir("/")
}

/// Points standard input, output and error at `/dev/null`: whoever reads them sees their end.
///
/// # Errors
/// There is no `/dev/null`.
pub(crate) fn let_go_of_output() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Lets others go first from now on: the calling thread works when nobody else wants to.
pub(crate) fn stay_behind() {
    const NICE: libc::c_int = 10;
    // SAFETY: setpriority(2) changes a number of the calling thread, whose own id 0 stands for (Linux; a process elsewhere).
    // To be nicer is always allowed, and a thread that is not would only be less polite.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}
