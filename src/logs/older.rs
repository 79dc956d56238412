//! The old files of a log, which a rotation has put aside: their names, and their text, compressed or not.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::Stream;
use super::reading::{FileIdentity, LogFiles, ReadError, identify, open};

/// An old file, by its name: `<UTC to the microsecond>-<counter>.log`, and `….log.gz` once it is compressed. They are
/// ordered by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OldFile {
    at: String,
    counter: u64,
    /// The name without `.gz`.
    name: String,
}

/// An old file that is open.
#[derive(Debug)]
pub(super) enum Text {
    /// As it was written, with its length.
    Plain(File, u64),
    /// Compressed.
    Packed(File),
}

impl OldFile {
    /// What a name says; nothing of one that is no old file of this stream.
    fn named(name: &str, stream: Stream) -> Option<Self> {
        let name = name.strip_suffix(".gz").unwrap_or(name);
        let stem = name.strip_suffix(".log")?;
        let stem = match stream {
            Stream::Errors => stem.strip_suffix(".stderr")?,
            Stream::Output => stem,
        };
        let (at, counter) = stem.rsplit_once('-')?;
        // No year of ours begins with anything but a digit, and `.stderr` is no part of a counter.
        if !at.starts_with(|first: char| first.is_ascii_digit()) || !counter.bytes().all(|digit| digit.is_ascii_digit())
        {
            return None;
        }
        Some(Self { at: at.to_owned(), counter: counter.parse().ok()?, name: name.to_owned() })
    }

    /// All that there are, the oldest first; one of which there are both forms is one.
    pub(super) fn all(files: &LogFiles) -> Result<Vec<Self>, ReadError> {
        let entries = match std::fs::read_dir(&files.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ReadError::of(&files.directory)(error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ReadError::of(&files.directory))?;
            all.extend(entry.file_name().to_str().and_then(|name| Self::named(name, files.stream)));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Its path as long as it is not compressed.
    pub(super) fn plain(&self, files: &LogFiles) -> PathBuf {
        files.directory.join(&self.name)
    }

    fn packed(&self, files: &LogFiles) -> PathBuf {
        files.directory.join(format!("{}.gz", self.name))
    }

    /// Opens it; nothing where it has been deleted for its age.
    ///
    /// The compressed form has its name before the other one loses its own, so that one of them is found.
    pub(super) fn open(&self, files: &LogFiles) -> Result<Option<Text>, ReadError> {
        if let Some((file, _, length)) = open(&self.plain(files))? {
            return Ok(Some(Text::Plain(file, length)));
        }
        Ok(open(&self.packed(files))?.map(|(file, ..)| Text::Packed(file)))
    }

    /// Which file it is, as long as it is not compressed.
    pub(super) fn identity(&self, files: &LogFiles) -> Result<Option<FileIdentity>, ReadError> {
        identify(&self.plain(files))
    }

    /// Whether it is the compressed form of a text of this length, as far as its last four bytes say (RFC 1952, ISIZE).
    pub(super) fn is_packed_from(&self, files: &LogFiles, length: u64) -> Result<bool, ReadError> {
        let path = self.packed(files);
        let Some((file, _, packed)) = open(&path)? else { return Ok(false) };
        let Some(at) = packed.checked_sub(4) else { return Ok(false) };
        let mut size = [0; 4];
        file.read_exact_at(&mut size, at).map_err(ReadError::of(&path))?;
        Ok(u64::from(u32::from_le_bytes(size)) == length & u64::from(u32::MAX))
    }
}

impl Text {
    /// All of it from this byte on.
    pub(super) fn from(self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Plain(file, length) => Ok(Box::new(Section { file, at: from, end: length })),
            Self::Packed(file) => {
                let mut text = MultiGzDecoder::new(file);
                io::copy(&mut text.by_ref().take(from), &mut io::sink())?;
                Ok(Box::new(text))
            }
        }
    }
}

/// A part of a file, read without moving a position that others share.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) file: File,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The path that an error of reading this old file names.
pub(super) fn blamed(old: &OldFile, files: &LogFiles) -> PathBuf {
    let plain = old.plain(files);
    if Path::exists(&plain) { plain } else { old.packed(files) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_ordered_by_age() {
        let old = |name| OldFile::named(name, Stream::Output);
        for name in [
            "current.log",
            "stderr.log",
            "current.log.1",
            "20260101T000000.000000Z-1.stderr.log",
            "20260101T000000.000000Z-1.log.gz.part",
            "20260101T000000.000000Z-.log",
            "20260101T000000.000000Z-+1.log",
            "-1.log",
            "x-1.log",
            "1.log",
        ] {
            assert_eq!(old(name), None, "{name}");
        }
        let order =
            ["20260101T000000.000000Z-9.log", "20260101T000000.000000Z-10.log.gz", "20260101T000000.000001Z-2.log"];
        assert!(order.map(|name| old(name).unwrap()).is_sorted());
        assert_eq!(old(order[0]), old(&format!("{}.gz", order[0])));
        let errors = |name| OldFile::named(name, Stream::Errors);
        assert_eq!(errors(order[0]), None);
        assert!(errors("20260101T000000.000000Z-9.stderr.log.gz").is_some());
    }

    #[test]
    fn both_forms_of_a_file_are_one_and_the_rest_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let files = LogFiles { directory: directory.path().to_owned(), stream: Stream::Output };
        for name in ["2026Z-2.log", "2026Z-1.log.gz", "2026Z-1.log", "2026Z-3.log.gz.part", "current.log"] {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        let names: Vec<String> = OldFile::all(&files).unwrap().into_iter().map(|old| old.name).collect();
        assert_eq!(names, ["2026Z-1.log", "2026Z-2.log"]);
        let nowhere = LogFiles { directory: directory.path().join("none"), stream: Stream::Output };
        assert_eq!(OldFile::all(&nowhere).unwrap(), []);
    }
}
