//! What a launch is: everything that a new process needs, looked up and spelled out.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

use crate::model::{Limit, Origin, Resource, RunId, ServiceId, StopScope, StopSpec};

/// One launch, complete: a spawner needs to look up nothing more. A spawner of one's own may change any of it before it
/// hands the launch on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Whose run it is.
    pub service: ServiceId,
    /// Which run it is.
    pub run: RunId,
    /// The paths to try to execute, in order; the first that exists and may be executed is taken (execvp(3)).
    pub programs: Vec<CString>,
    /// The argument vector, the program's own name first.
    pub argv: Vec<CString>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// The working directory.
    pub cwd: CString,
    /// Whom it runs as; `None` is the spawner's own user and groups.
    pub credentials: Option<Credentials>,
    /// The file mode creation mask; `None` is the spawner's.
    pub umask: Option<u32>,
    /// Limits to set.
    pub limits: BTreeMap<Resource, Limit>,
    /// Where its output goes.
    pub output: Output,
    /// Whether it begins in a cgroup of its service, where the spawner has one for it.
    pub cgroup: bool,
    /// What is ended with its main process.
    pub scope: StopScope,
}

/// User and groups as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// Where a process's output goes; its standard input is always `/dev/null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: Sink,
    /// Standard error; `None` is the same open file as standard output.
    pub stderr: Option<Sink>,
}

/// An end of one output stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// `/dev/null`.
    Null,
    /// A file, appended to; made with mode 0600 below directories that are made with 0700, never through a symlink.
    File(PathBuf),
    /// A FIFO that somebody reads, open for both directions.
    Fifo(PathBuf),
}

/// What is to be known of a service when the program that decides about it is gone.
#[derive(Clone)]
pub struct Memo<'a> {
    /// How it is stopped where nobody is left to decide.
    pub stop: StopSpec,
    /// What its conf says.
    pub origin: &'a Origin,
    /// Restarts that were decided so far, as the note has it.
    pub restarts: u64,
    /// Whether it has a run that was not asked to end.
    pub unasked: bool,
    /// Whether its texts are those of the last memo of this service.
    pub same_origin: bool,
    /// The state of its lifecycle as bytes. Called only by a spawner that keeps it.
    pub note: &'a dyn Fn() -> Vec<u8>,
}
