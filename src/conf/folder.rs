//! The conf directory as the kernel shows it: its names, and texts that may be trusted.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};

use super::remembered::Stamp;
use super::{Problem, json};
use crate::os::ownership::flaw;

/// A conf is at most so long, in bytes.
const LONGEST: u64 = 1 << 20;

/// Why a conf directory could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It can't be opened, or is no directory.
    #[error("cannot open the conf directory {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its names can't be listed.
    #[error("cannot list the conf directory {}", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Which directory it was, whatever its path names afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its file system.
    pub device: u64,
    /// Its number in it.
    pub inode: u64,
}

/// An open conf directory.
#[derive(Debug)]
pub(super) struct Folder {
    handle: File,
    path: PathBuf,
    trust: Option<u32>,
    pub(super) identity: Identity,
    /// Why nothing in it can be trusted.
    pub(super) flaw: Option<Problem>,
}

/// The names in a directory, sorted.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) names: Vec<(OsString, Option<FileType>)>,
    /// Whether no name is missing.
    pub(super) whole: bool,
}

/// What came of reading one file.
#[derive(Debug)]
pub(super) enum FileText {
    /// Its text, and what the file was before it was read.
    Good(String, Stamp),
    /// It may not be used.
    Refused(Problem),
    /// It is gone since the directory was listed.
    Gone,
}

impl Folder {
    /// Opens a directory for a daemon of the effective user `trust`; without one, whoever may write to it is nothing
    /// to look at.
    pub(super) fn open(path: &Path, trust: Option<u32>) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Open { path: path.to_owned(), source };
        let flags = (OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).bits();
        let handle = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let metadata = handle.metadata().map_err(failed)?;
        let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
        let flaw = trust
            .and_then(|euid| flaw(&metadata, euid))
            .map(|flaw| Problem::passing(format!("the conf directory {} {flaw}", path.display())));
        Ok(Self { handle, path: path.to_owned(), trust, identity, flaw })
    }

    /// Lists the names in it.
    pub(super) fn list(&self) -> Result<Listing, DirectoryError> {
        let failed = |source| DirectoryError::List { path: self.path.clone(), source };
        let mut listing = Listing { names: Vec::new(), whole: true };
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            match entry {
                Ok(entry) => listing.names.push((entry.file_name(), entry.file_type().ok())),
                Err(_) => listing.whole = false,
            }
        }
        listing.names.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(listing)
    }

    /// What a file of it is at the moment, whatever its name leads to.
    pub(super) fn stamp(&self, name: &OsStr) -> Option<Stamp> {
        fstatat(&self.handle, name, AtFlags::empty()).ok().as_ref().map(Stamp::from)
    }

    /// Reads one file of it, if it may be trusted.
    pub(super) fn read(&self, name: &OsStr, kind: Option<FileType>) -> FileText {
        // A symlink may point anywhere: its target is what counts, and is checked below. Anything else that is no
        // regular file is not opened at all, for opening a device or a pipe can have effects.
        if kind.is_some_and(|kind| !kind.is_file() && !kind.is_symlink()) {
            return FileText::Refused(Problem::passing("not a regular file, expected one"));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        let open = |flags| openat(&self.handle, name, flags, Mode::empty()).map(File::from);
        // That it was read is written down nowhere: nobody asks for it, and of a thousand files it takes a while. Whoever is not
        // the owner has no choice.
        let opened = match open(flags | OFlag::O_NOATIME) {
            Err(Errno::EPERM) => open(flags),
            opened => opened,
        };
        match opened.map_err(io::Error::from) {
            Ok(file) => read_open(file, self.trust),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !kind.is_some_and(|kind| kind.is_symlink()) => {
                FileText::Gone
            }
            Err(error) => FileText::Refused(unreadable(&error)),
        }
    }
}

fn read_open(mut file: File, trust: Option<u32>) -> FileText {
    match file.metadata().and_then(|metadata| contents(&mut file, &metadata, trust)) {
        Ok(Ok((text, stamp))) => FileText::Good(text, stamp),
        Ok(Err(problem)) => FileText::Refused(problem),
        Err(error) => FileText::Refused(unreadable(&error)),
    }
}

type Contents = Result<(String, Stamp), Problem>;

fn contents(file: &mut File, metadata: &Metadata, trust: Option<u32>) -> io::Result<Contents> {
    if !metadata.is_file() {
        return Ok(Err(Problem::passing("not a regular file, expected one")));
    }
    if let Some(flaw) = trust.and_then(|euid| flaw(metadata, euid)) {
        return Ok(Err(Problem::passing(format!("the file {flaw}"))));
    }
    let too_long = || Ok(Err(Problem::of_file(format!("the file is longer than {LONGEST} bytes, expected a conf"))));
    if metadata.len() > LONGEST {
        return too_long();
    }
    // One byte more than the file has: a read that leaves it free was the whole file, and saves a second one.
    let mut bytes = vec![0; usize::try_from(metadata.len()).unwrap_or(0) + 1];
    let read = file.read(&mut bytes)?;
    let whole = read < bytes.len();
    bytes.truncate(read);
    if !whole {
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > LONGEST {
        return too_long();
    }
    Ok(json::decode(bytes).map(|text| (text, Stamp::from(metadata))))
}

fn unreadable(error: &io::Error) -> Problem {
    Problem::passing(format!("cannot read the file: {error}"))
}

/// Makes the conf directory and its parents where they are missing; true if it did.
///
/// # Errors
/// It is missing and can't be made.
pub fn create_directory(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::DirBuilderExt;
    match path.try_exists() {
        Ok(true) => Ok(false),
        _ => std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_since_the_listing_is_no_problem_of_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.conf"), "{}").unwrap();
        let folder = Folder::open(directory.path(), None).unwrap();
        let listing = folder.list().unwrap();
        assert!(listing.whole);
        let (name, kind) = &listing.names[0];
        assert!(matches!(folder.read(name, *kind), FileText::Good(text, _) if text == "{}"));
        std::fs::remove_file(directory.path().join("a.conf")).unwrap();
        assert!(matches!(folder.read(name, *kind), FileText::Gone));
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        std::fs::write(&path, "").unwrap();
        let mut file = File::open(&path).unwrap();
        let before = file.metadata().unwrap();
        std::fs::write(&path, "{ \"grown\": true }").unwrap();
        let expected = ("{ \"grown\": true }".to_owned(), Stamp::from(&before));
        assert_eq!(contents(&mut file, &before, None).unwrap(), Ok(expected));
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("a/b");
        assert!(create_directory(&directory).unwrap());
        assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
        assert!(!create_directory(&directory).unwrap());
    }
}
