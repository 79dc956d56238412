//! What can go wrong with log files.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a log file can't be used as it should.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    /// The disk, or whoever has the path, said no.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The pipe itself failed, which only a bug or a lack of memory makes happen.
    #[error("{what} a pipe")]
    Pipe {
        /// What was tried, as a verb.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// There is no thread to compress with.
    #[error("start a thread that compresses")]
    NoThread(#[source] io::Error),
}

impl LogError {
    /// For `map_err` of what was tried with this path.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// For `map_err` of what was tried with a pipe.
    pub(super) fn pipe(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Pipe { what, source }
    }
}
