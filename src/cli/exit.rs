//! Exit codes.

use std::process::ExitCode;

/// What the exit code of every verb says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: failed, or a named service is not up.
    Failed = 1,
    /// 2: wrong usage.
    Usage = 2,
    /// 3: no daemon is running.
    NoDaemon = 3,
    /// 4: no such service.
    NoSuchService = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
