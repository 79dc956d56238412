//! What a process does to go on without whoever started it.

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
