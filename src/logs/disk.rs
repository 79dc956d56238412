//! What log files need of a file system.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::os::fifo;

/// A file system. The real one is [`Filesystem`]; tests have one that fails, or ends in the middle of things.
pub(crate) trait Disk {
    /// An open file.
    type File: DiskFile;

    /// Opens a file for reading and writing, and makes it and its directory where they are not there: for their owner alone,
    /// the file never through a symlink. With `append` every write goes to the end, whatever somebody else did to the file,
    /// and splice is refused.
    ///
    /// # Errors
    /// `InvalidInput` where something else than a file has the path.
    fn open(&self, path: &Path, append: bool) -> io::Result<Self::File>;

    /// What has this path now; none where nothing has. A symlink is not followed.
    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>>;

    /// Gives a file another name in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; says whether there was one.
    fn remove(&self, path: &Path) -> io::Result<bool>;

    /// The names in a directory; none where there is no such directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
}

/// An open file of a [`Disk`].
pub(crate) trait DiskFile {
    /// What it is now.
    fn status(&self) -> io::Result<FileStatus>;

    /// Fills the buffer from this place on.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes some of the bytes at this place, and says how many.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Moves some bytes from a pipe to this place, and says how many, as [`fifo::splice`] does.
    fn splice_at(&self, pipe: BorrowedFd<'_>, at: u64, most: usize) -> io::Result<usize>;

    /// Cuts it to this length.
    fn cut(&self, length: u64) -> io::Result<()>;
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStatus {
    /// Which file it is: device and inode, of no other one as long as it is open.
    pub(crate) id: (u64, u64),
    /// Its size.
    pub(crate) size: u64,
    /// When it was made, so long after 1970, where the file system says so.
    pub(crate) made: Option<Duration>,
}

/// The file system that there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filesystem;

impl FileStatus {
    fn of(metadata: &std::fs::Metadata) -> Self {
        let made = metadata.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        Self { id: (metadata.dev(), metadata.ino()), size: metadata.size(), made }
    }
}

impl Disk for Filesystem {
    type File = File;

    fn open(&self, path: &Path, append: bool) -> io::Result<File> {
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).create(true).mode(0o600);
            if append {
                options.append(true)
            } else {
                options.write(true).truncate(false)
            };
            // Not to wait where a FIFO has the path; for a file it means nothing.
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
        };
        let file = match (open(), path.parent()) {
            (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
                open()?
            }
            (result, _) => result?,
        };
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"))
        }
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        match path.symlink_metadata() {
            Ok(metadata) => Ok(Some(FileStatus::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        match std::fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // A name that is no text is none of ours.
        entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
    }
}

impl DiskFile for File {
    fn status(&self) -> io::Result<FileStatus> {
        self.metadata().map(|metadata| FileStatus::of(&metadata))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn splice_at(&self, pipe: BorrowedFd<'_>, at: u64, most: usize) -> io::Result<usize> {
        fifo::splice(pipe, self.as_fd(), at, most)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
