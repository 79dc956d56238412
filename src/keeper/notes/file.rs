//! The file of the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::NotesError;

/// Where lines are kept. The real one is a [`JournalFile`]; tests have some that are full, slow or broken.
pub(super) trait Disk: Send + 'static {
    /// How many bytes there are; none where lines can't be appended, and everything has to be written anew. That is so at
    /// first, and when the file is not as it was left.
    fn size(&mut self) -> Option<u64>;

    /// Hands whole lines to the kernel. After an error none of them are there.
    fn append(&mut self, lines: &[u8]) -> Result<(), NotesError>;

    /// Puts new content in place of all that is there, at once: at any moment there is one or the other. After an error it is
    /// as before. `fill` writes the content.
    fn replace(&mut self, fill: &mut Fill<'_>) -> Result<(), NotesError>;
}

/// What writes the content of a new file.
pub(super) type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// A file that is appended to. It is written by this process alone: the herd's lock sees to that.
pub(super) struct JournalFile {
    path: PathBuf,
    /// The file of this life and its size. That of the last one is replaced.
    open: Option<(File, u64)>,
}

impl JournalFile {
    /// Nothing is touched before the first call.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }
}

impl Disk for JournalFile {
    fn size(&mut self) -> Option<u64> {
        // Somebody who truncates or deletes it takes what it held: from memory it can be made again.
        self.open.take_if(|(file, size)| !file.metadata().is_ok_and(|now| now.size() == *size && now.nlink() > 0));
        self.open.as_ref().map(|(_, size)| *size)
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), NotesError> {
        let missing = || NotesError::io("append to", &self.path)(io::ErrorKind::NotFound.into());
        let (file, size) = self.open.as_mut().ok_or_else(missing)?;
        // Handed to the kernel is enough: the page cache outlives every kill -9, and after a loss of power there is
        // another boot, for which notes mean little.
        if let Err(error) = file.write_all(lines) {
            // A disk gets full in the middle of a line. Where the part that was written can't be cut off again, the file is
            // given up for a new one.
            if file.set_len(*size).is_err() {
                self.open = None;
            }
            return Err(NotesError::io("append to", &self.path)(error));
        }
        *size += lines.len() as u64;
        Ok(())
    }

    fn replace(&mut self, fill: &mut Fill<'_>) -> Result<(), NotesError> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let new = PathBuf::from(new);
        let made = make(&new, fill).and_then(|made| std::fs::rename(&new, &self.path).map(|()| made));
        match made {
            Ok(made) => {
                self.open = Some(made);
                Ok(())
            }
            Err(error) => {
                // What it takes is needed elsewhere; one that can't be removed is removed by the next try.
                let _ = std::fs::remove_file(&new);
                Err(NotesError::io("write", &self.path)(error))
            }
        }
    }
}

/// Makes a file with its whole content on the disk.
fn make(path: &Path, fill: &mut Fill<'_>) -> io::Result<(File, u64)> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A new one, so that it is nobody's symlink and has no wider permissions. It is closed on exec, as all that std opens.
    let options = &mut OpenOptions::new();
    let file = options.append(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let mut buffer = BufWriter::with_capacity(32 << 10, &file);
    fill(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    // Before the rename, or a loss of power may leave an empty file under the old name. The directory need not be on the
    // disk: until then the name means the old file, which is whole.
    file.sync_data()?;
    let size = file.metadata()?.size();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn replace(file: &mut JournalFile, content: &str) -> Result<(), NotesError> {
        file.replace(&mut |to| to.write_all(content.as_bytes()))
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_life_writes_a_file_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (directory.path().join("notes"), directory.path().join("notes.new"));
        let others = directory.path().join("others");
        std::fs::write(&others, "theirs").unwrap();
        symlink(&others, &path).unwrap();
        symlink(&others, &new).unwrap();
        let mut file = JournalFile::new(path.clone());
        assert_eq!(file.size(), None);
        assert!(file.append(b"lost\n").is_err());
        replace(&mut file, "one\n").unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!((file.size(), read(&path).as_str()), (Some(8), "one\ntwo\n"));
        assert_eq!(read(&others), "theirs");
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(!new.exists());
    }

    #[test]
    fn a_replacement_that_fails_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let mut file = JournalFile::new(path.clone());
        replace(&mut file, "one\n").unwrap();
        let failed = file.replace(&mut |to| {
            to.write_all(b"half of it")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert!(!directory.path().join("notes.new").exists());
        file.append(b"two\n").unwrap();
        assert_eq!(read(&path), "one\ntwo\n");
    }

    #[test]
    fn a_file_that_is_not_as_it_was_left_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let mut file = JournalFile::new(path.clone());
        replace(&mut file, "one\n").unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.size(), None, "truncated");
        replace(&mut file, "one\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.size(), None, "deleted");
    }

    /// A small file system; none where the test may not mount one.
    struct Small(tempfile::TempDir);

    impl Small {
        fn mount() -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(directory.path());
            let mounted = mount.output().is_ok_and(|output| output.status.success());
            mounted.then(|| Self(directory))
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
            assert!(unmounted.is_ok_and(|status| status.success()));
        }
    }

    #[test]
    fn a_full_disk_leaves_no_part_of_a_line() {
        let Some(disk) = Small::mount() else {
            eprintln!("skipped: only root may mount a small file system");
            return;
        };
        let (path, ballast) = (disk.0.path().join("notes"), disk.0.path().join("ballast"));
        let mut file = JournalFile::new(path.clone());
        replace(&mut file, "one\n").unwrap();
        std::fs::write(&ballast, vec![0; 40 << 10]).unwrap();
        // More than fits, over several pages: a part of it is written.
        let line = "x".repeat(50 << 10) + "\n";
        let full = file.append(line.as_bytes()).unwrap_err();
        assert!(
            matches!(&full, NotesError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
            "{full:?}"
        );
        assert_eq!((file.size(), read(&path).as_str()), (Some(4), "one\n"));
        assert!(replace(&mut file, &line).is_err());
        assert_eq!(read(&path), "one\n");
        std::fs::remove_file(&ballast).unwrap();
        file.append(line.as_bytes()).unwrap();
        assert_eq!(read(&path), format!("one\n{line}"));
    }
}
