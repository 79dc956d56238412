//! What can go wrong with a verb, how it is told, and its exit code.

use std::io;
use std::path::PathBuf;

use super::text::printable;
use super::{Exit, Terminal};
use crate::api::{NO_SUCH_SERVICE, ProblemDocument, UnknownName};

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
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Its exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { .. } => Exit::NoDaemon,
            Self::Unknown(_) => Exit::NoSuchService,
            Self::Refused(problem) if problem.title == NO_SUCH_SERVICE => Exit::NoSuchService,
            // A reader that has seen enough (`| head`) is no failure.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::NotPermitted { .. }
            | Self::Connection { .. }
            | Self::NoAnswer
            | Self::NotUnderstood(_)
            | Self::Refused(_)
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
