//! A file of bounded size: `daemon.log`, `daemon.log.1` … `daemon.log.4`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file is rotated before it would exceed this many bytes.
const MAX_SIZE: u64 = 1 << 20;
/// How many files there are at most, the current one included.
const FILES: u32 = 5;

/// Appends to a file and rotates it. It is opened anew after an error, so that a disk that was full or a directory that was
/// away is used again once it is back.
pub(super) struct RotatingFile {
    path: PathBuf,
    open: Option<(File, u64)>,
}

impl RotatingFile {
    /// Nothing is opened before the first write.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let opened = match self.open.take() {
            Some(opened) => opened,
            None => open(&self.path)?,
        };
        let (mut file, size) = match opened {
            (_, size) if size > 0 && size + line.len() as u64 > MAX_SIZE => {
                rotate(&self.path)?;
                open(&self.path)?
            }
            fits => fits,
        };
        file.write_all(line)?;
        self.open = Some((file, size + line.len() as u64));
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_line(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // Never through a symlink: the daemon may be root, and what it appends to must be its own.
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let size = file.metadata()?.size();
    Ok((file, size))
}

fn rotate(path: &Path) -> io::Result<()> {
    for number in (1..FILES).rev() {
        let from = if number == 1 { path.to_owned() } else { numbered(path, number - 1) };
        match std::fs::rename(&from, numbered(path, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_five_files_of_at_most_a_mebibyte_and_the_newest_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.log");
        let mut file = RotatingFile::new(path.clone());
        let line = |n: u32| format!("{n:0>999}\n");
        for n in 0..7000 {
            file.write_all(line(n).as_bytes()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["daemon.log", "daemon.log.1", "daemon.log.2", "daemon.log.3", "daemon.log.4"]);
        let newest = std::fs::read_to_string(&path).unwrap();
        assert!(newest.ends_with(&line(6999)));
        let before = std::fs::read_to_string(numbered(&path, 1)).unwrap();
        assert!(before.len() as u64 <= MAX_SIZE && before.len() as u64 > MAX_SIZE - 1000);
    }

    #[test]
    fn a_directory_that_is_away_is_used_again_once_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let away = directory.path().join("away");
        let mut file = RotatingFile::new(away.join("daemon.log"));
        assert!(file.write_all(b"lost\n").is_err());
        std::fs::create_dir(&away).unwrap();
        file.write_all(b"kept\n").unwrap();
        assert_eq!(std::fs::read_to_string(away.join("daemon.log")).unwrap(), "kept\n");
    }
}
