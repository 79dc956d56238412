//! What can go wrong with a verb, how it is told, and its exit code.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use super::text::printable;
use super::{Exit, Terminal};
use crate::api::{NO_SUCH_SERVICE, ProblemDocument, UnknownName};
use crate::conf::{DirectoryError, PlacesError};

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answers at the control socket.
    #[error(
        "no daemon is running for the confs in {} (no answer at {}): start one with `daemonherder`",
        confs.display(), socket.display()
    )]
    NoDaemon {
        /// The conf directory that was meant.
        confs: PathBuf,
        /// Where the daemon would answer.
        socket: PathBuf,
    },
    /// The socket is somebody else's.
    #[error(
        "not permitted to use {}: run this as the daemon's user or as root, or ask for `control.group` in its herder.json",
        socket.display()
    )]
    NotPermitted {
        /// Which.
        socket: PathBuf,
    },
    /// The socket can't be used.
    #[error("cannot speak to the daemon at {}: {source}", socket.display())]
    Connection {
        /// Which.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon hung up, twice.
    #[error("the daemon ended the connection without an answer; `daemonherder status` says whether it still runs")]
    NoAnswer,
    /// What answered is no daemonherder, or one of another age.
    #[error("the daemon's answer is not understood: {0}")]
    NotUnderstood(String),
    /// The daemon says no.
    #[error("{}", .0.detail)]
    Refused(ProblemDocument),
    /// These names are nobody's.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unknown(Vec<UnknownName>),
    /// A conf that can't be, or stands in the way of another one.
    #[error("cannot add {id}: {why}")]
    NoConf {
        /// Whose.
        id: String,
        /// Why not.
        why: String,
        /// What that is.
        exit: Exit,
    },
    /// The conf directory can't be read.
    #[error("{error}{cause}", error = .0, cause = because(.0))]
    Directory(#[from] DirectoryError),
    /// Nobody knows what a daemon would find that cron or systemd starts.
    #[error("{error}{cause}", error = .0, cause = because(.0))]
    Places(#[from] PlacesError),
    /// A file can't be written or removed.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The daemon can't be installed.
    #[error("cannot install: {0}")]
    NotInstalled(String),
    /// A program that is needed did not do its work.
    #[error("cannot {what}: {program}: {why}")]
    Program {
        /// What for.
        what: &'static str,
        /// Which.
        program: String,
        /// What it said.
        why: String,
    },
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

/// What led to an error, behind it.
fn because(error: &dyn Error) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}

impl Failure {
    /// What becomes of an error with a file.
    pub(super) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }

    /// Its exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { .. } => Exit::NoDaemon,
            Self::Unknown(_) => Exit::NoSuchService,
            Self::Refused(problem) if problem.title == NO_SUCH_SERVICE => Exit::NoSuchService,
            // A reader that has seen enough (`| head`) is no failure.
            Self::NoConf { exit, .. } => *exit,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::NotPermitted { .. }
            | Self::Connection { .. }
            | Self::NoAnswer
            | Self::NotUnderstood(_)
            | Self::Refused(_)
            | Self::Directory(_)
            | Self::Places(_)
            | Self::File { .. }
            | Self::NotInstalled(_)
            | Self::Program { .. }
            | Self::Output(_) => Exit::Failed,
        }
    }

    /// Tells it on the error stream, one line a problem.
    pub(super) fn tell(&self, terminal: &mut Terminal<'_>) {
        if self.exit() == Exit::Done {
            return;
        }
        match self {
            Self::Unknown(names) => names.iter().for_each(|name| complain(terminal, &name.to_string())),
            _ => complain(terminal, &self.to_string()),
        }
    }
}

/// A line on the error stream. One that can't be written can't be complained about either.
pub(super) fn complain(terminal: &mut Terminal<'_>, what: &str) {
    complain_to(terminal.err, what);
}

/// The same where the other stream is lent to somebody.
pub(super) fn complain_to(err: &mut dyn io::Write, what: &str) {
    let _ = writeln!(err, "daemonherder: {}", printable(what));
}
