//! Where a service's log files are, and how one is opened for reading.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Stream;

/// The files of one output of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFiles {
    /// The directory of the service's logs.
    pub(super) directory: PathBuf,
    pub(super) stream: Stream,
}

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The system says no.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A pipe, a device, or a link.
    #[error("cannot read {}: it is no regular file", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
}

impl ReadError {
    /// For [`Result::map_err`].
    pub(super) fn of(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

impl LogFiles {
    /// Those below the directory that has a directory for each service. The id must be one: it becomes a part of a path.
    pub(crate) fn of(logs: &Path, id: &str, stream: Stream) -> Self {
        Self { directory: logs.join(id), stream }
    }

    /// The file that is written to.
    pub(crate) fn current(&self) -> PathBuf {
        self.directory.join(self.stream.current())
    }

    /// The directory of the service's logs.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Which file it is, whatever its path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity(u64, u64);

/// Opens a regular file; nothing where there is none.
pub(super) fn open(path: &Path) -> Result<Option<(File, FileIdentity, u64)>, ReadError> {
    // A pipe that somebody put there must not hold up whoever opens it, and a link may lead anywhere.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link: open(2), O_NOFOLLOW. A socket: ENXIO.
        Err(error) if matches!(error.raw_os_error(), Some(nix::libc::ELOOP | nix::libc::ENXIO)) => {
            return Err(ReadError::NoFile { path: path.to_owned() });
        }
        Err(error) => return Err(ReadError::of(path)(error)),
    };
    let metadata = file.metadata().map_err(ReadError::of(path))?;
    if !metadata.is_file() {
        return Err(ReadError::NoFile { path: path.to_owned() });
    }
    Ok(Some((file, FileIdentity(metadata.dev(), metadata.ino()), metadata.len())))
}

/// Which file a path names now; none where it names nothing.
pub(super) fn identify(path: &Path) -> Result<Option<FileIdentity>, ReadError> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(FileIdentity(metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReadError::of(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "12345").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert_eq!(open(&path("file")).unwrap().unwrap().2, 5);
        assert!(open(&path("none")).unwrap().is_none());
        for name in ["link", "pipe", "socket", "."] {
            assert!(matches!(open(&path(name)), Err(ReadError::NoFile { .. })), "{name}");
        }
        assert_eq!(identify(&path("none")).unwrap(), None);
        assert_eq!(identify(&path("file")).unwrap(), open(&path("file")).unwrap().map(|(_, identity, _)| identity));
    }
}
