//! Why notes are not where they should be.

use std::io;
use std::path::{Path, PathBuf};

/// The journal of notes can't be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotesError {
    /// The system says no.
    #[error("cannot {what} the notes in {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no thread that could write them, or nothing that could wake it.
    #[error("cannot make a thread for the notes")]
    NoThread(#[source] io::Error),
    /// They are not written yet, and nobody waits for them any longer: the disk hangs.
    #[error("the notes are not written yet")]
    Slow,
    /// The thread that wrote them has ended.
    #[error("nobody writes notes any more")]
    Ended,
}

impl NotesError {
    /// For `map_err`.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}
